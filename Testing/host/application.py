"""Stand-ins of `slicer.app` and of what it hands out."""

import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import slicer
import vtk
from PySide6.QtCore import QObject, QProcessEnvironment, QSettings, Signal
from PySide6.QtWidgets import QApplication

from .coreIO import CoreIOManager
from .mrmlWidgets import qMRMLPlotWidget

SLICE_VIEWS = {"Red": "Axial", "Green": "Coronal", "Yellow": "Sagittal"}
VERSION = (5, 10)


class SliceWidget:
    """A slice view without a window: its node, its logic, and a place to draw that draws nothing."""

    def __init__(self, logic: Any) -> None:
        self._logic = logic
        self._interactor = vtk.vtkGenericRenderWindowInteractor()

    def interactor(self) -> Any:
        """Return the interactor of the view, whose events tests invoke."""
        return self._interactor

    def sliceLogic(self) -> Any:
        """Return the logic."""
        return self._logic

    def mrmlSliceNode(self) -> Any:
        """Return the slice node."""
        return self._logic.GetSliceNode()

    def sliceView(self) -> "SliceWidget":
        """Return the view; it is the widget itself."""
        return self

    def sliceController(self) -> "SliceWidget":
        """Return the controls; they are the widget itself."""
        return self

    def setSliceOffsetValue(self, offset: float) -> None:
        """Move the slice."""
        self._logic.SetSliceOffset(offset)

    def fitSliceToBackground(self) -> None:
        """Show the whole background volume."""
        self._logic.FitSliceToBackground()

    def forceRender(self) -> None:
        """Draw nothing."""

    scheduleRender = forceRender


class qMRMLLayoutManager(QObject):
    """Knows the views."""

    layoutChanged = Signal(int)

    def __init__(self, applicationLogic: Any) -> None:
        super().__init__()
        self._applicationLogic = applicationLogic
        self._widgets, self._plotWidgets = {}, [qMRMLPlotWidget()]
        for name, orientation in SLICE_VIEWS.items():
            logic = slicer.vtkMRMLSliceLogic()
            logic.SetMRMLApplicationLogic(applicationLogic)
            applicationLogic.GetSliceLogics().AddItem(logic)
            logic.SetMRMLScene(slicer.mrmlScene)
            logic.AddSliceNode(name)
            logic.GetSliceNode().SetOrientation(orientation)
            self._widgets[name] = SliceWidget(logic)
        self._layoutLogic = slicer.vtkMRMLLayoutLogic()  # after the slice nodes, which it would make itself
        self._layoutLogic.SetMRMLScene(slicer.mrmlScene)
        self._showViews()
        slicer.mrmlScene.AddObserver(slicer.vtkMRMLScene.EndBatchProcessEvent, self._showViews)

    def _showViews(self, *_arguments: Any) -> None:
        """Say that the slice views are on the screen; closing a scene forgets it."""
        for widget in self._widgets.values():
            widget.mrmlSliceNode().SetMappedInLayout(True)

    threeDViewCount = property(lambda self: 0)
    tableViewCount = property(lambda self: 0)
    plotViewCount = property(lambda self: len(self._plotWidgets))

    def _setLayout(self, layout: int) -> None:
        self._layoutLogic.GetLayoutNode().SetViewArrangement(layout)
        self.layoutChanged.emit(layout)

    layout = property(lambda self: self._layoutLogic.GetLayoutNode().GetViewArrangement(), _setLayout)

    def setLayout(self, layout: int) -> None:
        """Arrange the views in another way."""
        self._setLayout(layout)

    def sliceViewNames(self) -> tuple[str, ...]:
        """Return the names of the slice views."""
        return tuple(self._widgets)

    def sliceWidget(self, name: str) -> SliceWidget | None:
        """Return a slice view."""
        return self._widgets.get(name)

    def threeDWidget(self, _index: Any) -> None:
        """Return no 3D view, as there is none."""

    def plotWidget(self, index: int) -> Any:
        """Return a plot."""
        return self._plotWidgets[index]

    def mrmlSliceLogics(self) -> Any:
        """Return the logics of the slice views."""
        return self._applicationLogic.GetSliceLogics()

    def resetSliceViews(self) -> None:
        """Show the whole volumes."""
        for widget in self._widgets.values():
            widget.fitSliceToBackground()

    def resetThreeDViews(self) -> None:
        """Do nothing, as there is no 3D view."""


