"""Stand-ins of the effects of the Segment Editor: those of Slicer do nothing, scripted ones are really run."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import slicer
from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QFormLayout, QFrame, QWidget

from .standin import standIn, stored

NAMES = ["Threshold", "Paint", "Draw", "Erase", "Level tracing", "Grow from seeds", "Fill between slices"]
NAMES += ["Margin", "Hollow", "Smoothing", "Scissors", "Islands", "Logical operators", "Mask volume"]


@standIn("slicer")
class qSlicerSegmentEditorAbstractEffect(QObject):
    """One tool of one editor: it has a name, parameters and options, and does nothing."""

    name = stored(str, "name", "")
    title = stored(str, "title", "")
    perSegment = stored(bool, "perSegment", True)
    requireSegments = stored(bool, "requireSegments", True)
    showEffectCursorInSliceView = stored(bool, "showEffectCursorInSliceView", True)
    showEffectCursorInThreeDView = stored(bool, "showEffectCursorInThreeDView", False)
    _undo = Signal()
    _select = Signal(str)

    def __init__(self, name: str = "") -> None:
        super().__init__()
        self._active, self._node = False, None
        self.setName(name)
        self._frame = QFrame()
        QFormLayout(self._frame)

    def clone(self) -> "qSlicerSegmentEditorAbstractEffect":
        """Return the effect for another editor."""
        return qSlicerSegmentEditorAbstractEffect(self.name)

    def icon(self) -> QIcon:
        """Return the picture of the button."""
        return QIcon()

    def helpText(self) -> str:
        """Return what the editor says of the effect."""
        return ""

    def activate(self) -> None:
        """Show the options."""
        self._frame.setVisible(True)
        self._active = True
        self.updateGUIFromMRML()

    def deactivate(self) -> None:
        """Hide the options."""
        self._frame.setVisible(False)
        self._active = False

    def active(self) -> bool:
        """Return whether it is in use."""
        return self._active

    def setupOptionsFrame(self) -> None:
        """Make the options."""

    def setMRMLDefaults(self) -> None:
        """Give the parameters their values."""

    def sourceVolumeNodeChanged(self) -> None:
        """Hear of another source volume."""

    def updateGUIFromMRML(self) -> None:
        """Show the parameters."""

    def cleanup(self) -> None:
        """Let go of everything."""

    def optionsFrame(self) -> QFrame:
        """Return the frame with the options."""
        return self._frame

    def addOptionsWidget(self, widget: QWidget) -> None:
        """Add to the options."""
        widget.setParent(self._frame)
        self._frame.layout().addRow(widget)

    def parameterSetNode(self) -> Any:
        """Return the node with the parameters of all effects."""
        return self._node

    def setParameterSetNode(self, node: Any) -> None:
        """Take the node with the parameters of all effects."""
        self._node = node

    def parameter(self, name: str) -> str:
        """Return a parameter of the effect."""
        return self._node.GetAttribute(f"{self.name}.{name}") or ""

    def setParameter(self, name: str, value: Any) -> None:
        """Set a parameter of the effect."""
        self._node.SetAttribute(f"{self.name}.{name}", str(value))

    def saveStateForUndo(self) -> None:
        """Have the editor remember the segmentation as it is."""
        self._undo.emit()

    def selectEffect(self, name: str) -> None:
        """Have the editor use another effect."""
        self._select.emit(name)


CALLED = ("activate", "deactivate", "setupOptionsFrame", "setMRMLDefaults", "sourceVolumeNodeChanged")
CALLED += ("updateGUIFromMRML", "cleanup")


@standIn("slicer")
class qSlicerSegmentEditorScriptedEffect(qSlicerSegmentEditorAbstractEffect):
    """An effect in Python: its methods are called, after those of the base class."""

    def __init__(self, _parent: Any = None) -> None:
        super().__init__("UnnamedScriptedEffect")
        self._self = None

    def setPythonSource(self, path: str) -> bool:
        """Make the object of the class that is called like the file, from the module that is called like its folder."""
        source = Path(path)
        name = source.stem if source.stem.endswith("Effect") else source.stem + "Effect"
        module = sys.modules.get(source.parent.name)
        if not hasattr(module, name):
            spec = importlib.util.spec_from_file_location(source.parent.name, path)
            module = sys.modules[source.parent.name] = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        self._self = getattr(module, name)(self)
        setattr(slicer, source.parent.name, self._self)
        return True

    def self(self) -> Any:
        """Return the Python object."""
        return self._self

    def clone(self) -> Any:
        """Return the effect for another editor, which Python makes."""
        return self._self.clone()

    def icon(self) -> QIcon:
        """Return the picture of the button."""
        return self._self.icon() if hasattr(self._self, "icon") else super().icon()

    def helpText(self) -> str:
        """Return what the editor says of the effect."""
        return self._self.helpText() if hasattr(self._self, "helpText") else super().helpText()


def _calling(name: str) -> Any:
    def call(self: Any) -> None:
        getattr(qSlicerSegmentEditorAbstractEffect, name)(self)
        if hasattr(self._self, name):
            getattr(self._self, name)()

    return call


for _name in CALLED:
    setattr(qSlicerSegmentEditorScriptedEffect, _name, _calling(_name))


class AbstractScriptedSegmentEditorEffect:
    """The base of effects in Python."""

    def __init__(self, scriptedEffect: Any) -> None:
        self.scriptedEffect = scriptedEffect

    def register(self) -> None:
        """Offer the effect to all editors."""
        slicer.qSlicerSegmentEditorEffectFactory.instance().registerEffect(self.scriptedEffect)

    def cleanup(self) -> None:
        """Let go of everything."""


@standIn("slicer")
class qSlicerSegmentEditorEffectFactory(QObject):
    """Knows the effects; every editor has copies of them."""

    effectRegistered = Signal(str)
    _instance = None

    def __init__(self) -> None:
        super().__init__()
        self._effects = [qSlicerSegmentEditorAbstractEffect(name) for name in NAMES]

    @classmethod
    def instance(cls) -> "qSlicerSegmentEditorEffectFactory":
        """Return the only one."""
        if cls._instance is None:
            cls._instance = cls()
        return cls._instance

    def registerEffect(self, effect: Any) -> bool:
        """Add an effect, if there is none of that name."""
        if effect.name in [known.name for known in self._effects]:
            return False
        self._effects.append(effect)
        self.effectRegistered.emit(effect.name)
        return True

    def registeredEffects(self) -> list:
        """Return the effects."""
        return list(self._effects)

    def copyEffects(self, effects: list) -> list:
        """Add copies of the effects that are not there to a list, and return them."""
        known = [effect.name for effect in effects]
        copies = [effect.clone() for effect in self._effects if effect.name not in known]
        effects += copies
        return copies
