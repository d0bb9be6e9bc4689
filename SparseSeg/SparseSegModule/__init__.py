"""The SparseSeg module: parts of the panel, and the bridge between MRML nodes and the engine."""