class qSlicerModuleManager(QObject):
    """Knows the modules."""

    moduleLoaded = Signal(str)
    moduleAboutToBeUnloaded = Signal(str)
    moduleUnloaded = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._modules: dict[str, Any] = {}

    def module(self, name: str) -> Any:
        """Return a module or None."""
        return self._modules.get(name)

    def modulesNames(self) -> list[str]:
        """Return the names of the modules."""
        return list(self._modules)

    def factoryManager(self) -> Any:
        """Return what loads modules."""
        loaded = self.modulesNames
        return SimpleNamespace(loadedModuleNames=loaded, isLoaded=lambda name: name in loaded())


class qSlicerApplication(QApplication):
    """`slicer.app`."""

    startupCompleted = Signal()
    aboutToQuit = Signal()
    mrmlSceneChanged = Signal(object)
    pauseRenderChanged = Signal(bool)
    _signatures = {"mrmlSceneChanged(vtkMRMLScene*)": "mrmlSceneChanged(PyObject)"}  # noqa: RUF012

    majorVersion, minorVersion = property(lambda self: VERSION[0]), property(lambda self: VERSION[1])
    revision = property(lambda self: "00000")
    os = property(lambda self: "linux")
    platform = property(lambda self: "linux-amd64")
    temporaryPath = property(lambda self: str(self._folder))
    defaultScenePath = property(lambda self: str(self._folder))
    slicerHome = property(lambda self: str(self._folder))
    slicerUserSettingsFilePath = property(lambda self: self.userSettings().fileName())
    documentationBaseUrl = property(lambda self: "https://slicer.readthedocs.io/en/latest/")
    launcherExecutableFilePath = property(lambda self: "")

    def __init__(self, folder: Path) -> None:
        QSettings.setDefaultFormat(QSettings.Format.IniFormat)
        QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(folder))
        super().__init__(["Slicer"])
        self.setApplicationName("Slicer")
        self.setOrganizationName("SparseSegTesting")
        self.setQuitOnLastWindowClosed(False)
        self._folder, self._testing, self._paused = folder, True, 0
        self._moduleManager, self._ioManager = qSlicerModuleManager(), CoreIOManager()
        self._logic = self._layoutManager = None
        self._options = SimpleNamespace(noMainWindow=True, runPythonAndExit=False, testingEnabled=True)

    def _start(self, logic: Any) -> None:
        self._logic = logic
        self._layoutManager = qMRMLLayoutManager(logic)

    def applicationLogic(self) -> Any:
        """Return Slicer's application logic."""
        return self._logic

    def mrmlScene(self) -> Any:
        """Return the scene."""
        return slicer.mrmlScene

    def layoutManager(self) -> Any:
        """Return the layout manager."""
        return self._layoutManager

    def moduleManager(self) -> qSlicerModuleManager:
        """Return the module manager."""
        return self._moduleManager

    def moduleLogic(self, name: str) -> Any:
        """Return a module's logic."""
        return self._moduleManager.module(name).logic()

    def coreIOManager(self) -> CoreIOManager:
        """Return what reads and writes files."""
        return self._ioManager

    ioManager = coreIOManager

    def userSettings(self) -> QSettings:
        """Return the user's settings, which last as long as the process."""
        return QSettings()

    settings = revisionUserSettings = userSettings

    def commandOptions(self) -> SimpleNamespace:
        """Return how Slicer was started."""
        return self._options

    def testingEnabled(self) -> bool:
        """Return whether Slicer was started with --testing."""
        return self._testing

    def startupEnvironment(self) -> QProcessEnvironment:
        """Return the environment that Slicer was started in."""
        return QProcessEnvironment.systemEnvironment()

    def moduleDocumentationUrl(self, name: str) -> str:
        """Return the address of a module's documentation."""
        return f"{self.documentationBaseUrl}user_guide/modules/{name.lower()}.html"

    def pauseRender(self) -> None:
        """Hold rendering back."""
        self._paused += 1

    def resumeRender(self) -> None:
        """Let rendering go."""
        self._paused -= 1

    def isRenderPaused(self) -> bool:
        """Return whether rendering is held back."""
        return self._paused > 0


def start() -> tuple[qSlicerApplication, Any]:
    """Start the application over a real scene; return it with trame_slicer's holder of the logics."""
    from trame_slicer.core import SlicerApp

    app = qSlicerApplication(Path(tempfile.mkdtemp(prefix="slicer-host-")))
    core = SlicerApp()
    slicer.app, slicer.mrmlScene = app, core.scene
    vtk.vtkObject.GlobalWarningDisplayOn()
    app._start(core.app_logic)
    return app, core
