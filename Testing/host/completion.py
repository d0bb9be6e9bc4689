"""The Python modules that a scripted module imports and `slicer-core` lacks: qt, ctk, slicer.*, SampleData."""

import importlib.util
import re
import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import slicer
from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from . import parameters, pythonqt, scripted, serializers
from .sampleData import SampleDataLogic
from .standin import CLASSES
from .uiLoader import QUiLoader

NOT_IN_PYTHONQT = {"Signal", "Slot", "Property", "SIGNAL", "SLOT", "QEnum", "ClassInfo"}


def _module(name: str, **members: Any) -> ModuleType:
    """Make a module importable."""
    module = sys.modules[name] = ModuleType(name)
    vars(module).update(members)
    parent, _, last = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], last, module)
    return module


def installQt() -> None:
    """Install `qt` and `ctk`, with PythonQt's manners."""
    names: dict[str, Any] = {}
    for module in (QtCore, QtGui, QtWidgets, QtUiTools):
        pythonqt.patch(module)
        names.update({name: getattr(module, name) for name in dir(module) if name.startswith(("Q", "q"))})
    pythonqt.patchQObject()
    names = {name: each for name, each in names.items() if name not in NOT_IN_PYTHONQT}
    _module("qt", **{**names, "Qt": QtCore.Qt, "QUiLoader": QUiLoader})
    from . import ctkWidgets, effects, segmentEditor  # noqa: F401 (they register their classes)

    _module("ctk", **CLASSES["ctk"])
    vars(slicer).update(CLASSES["slicer"])
    _module("qSlicerSegmentationsEditorEffectsPythonQt", **CLASSES["slicer"])
    _module("SegmentEditorEffects", AbstractScriptedSegmentEditorEffect=effects.AbstractScriptedSegmentEditorEffect)


def _installPackaging(calls: list[tuple[str, Any]]) -> None:
    """Install slicer.packaging, which records what it is asked for and installs nothing."""

    def record(name: str, result: Any) -> Any:
        def call(requirements: Any, *_arguments: Any, **_options: Any) -> Any:
            calls.append((name, requirements))
            return result

        return call

    def pip_check(requirements: Any, *_arguments: Any) -> bool:
        calls.append(("pip_check", requirements))
        every = requirements if isinstance(requirements, list) else str(requirements).split()
        distributions = [re.split(r"[<>=!~\[; ]", str(each), maxsplit=1)[0] for each in every]
        return all(_isInstalled(each) for each in distributions)

    members = {"pip_check": pip_check, "isPipInstallInProgress": lambda: False}
    for name in ("pip_ensure", "pip_install", "pip_uninstall"):
        members[name] = record(name, [] if name == "pip_ensure" else None)
    _module("slicer.packaging", **members)
    slicer.util.pip_install = record("pip_install", None)


def _isInstalled(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def installSlicer(calls: list[tuple[str, Any]]) -> None:
    """Install what is missing in the package `slicer`; calls of its package installer are appended to `calls`."""
    slicer.modules = SimpleNamespace()
    slicer.selfTests = {}
    sys.modules["slicer.modules"] = slicer.modules
    _module("slicer.i18n", tr=str, translate=lambda _context, text: text)
    base = {name: each for name, each in vars(scripted).items() if name.startswith("ScriptedLoadable")}
    _module("slicer.ScriptedLoadableModule", **base, __all__=sorted(base))
    public = [
        parameters.parameterNodeWrapper,
        parameters.isParameterNodeWrapper,
        parameters.findChildWidgetForParameter,
    ]
    public += [serializers.Default, serializers.WithinRange, serializers.Minimum, serializers.Maximum]
    public += [serializers.Choice, serializers.Exclude, serializers.Validator, serializers.ObservedList]
    public += [type(name, (), {"__init__": lambda self, value: setattr(self, "value", value)}) for name in _NOTES]
    members = {each.__name__: each for each in public}
    wrapper = _module("slicer.parameterNodeWrapper", **members, __all__=sorted(members))
    wrapper.SlicerParameterNamePropertyName = parameters.PROPERTY
    _installPackaging(calls)
    _module("SampleData", SampleDataLogic=SampleDataLogic, downloadSample=SampleDataLogic.download)
    _module("PyTorchUtils", PyTorchUtilsLogic=_PyTorchUtilsLogic)


_NOTES = ("Decimals", "SingleStep")


class _PyTorchUtilsLogic:
    """The PyTorch extension's logic: torch is never imported here."""

    def torchInstalled(self) -> bool:
        """Return whether torch can be imported."""
        return importlib.util.find_spec("torch") is not None

    def installTorch(self, *_arguments: Any, **_options: Any) -> None:
        """Install nothing."""
