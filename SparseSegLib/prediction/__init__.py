"""Segmenting volumes with a trained network, on whatever grid they lie."""
