"""The effect SparseSeg of the Segment Editor, in a package of its own, as Slicer loads effects."""

from .SegmentEditorEffect import SegmentEditorEffect

__all__ = ["SegmentEditorEffect"]
