"""Reading volumes in a process of its own: a file on which a library crashes or hangs ends that process alone."""

from SparseSegLib.reading.reader import VolumeReader

__all__ = ["VolumeReader"]
