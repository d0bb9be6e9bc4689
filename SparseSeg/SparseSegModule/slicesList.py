"""Panel: the list of annotated slices, with what can be done to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import slicer
from slicer.i18n import tr as _

from SparseSegLib.annotation import Plane
from SparseSegModule.finding import findAgain
from SparseSegModule.planes import PlaneTable
from SparseSegModule.planeTable import PlaneTableView
from SparseSegModule.segments import segmentStyles
from SparseSegModule.strokes import segmentsOn

if TYPE_CHECKING:
    from SparseSegModule.session import Session


class SlicesList:
    """Table and buttons for the annotated slices: jump there, remove, find those of an earlier drawing."""

    def __init__(self, ui, session: Session) -> None:
        self.ui = ui
        self._session = session
        self._table = PlaneTableView(ui.planeTable, session.jump, self._setFinished)
        ui.jumpButton.connect("clicked()", self._onJump)
        ui.removePlaneButton.connect("clicked()", self._onRemove)
        ui.findPlanesButton.connect("clicked()", self._onFind)

    def show(self) -> None:
        """Show the slices as they are."""
        loop = self._session.loop
        self.ui.findPlanesButton.enabled = loop is not None
        some = loop is not None and loop.table != PlaneTable()
        self.ui.jumpButton.enabled = self.ui.removePlaneButton.enabled = some
        if loop is None:
            self._table.clear()
            return
        names = [style.name for style in segmentStyles(loop.segmentationNode)]
        content = []
        for plane in loop.table.planes:
            values = segmentsOn(loop.labels, plane.plane, len(names))
            content.append((plane, ", ".join(names[value - 1] for value in values)))
        self._table.show(content, loop.table.oblique, loop.volumeNode)

    def _setFinished(self, plane: Plane, finished: bool) -> None:
        if self._session.loop.setFinished(plane, finished):
            self._session.annotated()

    def _onJump(self) -> None:
        plane = self._table.chosen()
        if plane is not None:
            self._session.jump(plane)

    def _onRemove(self) -> None:
        plane = self._table.chosen()
        if plane is not None:
            with slicer.util.tryWithErrorDisplay(_("The slice could not be removed.")):
                self._session.loop.remove(plane)
                self._session.annotated()

    def _onFind(self) -> None:
        if findAgain(self._session.loop):
            self._session.annotated()
