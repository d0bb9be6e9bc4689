"""What the SparseSeg module is made of: parts of the panel, and the bridge between MRML nodes and the engine."""
