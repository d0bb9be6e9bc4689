"""Checks of a scripted module's files that need no running module; each returns problems as 'file:line: what'."""

import ast
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PySide6 import QtCore, QtWidgets

from . import Host, pythonqt
from .standin import CLASSES

ENGINE_AT_FILE_SCOPE = {"jobs", "annotation", "image", "io", "errors", "files", "protocol", "models", "units"}
NOT_AT_FILE_SCOPE = {"torch", "skimage", "matplotlib"}
SHOWN = {"text", "toolTip", "title", "placeholderText", "windowTitle", "helpText"}
SHOWING = {"setText", "setToolTip", "setTitle", "setWindowTitle", "SetTitle", "SetXAxisTitle", "addItem", "addRow"}
SHOWING |= {"errorDisplay", "warningDisplay", "infoDisplay", "confirmYesNoDisplay", "confirmOkCancelDisplay"}


def _sources(folder: Path) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(folder.rglob("*.py")):
        yield path, ast.parse(path.read_text("utf-8"))


def _problem(path: Path, node: Any, text: str) -> str:
    return f"{path}:{getattr(node, 'lineno', node)}: {text}"


def _uiFiles(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*.ui"))


def uiClasses(folder: Path) -> dict[str, str]:
    """Return the class of every named widget, action and layout in the module's .ui files."""
    classes = {}
    for path in _uiFiles(folder):
        for each in ET.parse(path).iter():
            if each.tag in ("widget", "action", "layout") and each.get("name"):
                classes[each.get("name")] = each.get("class", "QAction")
    return classes


def _uiName(node: ast.AST) -> str | None:
    """Return NAME of an expression self.ui.NAME or ui.NAME."""
    if not isinstance(node, ast.Attribute):
        return None
    owner = node.value
    isUi = (isinstance(owner, ast.Name) and owner.id == "ui") or (
        isinstance(owner, ast.Attribute) and owner.attr in ("ui", "_ui")
    )
    return node.attr if isUi else None


def unknownWidgets(folder: Path) -> list[str]:
    """Return uses of ui.NAME where no .ui file has a widget of that name."""
    names = set(uiClasses(folder))
    return [
        _problem(path, node, f"no .ui file has a widget {name!r}")
        for path, tree in _sources(folder)
        for node in ast.walk(tree)
        if (name := _uiName(node)) is not None and name not in names
    ]


def unknownParameters(folder: Path, parameterNodeClass: type) -> list[str]:
    """Return the SlicerParameterName properties that name no field of the parameter node class."""
    problems = []
    for path in _uiFiles(folder):
        lines = path.read_text("utf-8").splitlines()
        for widget in ET.parse(path).iter("widget"):
            for each in widget.findall("property[@name='SlicerParameterName']"):
                name = each.findtext("string") or each.findtext("cstring") or ""
                if name not in parameterNodeClass.allParameters:
                    line = next((index for index, text in enumerate(lines, 1) if f">{name}<" in text), 0)
                    text = f"{widget.get('name')}: {parameterNodeClass.__name__} has no field {name!r}"
                    problems.append(_problem(path, line, text))
    return problems


def _class(name: str) -> type | None:
    """Return the class of that name of Qt, CTK or Slicer."""
    Host.instance()
    for classes in CLASSES.values():
        if name in classes:
            return classes[name]
    import qt

    return getattr(qt, name, None)


def _connects(tree: ast.Module) -> Iterator[tuple[ast.Call, ast.AST, str]]:
    """Yield each call X.connect("signature", ...) with X and the signature."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        first = node.args[0]
        isText = isinstance(first, ast.Constant) and isinstance(first.value, str)
        if node.func.attr in ("connect", "disconnect") and isText:
            yield node, node.func.value, first.value


def _assigned(tree: ast.Module) -> dict[str, str]:
    """Return the class of names that the file sets to qt.X(...), ctk.X(...) or slicer.X(...)."""
    classes = {}
    for node in ast.walk(tree):
        value = getattr(node, "value", None)
        if not (isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(value, ast.Call)):
            continue
        function = value.func
        if isinstance(function, ast.Attribute) and ast.unparse(function.value) in ("qt", "ctk", "slicer"):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                classes[ast.unparse(target)] = function.attr
    return classes


def unknownSignals(folder: Path) -> list[str]:
    """Return connections to signatures that the sender's class does not have; the class is that in the .ui file."""
    widgets, problems = uiClasses(folder), []
    every = None
    for path, tree in _sources(folder):
        assigned = _assigned(tree)
        for node, sender, signature in _connects(tree):
            name = bytes(QtCore.QMetaObject.normalizedSignature(signature)).decode()
            className = widgets.get(_uiName(sender) or "") or assigned.get(ast.unparse(sender))
            qtClass = _class(className) if className else None
            if qtClass is None:
                every = every or _everySignature()
                known, owner = every, "no class of Qt, CTK or Slicer"
            else:
                known, owner = pythonqt.signatures(qtClass), f"{className} ({ast.unparse(sender)})"
            if name not in known:
                problems.append(_problem(path, node, f"{owner} has no signal {signature!r}"))
    return problems


def _everySignature() -> set[str]:
    """Return the signals of all classes, for senders whose class the file does not tell."""
    from .application import qMRMLLayoutManager, qSlicerApplication, qSlicerModuleManager

    classes = [each for group in CLASSES.values() for each in group.values()]
    classes += [qSlicerApplication, qSlicerModuleManager, qMRMLLayoutManager]
    for module in (QtCore, QtWidgets):
        every = (getattr(module, name) for name in dir(module))
        classes += [each for each in every if isinstance(each, type) and issubclass(each, QtCore.QObject)]
    return set().union(*map(pythonqt.signatures, classes))


def unconnectedScenes(folder: Path) -> list[str]:
    """Return MRML widgets of a .ui file that the root does not hand its scene to."""
    problems = []
    for path in _uiFiles(folder):
        tree = ET.parse(path)
        connections = tree.iter("connection")
        connected = {each.findtext("receiver") for each in connections if "mrmlSceneChanged" in each.findtext("signal")}
        root = tree.find("widget")
        for widget in root.iter("widget"):
            takesScene = hasattr(CLASSES["slicer"].get(widget.get("class")), "setMRMLScene")
            if widget is not root and takesScene and widget.get("name") not in connected:
                text = f"the root's mrmlSceneChanged is not connected to {widget.get('name')}"
                problems.append(_problem(path, 0, text))
    return problems


def _fileScope(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes that run when the file is imported."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        yield node
        yield from _fileScope(node)


def _imported(node: ast.AST) -> list[str]:
    """Return the dotted names that a statement imports."""
    if isinstance(node, ast.Import):
        return [each.name for each in node.names]
    if isinstance(node, ast.ImportFrom) and not node.level:
        if node.module == "SparseSegLib":
            return [f"SparseSegLib.{each.name}" for each in node.names]
        return [node.module or ""]
    return []


def forbiddenImports(folder: Path) -> list[str]:
    """Return imports at file scope of what must not load, or may be missing, when Slicer starts."""
    problems = []
    for path, tree in _sources(folder):
        for node in _fileScope(tree):
            for name in _imported(node):
                parts = name.split(".")
                engine = parts[0] == "SparseSegLib" and len(parts) > 1 and parts[1] not in ENGINE_AT_FILE_SCOPE
                if parts[0] in NOT_AT_FILE_SCOPE or engine:
                    problems.append(_problem(path, node, f"{name} is imported at file scope"))
    return problems


def formattedTranslations(folder: Path) -> list[str]:
    """Return calls of _() whose text is not a plain string, which the translators' tools cannot read."""
    problems = []
    for path, tree in _sources(folder):
        for node in ast.walk(tree):
            if not (isinstance(node, ast.Call) and ast.unparse(node.func) == "_" and node.args):
                continue
            if not (isinstance(node.args[0], ast.Constant) and isinstance(node.args[0].value, str)):
                problems.append(_problem(path, node, "_() takes a plain string; use .format() on its result"))
    return problems


def untranslatedTexts(folder: Path) -> list[str]:
    """Return texts that are given to widgets and dialogs as they are written, without _()."""
    problems = []
    for path, tree in _sources(folder):
        for node in ast.walk(tree):
            if isinstance(node, ast.Assign) and any(getattr(each, "attr", "") in SHOWN for each in node.targets):
                given = [node.value]
            elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") in SHOWING:
                given = node.args
            else:
                continue
            problems += [_problem(path, node, f"{text!r} is not translated") for text in _plainTexts(given)]
    return problems


def _plainTexts(given: list[ast.expr]) -> Iterator[str]:
    """Yield the words that expressions show as they are: in literals, in branches, and in what is added to them."""
    for node in given:
        if isinstance(node, ast.Constant):
            if re.search(r"[^\W\d_]{2,}", re.sub("<[^>]*>", "", str(node.value))) and isinstance(node.value, str):
                yield node.value
        elif isinstance(node, ast.JoinedStr):
            yield from _plainTexts(node.values)
        elif isinstance(node, ast.IfExp):
            yield from _plainTexts([node.body, node.orelse])
        elif isinstance(node, ast.BinOp):
            yield from _plainTexts([node.left, node.right])
