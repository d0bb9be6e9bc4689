"""Annotated slices of a segmentation that was drawn earlier: found by its shape, and taken if the user says so."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _

from SparseSegLib.annotation import Plane
from SparseSegModule.annotation import findPlanes
from SparseSegModule.loop import AnnotationLoop


def offerToFind(loop: AnnotationLoop) -> bool:
    """Look for slices where no table of them is known yet, and ask; whether any were added."""
    if loop.known:
        return False  # a table that the user emptied stays empty
    return _add(loop, _find(loop) or [])


def findAgain(loop: AnnotationLoop) -> bool:
    """Look for slices, whatever is known, and ask; whether any were added."""
    found = _find(loop)
    if found == []:
        slicer.util.infoDisplay(_("No slice was drawn on by itself: nothing to add."))
    return _add(loop, found or [])


def _find(loop: AnnotationLoop) -> list[Plane] | None:
    """The slices; None if an error was shown."""
    with slicer.util.tryWithErrorDisplay(_("The annotated slices could not be found."), waitCursor=True):
        return findPlanes(loop.volumeNode, loop.segmentationNode)
    return None


def _add(loop: AnnotationLoop, found: list[Plane]) -> bool:
    """Whether the user confirms that slices which were found are finished; they are annotated then."""
    question = _(
        "{count} slices seem to be annotated. Are they finished: is all that is outside of the segments "
        "on them background?"
    ).format(count=len(found))
    if not found or not slicer.util.confirmYesNoDisplay(question):
        return False
    loop.addFound(found)
    return True
