"""Panel: the list of annotated slices, with what can be done to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import slicer
from slicer.i18n import tr as _

from SparseSegLib.annotation import Plane
from SparseSegModule.annotation import findPlanes
from SparseSegModule.planes import PlaneTable
from SparseSegModule.planeTable import PlaneTableView
from SparseSegModule.segments import segmentStyles
from SparseSegModule.strokes import segmentsOn

if TYPE_CHECKING:
    from SparseSegModule.annotatePart import AnnotatePart


class SlicesList:
    """Table and buttons for the annotated slices: jump there, remove, find those of an earlier drawing."""

    def __init__(self, ui, annotate: AnnotatePart) -> None:
        self.ui = ui
        self._annotate = annotate
        self._table = PlaneTableView(ui.planeTable, annotate.jump, self._setFinished)
        ui.jumpButton.connect("clicked()", self._onJump)
        ui.removePlaneButton.connect("clicked()", self._onRemove)
        ui.findPlanesButton.connect("clicked()", self._onFind)

    def show(self) -> None:
        """Show the slices as they are."""
        loop = self._annotate.loop
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

    def offerToFind(self) -> None:
        """Ask about the slices of a segmentation drawn earlier, of which no table is known yet."""
        loop = self._annotate.loop
        if loop is None or loop.known:
            return  # a table that the user emptied stays empty
        with slicer.util.tryWithErrorDisplay(_("The annotated slices could not be found."), waitCursor=True):
            found = findPlanes(loop.volumeNode, loop.segmentationNode)
            if found and _confirmed(found):
                self._add(found)

    def _setFinished(self, plane: Plane, finished: bool) -> None:
        if self._annotate.loop.setFinished(plane, finished):
            self._annotate.changed()

    def _onJump(self) -> None:
        plane = self._table.chosen()
        if plane is not None:
            self._annotate.jump(plane)

    def _onRemove(self) -> None:
        plane = self._table.chosen()
        if plane is not None:
            with slicer.util.tryWithErrorDisplay(_("The slice could not be removed.")):
                self._annotate.loop.remove(plane)
                self._annotate.changed()

    def _onFind(self) -> None:
        with slicer.util.tryWithErrorDisplay(_("The annotated slices could not be found."), waitCursor=True):
            found = findPlanes(self._annotate.loop.volumeNode, self._annotate.loop.segmentationNode)
            if not found:
                slicer.util.infoDisplay(_("No slice was drawn on by itself: nothing to add."))
            elif _confirmed(found):
                self._add(found)

    def _add(self, found: list[Plane]) -> None:
        self._annotate.loop.addFound(found)
        self._annotate.changed()


def _confirmed(found: list[Plane]) -> bool:
    """Whether the user confirms that slices which were found are finished."""
    question = _(
        "{count} slices seem to be annotated. Are they finished: is all that is outside of the segments "
        "on them background?"
    ).format(count=len(found))
    return bool(slicer.util.confirmYesNoDisplay(question))
