"""Records message boxes and file dialogs instead of showing them, and answers them."""

from collections import deque
from types import ModuleType
from typing import Any

from PySide6.QtCore import QCoreApplication, QUrl
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QFileDialog, QInputDialog, QMessageBox

AGREE = (QMessageBox.StandardButton.Yes, QMessageBox.StandardButton.Ok)


class Dialogs:
    """What would have been on the screen, and what the user would have said."""

    def __init__(self) -> None:
        self.shown: list[tuple[str, str]] = []
        self.answers: deque = deque()
        self.places: list[str] = []

    def record(self, kind: str, text: str) -> None:
        """Remember a box."""
        self.shown.append((kind, str(text)))

    def ask(self, kind: str, text: str, default: Any = True) -> Any:
        """Remember a question and return the next answer."""
        self.record(kind, text)
        return self.answers.popleft() if self.answers else default


def _patchUtil(dialogs: Dialogs, util: ModuleType) -> None:
    """Put the records in the place of the boxes of slicer.util."""
    for kind in ("info", "warning", "error"):

        def display(text: str, *_arguments: Any, kind: str = kind, **_options: Any) -> None:
            dialogs.record(kind, text)

        setattr(util, f"{kind}Display", display)
    for kind in ("OkCancel", "YesNo", "RetryClose"):

        def confirm(text: str, *_arguments: Any, kind: str = kind, **_options: Any) -> bool:
            return bool(dialogs.ask(f"confirm{kind}", text))

        setattr(util, f"confirm{kind}Display", confirm)

    def delayDisplay(message: str, *_arguments: Any, **_options: Any) -> None:
        dialogs.record("delay", message)
        QCoreApplication.processEvents()

    util.delayDisplay = delayDisplay
    util.messageBox = lambda text, *_, **__: _button(dialogs.ask("messageBox", text))
    util.showStatusMessage = lambda message, *_: dialogs.record("status", message)


def _button(answer: Any) -> Any:
    """Return the button that an answer means."""
    if isinstance(answer, QMessageBox.StandardButton):
        return answer
    return QMessageBox.StandardButton.Ok if answer else QMessageBox.StandardButton.Cancel


def _patchMessageBox(dialogs: Dialogs) -> None:
    """Put the records in the place of Qt's message boxes."""
    for kind in ("information", "warning", "critical", "question", "about"):

        def static(_parent: Any, _title: str, text: str, *_arguments: Any, kind: str = kind) -> Any:
            answer = dialogs.ask(kind, text)
            if kind == "question" and not isinstance(answer, QMessageBox.StandardButton):
                return QMessageBox.StandardButton.Yes if answer else QMessageBox.StandardButton.No
            return _button(answer)

        setattr(QMessageBox, kind, staticmethod(static))

    def execute(box: QMessageBox) -> Any:
        answer = dialogs.ask("messageBox", box.text)
        if isinstance(answer, QMessageBox.StandardButton):
            return answer
        buttons = [box.standardButton(each) for each in box.buttons()]
        agreeing = [each for each in buttons if (each in AGREE) == bool(answer)]
        return (agreeing or buttons or [_button(answer)])[0]

    QMessageBox.exec = QMessageBox.exec_ = execute


def _patchDialogs(dialogs: Dialogs) -> None:
    """Put the records in the place of dialogs that would wait for the user; PythonQt returns one path, not a pair.

    An answer that can be called is the user before a dialog: it gets the dialog, and says whether to agree.
    """

    def execute(dialog: QDialog) -> int:
        answer = dialogs.ask("dialog", dialog.windowTitle)
        if callable(answer):
            answer = answer(dialog)
        return int(QDialog.DialogCode.Accepted if answer else QDialog.DialogCode.Rejected)

    QDialog.exec = QDialog.exec_ = execute
    make = QDialogButtonBox.__init__

    def makeEmpty(box: QDialogButtonBox, *arguments: Any) -> None:
        """PythonQt takes buttons that its constructor is given for an orientation: none are there."""
        make(box, *(each for each in arguments if not isinstance(each, QDialogButtonBox.StandardButton)))

    QDialogButtonBox.__init__ = makeEmpty
    for name, default in (
        ("getOpenFileName", ""),
        ("getSaveFileName", ""),
        ("getExistingDirectory", ""),
        ("getOpenFileNames", []),
    ):

        def choose(
            _parent: Any = None, title: str = "", place: str = "", *_rest: Any, name: str = name, default: Any = default
        ) -> Any:
            dialogs.places.append(place)
            return dialogs.ask(name, title, default)

        setattr(QFileDialog, name, staticmethod(choose))

    def text(_parent: Any, _title: str, label: str, *_arguments: Any) -> str:
        return dialogs.ask("getText", label, "")

    QInputDialog.getText = staticmethod(text)

    def openUrl(url: QUrl) -> bool:
        dialogs.record("openUrl", url.toLocalFile() or url.toString())
        return True

    QDesktopServices.openUrl = staticmethod(openUrl)


def install(util: ModuleType) -> Dialogs:
    """Replace all boxes and return their record."""
    dialogs = Dialogs()
    _patchUtil(dialogs, util)
    _patchDialogs(dialogs)
    _patchMessageBox(dialogs)
    return dialogs
