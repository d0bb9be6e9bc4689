"""The Segment Editor's tools that draw on slices."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from slicer import vtkMRMLSegmentEditorNode

DRAWING_TOOLS = ("Paint", "Erase", "Draw", "Scissors", "Level tracing")
"""Tools that work on the slice on which the mouse is pressed."""

ONE_SLICE = {"Scissors.SliceCutMode": "Symmetric", "Scissors.SliceCutDepthMm": "0"}


def isDrawingTool(effect: Any) -> bool:
    """Whether an effect of the Segment Editor is one of the tools; None is not."""
    return effect is not None and effect.name in DRAWING_TOOLS


def cutOneSlice(node: vtkMRMLSegmentEditorNode) -> None:
    """Let Scissors in a slice view cut the slice that is shown, and no other."""
    for name, value in ONE_SLICE.items():
        node.SetAttribute(name, value)


def staysOnSlice(effect: Any) -> bool:
    """Whether a tool changes no other slice than the one that is shown: a brush that is a ball does, for example."""
    option = effect.parameterSetNode().GetAttribute
    if effect.name == "Scissors":
        return all(option(name) == value for name, value in ONE_SLICE.items())
    return bool(option(f"{effect.name}.BrushSphere") != "1")
