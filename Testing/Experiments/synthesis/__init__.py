"""Generated volumes to learn from."""
