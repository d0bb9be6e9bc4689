"""Loads .ui files made for Slicer, with its custom widgets and the connections written in the file."""

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

from PySide6.QtCore import QBuffer, QFile, QObject
from PySide6.QtUiTools import QUiLoader as _QUiLoader
from PySide6.QtWidgets import QComboBox, QWidget

from . import pythonqt
from .standin import CLASSES


class QUiLoader(_QUiLoader):
    """Qt's loader that knows the stand-ins."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        for classes in CLASSES.values():
            for each in classes.values():
                self.registerCustomWidget(each)

    def load(self, source: Any, parent: QWidget | None = None) -> QWidget:
        """Return the root widget of a file, given as a path or an open QFile."""
        text = bytes(source.readAll()).decode() if isinstance(source, QFile) else Path(str(source)).read_text("utf-8")
        tree = ET.fromstring(text)
        _refuseUnknown(tree)
        connections, policies = _takeConnections(tree), _takePolicies(tree)
        buffer = QBuffer()
        buffer.setData(ET.tostring(tree))
        with pythonqt.newAttributesIgnored():  # PySide6 would set each child as an attribute of the root
            widget = super().load(buffer, parent)
        if widget is None:
            raise RuntimeError(f"Qt cannot load the .ui file: {self.errorString()}")
        widget._descendants = widget.findChildren(QObject)  # keeps the Python halves of the stand-ins
        for name, policy in policies:
            widget.findChild(QObject, name).sizeAdjustPolicy = policy
        for connection in connections:
            _connect(widget, connection)
        return widget


def _refuseUnknown(tree: ET.Element) -> None:
    """Raise when a file uses a custom widget that has no stand-in."""
    custom = {each.findtext("class") for each in tree.iter("customwidget")}
    known = {name for classes in CLASSES.values() for name in classes}
    unknown = {each.get("class") for each in tree.iter("widget")} & custom - known
    if unknown:
        raise RuntimeError(f"the stand-in host has no {', '.join(sorted(unknown))}: add it to Testing/host")


def _takeConnections(tree: ET.Element) -> list[ET.Element]:
    """Remove and return the connections between stand-ins, whose types QUiLoader does not know."""
    connections = tree.find("connections")
    found = [each for each in connections or [] if "vtk" in each.findtext("signal") + each.findtext("slot")]
    for each in found:
        connections.remove(each)
    return found


def _takePolicies(tree: ET.Element) -> list[tuple[str, Any]]:
    """Remove and return how stand-ins of combo boxes adjust their size: QUiLoader reads enums of Qt's classes alone."""
    found = []
    for each in tree.iter("widget"):
        policy = each.find("property[@name='sizeAdjustPolicy']") if each.get("class") in CLASSES["slicer"] else None
        if policy is not None:
            each.remove(policy)
            value = policy.findtext("enum").rpartition("::")[2]
            found.append((each.get("name"), QComboBox.SizeAdjustPolicy[value]))
    return found


def _connect(root: QWidget, connection: ET.Element) -> None:
    """Make one connection of the file."""
    ends = []
    for tag in ("sender", "receiver"):
        name = connection.findtext(tag)
        end = root if root.objectName == name else root.findChild(QObject, name)
        if end is None:
            raise RuntimeError(f"the .ui file connects a widget {name!r} that it does not have")
        ends.append(end)
    ends[0].connect(connection.findtext("signal"), ends[1], connection.findtext("slot"))
