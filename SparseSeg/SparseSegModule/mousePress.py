"""The mouse in the slice views: where a stroke begins, before the Segment Editor's tools know of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import slicer

if TYPE_CHECKING:
    from slicer import vtkMRMLSliceNode

BEFORE_EFFECTS = 2.0
"""Priority of the observation; the Segment Editor observes the views with 1."""


class MousePress:
    """Calls back where the left button is pressed in a slice view without a modifier key, and where it is released.

    Parameters
    ----------
    onPress, onRelease : called with the node of the view, before the active tool of the Segment Editor is

    Attributes
    ----------
    view : the slice view that the pointer was in last, or None
    """

    def __init__(
        self, onPress: Callable[[vtkMRMLSliceNode], None], onRelease: Callable[[vtkMRMLSliceNode], None]
    ) -> None:
        self.view: vtkMRMLSliceNode | None = None
        self._onPress, self._onRelease = onPress, onRelease
        self._tags: list[tuple] = []

    def observe(self) -> None:
        """Observe the slice views of the current layout."""
        self.stop()
        manager = slicer.app.layoutManager()
        for name in manager.sliceViewNames() if manager is not None else ():
            widget = manager.sliceWidget(name)
            interactor, view = widget.sliceView().interactor(), widget.mrmlSliceNode()
            for event, function in (
                ("LeftButtonPressEvent", self._pressed),
                ("LeftButtonReleaseEvent", self._released),
                ("EnterEvent", self._entered),
            ):
                tag = interactor.AddObserver(event, self._calling(function, view), BEFORE_EFFECTS)
                self._tags.append((interactor, tag))

    def stop(self) -> None:
        """Observe nothing."""
        for interactor, tag in self._tags:
            interactor.RemoveObserver(tag)
        self._tags = []

    @staticmethod
    def _calling(function: Callable, view: vtkMRMLSliceNode) -> Callable:
        return lambda interactor, _event: function(interactor, view)

    def _pressed(self, interactor, view: vtkMRMLSliceNode) -> None:
        self.view = view
        if not (interactor.GetShiftKey() or interactor.GetControlKey() or interactor.GetAltKey()):
            self._onPress(view)

    def _released(self, _interactor, view: vtkMRMLSliceNode) -> None:
        self._onRelease(view)

    def _entered(self, _interactor, view: vtkMRMLSliceNode) -> None:
        self.view = view
