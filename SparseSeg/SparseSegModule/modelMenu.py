"""The menu of the models: describe, import, export and delete the one that is chosen."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import qt
import slicer
from slicer.i18n import tr as _

from SparseSegLib.errors import SparseSegError
from SparseSegLib.models import ModelEntry, ModelLibrary, load_card
from SparseSegModule.background import BackgroundCall
from SparseSegModule.modelDescription import DescriptionDialog
from SparseSegModule.names import fileName
from SparseSegModule.translation import errorText, translated
from SparseSegModule.waiting import Waiting

ZIP = ".zip"
CARD = "model.json"


class ModelMenu:
    """Keeps the button's menu; what takes long runs in the background.

    Parameters
    ----------
    button : QPushButton
    chosen : the model that is chosen, or None
    onChanged : called with the name of the model to choose, or "", when the library is another one
    """

    def __init__(self, button, chosen: Callable[[], ModelEntry | None], onChanged: Callable[[str], None]) -> None:
        self._chosen = chosen
        self._onChanged = onChanged
        self._button = button
        self._waiting = Waiting(self._onDone)
        self.menu = qt.QMenu(button)
        self._ofOne = []
        for text, tip, slot in (
            (_("Name and description..."), _("What the model is called, and what its card says."), self.onDescribe),
            (_("Export..."), _("Write the model as one file to hand on."), self.onExport),
            (_("Delete..."), _("Remove the model from your library."), self.onDelete),
        ):
            self._ofOne.append(self._addAction(text, tip, slot))
        self.menu.addSeparator()
        self._addAction(_("Import..."), _("Take a model that somebody exported into your library."), self.onImport)
        button.setMenu(self.menu)

    def cleanup(self) -> None:
        """The panel goes; what runs comes to its end."""
        self._waiting.forget()

    def refresh(self) -> None:
        """Follow what is chosen."""
        for action in self._ofOne:
            action.enabled = self._chosen() is not None
        self._button.enabled = not self._waiting.busy

    def onDescribe(self) -> None:
        """Ask for name and description, and write them on the card."""
        entry = self._ownChosen()
        if entry is None:
            return
        if entry.card is None:
            slicer.util.errorDisplay(translated(entry.problem))
            return
        dialog = DescriptionDialog(entry.card)
        if dialog.exec_():
            texts = dialog.changed()
            self._start(lambda: ModelLibrary().describe(entry.path, **texts).name)

    def onImport(self) -> None:
        """Ask for a file, and whether to replace a model of the same name; take it into the library."""
        chosen = qt.QFileDialog.getOpenFileName(
            slicer.util.mainWindow(),
            _("Import a model"),
            str(slicer.app.defaultScenePath),
            _("Models") + f" (*{ZIP} {CARD})",
        )
        if not chosen:
            return
        path = Path(chosen)
        source = path.parent if path.name == CARD else path
        try:
            name = load_card(source).name
        except SparseSegError as error:
            slicer.util.errorDisplay(errorText(error))
            return
        taken = any(
            not entry.shipped and entry.name.casefold() == name.casefold() for entry in ModelLibrary().entries()
        )
        if not taken or _mayReplace(name):
            self._start(lambda: ModelLibrary().add(source, overwrite=taken).name)

    def onExport(self) -> None:
        """Ask where to, and write the model as one file."""
        entry = self._chosen()
        proposed = Path(slicer.app.defaultScenePath) / f"{fileName(entry.name)}{ZIP}"
        chosen = qt.QFileDialog.getSaveFileName(
            slicer.util.mainWindow(), _("Export the model"), str(proposed), f"*{ZIP}"
        )
        if chosen:
            target = Path(chosen)
            target = target if target.suffix.lower() == ZIP else target.with_name(f"{target.name}{ZIP}")
            if target == Path(chosen) or not target.exists() or _mayReplace(target.name):
                self._start(lambda: ModelLibrary().export(entry.path, target) and entry.name)

    def onDelete(self) -> None:
        """Ask, then delete the model."""
        entry = self._ownChosen()
        if entry is None:
            return
        question = _("Delete the model {name} from your library? This cannot be undone.").format(name=entry.name)
        if slicer.util.confirmOkCancelDisplay(question):
            self._start(lambda: ModelLibrary().remove(entry.path) and "")

    def _ownChosen(self) -> ModelEntry | None:
        """The model that is chosen if it is the user's own; else it is said why it stays as it is."""
        entry = self._chosen()
        try:
            ModelLibrary().own_path(entry.path)
        except SparseSegError as error:
            slicer.util.errorDisplay(errorText(error))
            return None
        return entry

    def _addAction(self, text: str, tip: str, slot: Callable[[], None]):
        action = self.menu.addAction(text)
        action.toolTip = tip
        action.connect("triggered()", slot)
        return action

    def _start(self, change: Callable[[], str]) -> None:
        """Change the library; ``change`` returns the name of the model to choose."""
        self._waiting.start(change)
        self.refresh()

    def _onDone(self, call: BackgroundCall) -> None:
        try:
            name = call.result()
        except SparseSegError as error:
            slicer.util.errorDisplay(errorText(error))
        else:
            self._onChanged(name)
        self.refresh()


def _mayReplace(name: str) -> bool:
    """Whether the user wants to replace what has that name."""
    return slicer.util.confirmOkCancelDisplay(_("{name} is there already. Replace it?").format(name=name))
