"""What the user edits with: the Segment Editor, and its tools that draw on slices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slicer import vtkMRMLScalarVolumeNode, vtkMRMLSegmentationNode, vtkMRMLSegmentEditorNode

DRAWING_TOOLS = ("Paint", "Erase", "Draw", "Scissors", "Level tracing")
"""Tools that work on the slice on which the mouse is pressed."""

ONE_SLICE = {"Scissors.SliceCutMode": "Symmetric", "Scissors.SliceCutDepthMm": "0"}


@dataclass(frozen=True)
class Editor:
    """A Segment Editor: that of the panel, or another one of Slicer.

    Attributes
    ----------
    node : its settings: what is edited, the tool, the masking
    saveUndo : saves the segmentation's state, for the Segment Editor to undo what comes next
    """

    node: vtkMRMLSegmentEditorNode
    saveUndo: Callable[[], None]

    @property
    def tool(self) -> str:
        """The name of the active tool, or ""."""
        return self.node.GetActiveEffectName() or ""

    @property
    def draws(self) -> bool:
        """Whether the active tool draws on slices."""
        return self.tool in DRAWING_TOOLS

    @property
    def staysOnSlice(self) -> bool:
        """Whether the tool changes no other slice than the one that is shown: a brush that is a ball does, say."""
        option = self.node.GetAttribute
        if self.tool == "Scissors":
            return all(option(name) == value for name, value in ONE_SLICE.items())
        return bool(option(f"{self.tool}.BrushSphere") != "1")

    def cutOneSlice(self) -> None:
        """Let Scissors in a slice view cut the slice that is shown, and no other."""
        for name, value in ONE_SLICE.items():
            self.node.SetAttribute(name, value)

    def isOn(self, volumeNode: vtkMRMLScalarVolumeNode, segmentationNode: vtkMRMLSegmentationNode) -> bool:
        """Whether it edits this segmentation on this volume."""
        return self.node.GetSegmentationNode() is segmentationNode and self.node.GetSourceVolumeNode() is volumeNode
