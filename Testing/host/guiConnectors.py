"""How a widget shows and changes a parameter: only the pairs that Slicer's own wrapper accepts."""

import enum
import pathlib
from collections.abc import Callable
from typing import Any

import slicer
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QLabel,
    QLineEdit,
    QPushButton,
    QSlider,
    QSpinBox,
    QTextEdit,
)

from .ctkWidgets import ctkCheckBox, ctkComboBox, ctkDirectoryButton, ctkDoubleSpinBox, ctkPathLineEdit, ctkSliderWidget
from .mrmlWidgets import qMRMLNodeComboBox, qMRMLSliderWidget, qMRMLSpinBox
from .serializers import Choice, Maximum, Minimum, WithinRange

WHOLE = 2**31
SLIDERS = (ctkSliderWidget, qMRMLSliderWidget)


class Connector:
    """One widget's value, and the signal that tells of its changes."""

    def __init__(self, read: Callable, write: Callable, signal: Any) -> None:
        self.read, self.write, self._signal = read, write, signal
        self._connection = None

    def connect(self, callback: Callable[[], None]) -> None:
        """Call back on every change."""
        if self._signal is not None:
            self._connection = self._signal.connect(lambda *_: callback())

    def disconnect(self) -> None:
        """Call back no more."""
        if self._connection is not None:
            self._signal.disconnect(self._connection)
            self._connection = None


def _attribute(widget: Any, name: str, signal: Any, convert: Callable = lambda value: value) -> Connector:
    """Return a connector over one property of the widget."""

    def write(value: Any) -> None:
        if getattr(widget, name) != value:
            setattr(widget, name, value)

    return Connector(lambda: convert(getattr(widget, name)), write, signal)


def _bounds(parameter: Any) -> tuple[float | None, float | None]:
    """Return the smallest and the largest value that the annotations allow."""
    low = high = None
    for each in parameter.validators:
        if isinstance(each, WithinRange | Minimum):
            low = each.minimum
        if isinstance(each, WithinRange | Maximum):
            high = each.maximum
    return low, high


def _number(widget: Any, parameter: Any, whole: bool) -> Connector:
    """Return the connector of a spin box or slider, whose range is what the annotations allow."""
    low, high = _bounds(parameter)
    if type(widget) in (*SLIDERS, QSlider) and (low is None or high is None):
        raise RuntimeError(f"{parameter.name}: a slider needs a bounded parameter")
    if not whole and parameter.type is int:
        widget.decimals = 0
    for note in getattr(parameter.hint, "__metadata__", ()):
        if type(note).__name__ in ("Decimals", "SingleStep"):
            setattr(widget, {"Decimals": "decimals", "SingleStep": "singleStep"}[type(note).__name__], note.value)
    widget.minimum = low if low is not None else -WHOLE if whole else float("-inf")
    widget.maximum = high if high is not None else WHOLE - 1 if whole else float("inf")
    return _attribute(widget, "value", widget.valueChanged, int if parameter.type is int else float)


def _choice(widget: Any, choices: list, labels: list[str]) -> Connector:
    """Return the connector of a combo box, filled with the choices."""
    widget.clear()
    for label in labels:
        widget.addItem(label)

    def write(value: Any) -> None:
        widget.currentIndex = choices.index(value)

    return Connector(lambda: choices[widget.currentIndex], write, widget.currentIndexChanged)


def _comboBox(widget: Any, parameter: Any) -> Connector:
    if issubclass(parameter.type, enum.Enum):
        members = list(parameter.type)
        label = getattr(parameter.type, "label", lambda member: member.name)
        return _choice(widget, members, [label(member) for member in members])
    choice = next((each for each in parameter.validators if isinstance(each, Choice)), None)
    if choice is None:
        raise RuntimeError(f"{parameter.name}: a combo box needs the Choice annotation or an Enum")
    return _choice(widget, list(choice.choices), [str(each) for each in choice.choices])


def _nodeSelector(widget: Any, parameter: Any) -> Connector:
    widget.nodeTypes = [parameter.type.__name__]
    return Connector(widget.currentNode, widget.setCurrentNode, widget.currentNodeChanged[object])


def _path(widget: Any, name: str, signal: Any, parameter: Any) -> Connector:
    text = _attribute(widget, name, signal)
    return Connector(lambda: parameter.type(text.read()), lambda value: text.write(str(value)), signal)


def _textOf(widget: Any) -> Connector:
    if type(widget) is QTextEdit:
        return Connector(widget.toPlainText, widget.setPlainText, widget.textChanged)
    return _attribute(widget, "text", getattr(widget, "textChanged", None))


def _plainConnector(widget: Any, parameter: Any) -> Connector | None:
    """Return the connector of a truth value, number or text."""
    kind, valueType = type(widget), parameter.type
    if valueType is bool and kind in (QCheckBox, ctkCheckBox):
        return _attribute(widget, "checked", widget.stateChanged)
    if valueType is bool and kind is QPushButton:
        widget.checkable = True
        return _attribute(widget, "checked", widget.toggled)
    if valueType is int and kind in (QSlider, QSpinBox):
        return _number(widget, parameter, True)
    if valueType in (int, float) and kind in (*SLIDERS, QDoubleSpinBox, ctkDoubleSpinBox, qMRMLSpinBox):
        return _number(widget, parameter, False)
    if valueType is str and kind in (QLineEdit, QLabel, QTextEdit):
        return _textOf(widget)
    return None


def connector(widget: Any, parameter: Any) -> Connector:
    """Return the connector of a widget and a parameter; RuntimeError for a pair that Slicer does not know."""
    kind, valueType = type(widget), parameter.type
    made = _plainConnector(widget, parameter)
    if made is None and isinstance(valueType, type):
        if kind in (QComboBox, ctkComboBox) and issubclass(valueType, (int, float, str, enum.Enum)):
            made = _comboBox(widget, parameter)
        elif issubclass(valueType, pathlib.PurePath) and kind is ctkPathLineEdit:
            made = _path(widget, "currentPath", widget.currentPathChanged, parameter)
        elif issubclass(valueType, pathlib.PurePath) and kind is ctkDirectoryButton:
            made = _path(widget, "directory", widget.directoryChanged, parameter)
        elif issubclass(valueType, slicer.vtkMRMLNode) and kind is qMRMLNodeComboBox:
            made = _nodeSelector(widget, parameter)
    if made is None:
        raise RuntimeError(f"Slicer connects no {valueType} ({parameter.name}) to a {kind.__name__}")
    return made
