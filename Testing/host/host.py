"""The stand-in host itself."""

import sys
import time
import traceback
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import slicer
from PySide6.QtCore import QEvent, QEventLoop
from PySide6.QtWidgets import QApplication, QWidget

from . import completion, coreIO, dialogs, displayableManagers
from .modules import LoadedModule, load, registerLogics, unload
from .segmentEditor import qMRMLSegmentEditorWidget

EVENTS_MSEC = 20


class Host:
    """Slicer for tests; one per process, from Host.instance()."""

    _instance: "Host | None" = None

    def __init__(self) -> None:
        self.pipCalls: list[tuple[str, Any]] = []
        self.errors: list[str] = []
        completion.installQt()
        completion.installSlicer(self.pipCalls)
        from .application import start  # it defines Qt classes, after Qt has its new manners

        self.app, self._core = start()
        registerLogics(self._core)
        displayableManagers.watch(slicer.mrmlScene)
        self._dialogs, self._views = dialogs.install(slicer.util), None
        self._excepthook, sys.excepthook = sys.excepthook, self._recordError

    @classmethod
    def instance(cls) -> "Host":
        """Return the host, started at the first call."""
        if cls._instance is None:
            cls._instance = cls()
        return cls._instance

    def _recordError(self, kind: type, error: BaseException, trace: Any) -> None:
        """Remember an exception that left a slot or an observer, where Slicer only prints it."""
        self.errors.append("".join(traceback.format_exception(kind, error, trace)))
        self._excepthook(kind, error, trace)

    @property
    def scene(self) -> Any:
        """The scene."""
        return slicer.mrmlScene

    @property
    def dialogs(self) -> list[tuple[str, str]]:
        """The message boxes so far: kind and text."""
        return self._dialogs.shown

    @property
    def answers(self) -> deque:
        """The answers to the next questions; an empty queue says yes."""
        return self._dialogs.answers

    @property
    def places(self) -> list[str]:
        """Where the file dialogs so far opened; "" is the working directory."""
        return self._dialogs.places

    @property
    def testing(self) -> bool:
        """Whether slicer.app.testingEnabled(); tests that want to see error boxes switch it off."""
        return self.app._testing

    @testing.setter
    def testing(self, testing: bool) -> None:
        self.app._testing = testing

    def loadModule(self, path: Path | str, startup: bool = True) -> LoadedModule:
        """Load a scripted module, a fresh one even if it was loaded before; then Slicer's startup is completed."""
        path = Path(path)
        if self.app.moduleManager().module(path.stem) is not None:
            self.unloadModule(path.stem)
        loaded = load(path)
        if startup:
            self.app.startupCompleted.emit()
            self.processEvents()
        return loaded

    def unloadModule(self, name: str) -> None:
        """Clean a module up and forget it."""
        unload(name)
        for signal in ("startupCompleted()", "aboutToQuit()"):
            self.app.disconnect(signal)

    def processEvents(self, seconds: float = 0.0) -> None:
        """Run the event loop once, or that long."""
        self.wait(lambda: False, seconds)

    def wait(self, condition: Callable[[], Any], timeout: float) -> bool:
        """Run the event loop until a condition holds; return whether it did within the timeout in seconds."""
        end = time.monotonic() + timeout
        while True:
            self.app.processEvents(QEventLoop.ProcessEventsFlag.AllEvents, EVENTS_MSEC)
            self.app.sendPostedEvents(None, QEvent.Type.DeferredDelete)
            if condition():
                return True
            if time.monotonic() >= end:
                return False
            time.sleep(min(EVENTS_MSEC / 1000, max(0.0, end - time.monotonic())) / 4)

    def screenshot(self, widget: QWidget, path: Path | str, width: int = 400) -> None:
        """Write a picture of a widget."""
        shown = widget.isVisible()
        widget.resize(width, max(widget.sizeHint().height(), widget.minimumSizeHint().height()))
        widget.show()
        self.processEvents(0.05)
        widget.resize(width, max(widget.sizeHint().height(), widget.minimumSizeHint().height()))
        self.processEvents()
        widget.grab().save(str(path))
        if not shown:
            widget.hide()

    def renderSlices(self, path: Path | str, size: int = 400, threeD: bool = False, fit: bool = False) -> None:
        """Write one picture with the slice views Red, Green, Yellow, and a 3D view if asked for."""
        from .views import Views

        if self._views is None:
            self._views = Views(self.app.applicationLogic())
        self._views.renderSlices(Path(path), size, threeD, fit)

    def closeScene(self) -> None:
        """Close the scene as Slicer's menu does."""
        slicer.mrmlScene.Clear(False)
        self.processEvents()

    def saveScene(self, path: Path | str) -> Path:
        """Write the scene with its data to an .mrb file or into a folder; return what loadScene takes.

        As in Slicer, saving fires no StartSaveEvent: nothing in Slicer's own code does.
        """
        written = coreIO.saveScene(Path(path))
        if written is None:
            raise OSError(f"cannot write the scene to {path}")
        return written

    def loadScene(self, path: Path | str) -> None:
        """Close the scene and load another one; Segment Editors edit nothing then, as after Slicer's EndImportEvent."""
        if not coreIO.loadScene(Path(path)):
            raise OSError(f"cannot read the scene {path}")
        for widget in QApplication.allWidgets():
            if isinstance(widget, qMRMLSegmentEditorWidget):
                widget.setSegmentationNode(None)
        self.processEvents()

    def quit(self) -> None:
        """End Slicer: aboutToQuit, then every module is unloaded, which cleans its panel up."""
        self.app.aboutToQuit.emit()
        manager = self.app.moduleManager()
        for name in manager.modulesNames():
            if hasattr(slicer.modules, name + "Instance"):
                self.unloadModule(name)
