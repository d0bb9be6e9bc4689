"""The bar of the loop, as the panel and the effect of the Segment Editor have it: buttons, progress, the result."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import qt
import slicer
from slicer.i18n import tr as _

from SparseSegModule.face import Face
from SparseSegModule.planeTable import describePlane
from SparseSegModule.session import Session
from SparseSegModule.volumes import volumeGeometry

UI_FILE = Path(__file__).resolve().parents[1] / "Resources" / "UI" / "SparseSegLoop.ui"

KEYS = {"takeOverButton": "O", "confirmButton": "C", "suggestButton": "N"}


def loadBar() -> Any:
    """The widget of the bar, for :class:`LoopBar`; what has a parameter's name is connected to it by whoever has it."""
    return slicer.util.loadUI(str(UI_FILE))


class LoopBar(Face):
    """What the buttons do, and when they can be pressed.

    Parameters
    ----------
    ui : the widgets of the bar, by their names
    session : Session
    isHere : whether the session works on what the user has before them
    """

    def __init__(self, ui: Any, session: Session, isHere: Callable[[], bool] = lambda: True) -> None:
        self.ui = ui
        self._session, self._isHere = session, isHere
        rounds, view = session.rounds, session.view
        for button, function in (
            (ui.densifyButton, session.densify),
            (ui.finishButton, rounds.finish),
            (ui.cancelButton, rounds.cancel),
            (ui.takeOverButton, session.takeOver),
            (ui.confirmButton, session.confirm),
            (ui.suggestButton, session.showNext),
            (ui.applyButton, view.apply),
            (ui.keepButton, view.keep),
            (ui.discardButton, view.discard),
        ):
            button.connect("clicked()", function)
        session.faces.append(self)
        self.onChosen()

    def takeKeys(self) -> None:
        """Give the buttons their keys, which they have while they are on the screen."""
        for name, key in KEYS.items():
            getattr(self.ui, name).setShortcut(qt.QKeySequence(key))

    def onChosen(self) -> None:
        """Show everything."""
        self.onState()
        self.onProgress(None)

    def onAnnotated(self) -> None:
        """The slice that is being edited may be another one."""
        self._showStrokes()

    def onState(self) -> None:
        """Enable what can be done now."""
        ui, session, learns = self.ui, self._session, self._session.rounds.learns
        here = self._isHere()
        self._showStrokes()
        ui.densifyButton.enabled = here and session.loop is not None and not learns
        for part in (ui.progressBar, ui.finishButton, ui.cancelButton):
            part.enabled = part.visible = learns
        ui.liveCheckBox.enabled = here
        ui.previewFrame.enabled = here and session.view.shownNode() is not None
        done = here and not learns and session.view.result is not None
        ui.discardButton.enabled = ui.keepButton.enabled = done
        ui.applyButton.enabled = done and session.view.canApply
        ui.uncertaintyButton.enabled = session.view.result is not None

    def onProgress(self, event: dict[str, Any] | None) -> None:
        """Show what is said of the learning."""
        ui, rounds = self.ui, self._session.rounds
        ui.progressLabel.text = rounds.text
        ui.progressBar.value = rounds.percent
        ui.progressBar.toolTip = rounds.details
        if event is not None and not ui.finishButton.enabled:  # this round began by itself
            self.onState()

    def _showStrokes(self) -> None:
        ui, session = self.ui, self._session
        ready = session.loop is not None and self._isHere()
        suggests = ready and session.suggestion is not None
        ui.scribbleButton.enabled = ready
        ui.suggestButton.enabled = suggests
        ui.suggestButton.toolTip = self._suggestionText() if suggests else _("Press Densify first.")
        ui.confirmButton.enabled = ready and session.planes().edited is not None
        ui.takeOverButton.enabled = ready and session.loop.prediction is not None

    def _suggestionText(self) -> str:
        """Where the next slice worth annotating is."""
        volumeNode = self._session.loop.volumeNode
        where = " ".join(describePlane(self._session.suggestion, volumeGeometry(volumeNode), volumeNode))
        return _("Show the slice whose annotation promises most: {where}").format(where=where)
