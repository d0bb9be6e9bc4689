"""Loads modules as Slicer's module factory does."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import slicer
from PySide6.QtCore import QObject
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QVBoxLayout

from .mrmlWidgets import qMRMLWidget
from .standin import standIn, stored


class LogicModule:
    """A module in C++: a name and a real logic."""

    def __init__(self, name: str, logic: Any) -> None:
        self.name, self.title, self.path, self._logic = name, name, "", logic

    def logic(self) -> Any:
        """Return the logic."""
        return self._logic

    def widgetRepresentation(self) -> None:
        """Return no panel."""


@standIn("slicer")
class qSlicerScriptedLoadableModuleWidget(qMRMLWidget):
    """The widget that holds a scripted module's panel."""

    def __init__(self, module: Any = None) -> None:
        super().__init__()
        QVBoxLayout(self)
        self._module, self._entered, self._self = module, False, None

    isEntered = property(lambda self: self._entered)

    def self(self) -> Any:
        """Return the Python object."""
        return self._self

    def _make(self) -> None:
        className = self._module.name + "Widget"
        self._self = getattr(sys.modules[self._module.name], className)(self)
        setattr(slicer.modules, className, self._self)
        self.setup()

    def setup(self) -> None:
        """Make the panel."""
        self._self.setup()

    def reload(self) -> None:
        """Make the panel again from the module as it is now."""
        self._make()

    def enter(self) -> None:
        """Show the module."""
        self._entered = True
        self._call("enter")

    def exit(self) -> None:
        """Leave the module."""
        self._entered = False
        self._call("exit")

    def _call(self, name: str) -> None:
        if hasattr(self._self, name):
            getattr(self._self, name)()


@standIn("slicer")
class qSlicerScriptedLoadableModule(QObject):
    """A module in Python."""

    title = stored(str, "title", "")
    categories = stored("QStringList", "categories", [])
    dependencies = stored("QStringList", "dependencies", [])
    contributors = stored("QStringList", "contributors", [])
    associatedNodeTypes = stored("QStringList", "associatedNodeTypes", [])
    helpText = stored(str, "helpText", "")
    acknowledgementText = stored(str, "acknowledgementText", "")
    icon = stored(QIcon, "icon", None)
    hidden = stored(bool, "hidden", False)
    index = stored(int, "index", -1)
    widgetRepresentationCreationEnabled = stored(bool, "widgetRepresentationCreationEnabled", True)
    name = property(lambda self: self._moduleName)
    path = property(lambda self: self._path)

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._moduleName, self._path, self._representation = path.stem, str(path), None
        self._logic = slicer.vtkSlicerScriptedLoadableModuleLogic()

    def logic(self) -> Any:
        """Return the (empty) logic in C++."""
        return self._logic

    def createNewWidgetRepresentation(self) -> qSlicerScriptedLoadableModuleWidget | None:
        """Return a new panel."""
        if not self.widgetRepresentationCreationEnabled:
            return None
        representation = qSlicerScriptedLoadableModuleWidget(self)
        representation._make()
        representation.setMRMLScene(slicer.mrmlScene)
        return representation

    def widgetRepresentation(self) -> qSlicerScriptedLoadableModuleWidget | None:
        """Return the panel, made at the first call."""
        if self._representation is None:
            self._representation = self.createNewWidgetRepresentation()
        return self._representation

    def _deletePanel(self) -> None:
        """As in Slicer, a module that is unloaded takes its panel along; nobody hears of scenes any longer."""
        if self._representation is not None:
            self._representation.deleteLater()
            self._representation = None


class LoadedModule:
    """A scripted module as a test sees it."""

    def __init__(self, module: qSlicerScriptedLoadableModule) -> None:
        self.module = module
        self.representation = module.widgetRepresentation()

    @property
    def python(self) -> ModuleType:
        """The imported Python module."""
        return sys.modules[self.module.name]

    @property
    def instance(self) -> Any:
        """The object that told Slicer about the module."""
        return getattr(slicer.modules, self.module.name + "Instance")

    @property
    def widget(self) -> Any:
        """The Python object of the panel."""
        return self.representation.self() if self.representation else None

    def enter(self) -> None:
        """Show the module."""
        self.representation.enter()

    def exit(self) -> None:
        """Leave the module."""
        self.representation.exit()

    def reload(self) -> None:
        """Load the module again with Slicer's own function."""
        slicer.util.reloadScriptedModule(self.module.name)


def load(path: Path) -> LoadedModule:
    """Import a scripted module, register it, and make its panel."""
    module = qSlicerScriptedLoadableModule(path.resolve())
    name, folder = module.name, str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    spec = importlib.util.spec_from_file_location(name, module.path)
    python = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(python)
    except BaseException:
        del sys.modules[name]
        raise
    setattr(slicer.modules, name + "Instance", getattr(python, name)(module))
    setattr(slicer.modules, name.lower(), module)
    module.setWidgetRepresentationCreationEnabled(hasattr(python, name + "Widget"))
    instance = getattr(slicer.modules, name + "Instance")
    if hasattr(instance, "setup"):
        instance.setup()
    manager = slicer.app.moduleManager()
    manager._modules[name] = module
    manager.moduleLoaded.emit(name)
    return LoadedModule(module)


def unload(name: str) -> None:
    """Clean a module's panel up and forget the module."""
    manager = slicer.app.moduleManager()
    manager.moduleAboutToBeUnloaded.emit(name)
    manager._modules.pop(name)._deletePanel()
    for attribute in (name.lower(), name + "Instance", name + "Widget"):
        vars(slicer.modules).pop(attribute, None)
    sys.modules.pop(name, None)
    manager.moduleUnloaded.emit(name)


def registerLogics(core: Any) -> None:
    """Register the modules of Slicer whose logics are real."""
    logics = {
        "Segmentations": core.segmentations_logic,
        "Volumes": core.volumes_logic,
        "Colors": core.color_logic,
        "Terminologies": core.terminologies_logic,
        "SubjectHierarchy": core.subject_hierarchy_logic,
        "Data": core.data_logic,
        "Transforms": _logic(core, slicer.vtkSlicerTransformLogic()),
        "SegmentEditor": _logic(core, slicer.vtkSlicerSegmentEditorLogic()),
        "Plots": _logic(core, slicer.vtkSlicerPlotsLogic()),
        "Sequences": _logic(core, slicer.vtkSlicerSequencesLogic()),
        "Tables": _logic(core, slicer.vtkSlicerTablesLogic()),
    }
    from .segmentEditorModule import SegmentEditorModule

    for name, logic in logics.items():
        module = (SegmentEditorModule if name == "SegmentEditor" else LogicModule)(name, logic)
        setattr(slicer.modules, name.lower(), module)
        slicer.app.moduleManager()._modules[name] = module


def _logic(core: Any, logic: Any) -> Any:
    logic.SetMRMLScene(core.scene)
    logic.SetMRMLApplicationLogic(core.app_logic)
    return logic
