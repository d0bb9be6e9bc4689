"""Panel: the button that removes what jobs left on the disk."""

from __future__ import annotations

from pathlib import Path

import slicer
from slicer.i18n import tr as _

from SparseSegLib.jobs.remains import Remains, find_remains, remove_remains
from SparseSegModule.background import BackgroundCall
from SparseSegModule.waiting import Waiting

MOST_SHOWN = 8


class CleaningPart:
    """Looks, asks and removes; what takes long runs in the background."""

    def __init__(self, panel) -> None:
        self._button = panel.ui.cleanButton
        self._button.connect("clicked()", self._onClean)
        self._finding = Waiting(self._onFound)
        self._removing = Waiting(self._onRemoved)

    def refresh(self) -> None:
        """Nothing here depends on the parameter node."""

    def cleanup(self) -> None:
        """The panel goes; what runs comes to its end."""
        self._finding.forget()
        self._removing.forget()

    def _onClean(self) -> None:
        self._button.enabled = False
        place = Path(slicer.app.temporaryPath)
        self._finding.start(lambda: [one for one in find_remains([place]) if not one.in_use])

    def _onFound(self, call: BackgroundCall) -> None:
        found = call.result()
        if not found:
            slicer.util.infoDisplay(_("There is nothing to remove."))
        elif slicer.util.confirmOkCancelDisplay(_question(found)):
            self._removing.start(lambda: remove_remains(found))
            return
        self._button.enabled = True

    def _onRemoved(self, call: BackgroundCall) -> None:
        self._button.enabled = True
        left = call.result()
        if left:
            paths = "\n".join(str(one.path) for one in left)
            slicer.util.errorDisplay(_("This could not be removed:") + f"\n{paths}")


def _question(found: list[Remains]) -> str:
    paths = [str(one.path) for one in found]
    shown = paths[:MOST_SHOWN] + (["..."] if len(paths) > MOST_SHOWN else [])
    megabytes = f"{sum(one.size for one in found) / 1e6:.1f}"
    question = _(
        "Remove what jobs left ({count} files and folders, {megabytes} MB)? Images and labels may be in it. Models and"
        " results stay, and so does what a running job uses."
    ).format(count=len(found), megabytes=megabytes)
    return "\n".join([question, "", *shown])
