"""PySide6 with the manners of PythonQt: properties are attributes, and signals connect by their signature."""

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from functools import lru_cache
from types import MethodType, ModuleType
from typing import Any

import shiboken6
from PySide6.QtCore import Property, QMetaObject, QMetaProperty, QObject, SignalInstance

# Their getters are virtual and asked for by Qt's layouts; PythonQt's modules hardly ever read them.
LEFT_AS_METHODS = {"sizeHint", "minimumSizeHint"}
# A static function of the same name hides the getter.
NOT_THE_GETTER = {"singleShot"}

_ignoring: list[bool] = []
_connections: dict[tuple[int, str], list[tuple[Callable, QMetaObject.Connection]]] = {}
_pythonSetattr = shiboken6.Object.__setattr__
_pythonDisconnect = QObject.disconnect


class QtProperty:
    """A Qt property as a Python attribute; the class itself still shows the method of that name."""

    def __init__(self, name: str, method: Any, writable: bool) -> None:
        self.name, self.method, self.writable = name, method, writable

    def __get__(self, instance: QObject | None, owner: type) -> Any:
        if instance is None:
            return self if self.method is None else self.method
        if self.method is None or self.name in NOT_THE_GETTER:
            return instance.property(self.name)
        return self.method.__get__(instance, owner)()

    def __set__(self, instance: QObject, value: Any) -> None:
        if not self.writable:
            raise AttributeError(f"Property '{self.name}' of {type(instance).__name__} object can not be set")
        if isinstance(value, Enum):  # which setProperty takes in some versions only
            getattr(instance, f"set{self.name[0].upper()}{self.name[1:]}")(value)
        elif not instance.setProperty(self.name, value):
            raise TypeError(f"Property '{self.name}' of {type(instance).__name__} object does not take {value!r}")


def ofCppClass(instance: QObject) -> bool:
    """Return whether the object's class is C++ in Slicer: Qt's own, or a stand-in of this package."""
    return type(instance).__module__.split(".")[0] in ("PySide6", "host")


@lru_cache(4096)
def _static(owner: type, name: str) -> Any:
    """What a class has of that name, or None."""
    return inspect.getattr_static(owner, name, None)


def _setattr(self: QObject, name: str, value: Any) -> None:
    """Set a property, and refuse names that the class does not have, as PythonQt does."""
    attribute = _static(type(self), name)
    if isinstance(value, SignalInstance):  # PySide6 keeps a signal in its object when it is first asked for
        _pythonSetattr(self, name, value)
    elif isinstance(attribute, Property):
        attribute.fset(self, value)
    elif hasattr(type(attribute), "__set__"):
        _pythonSetattr(self, name, value)
    elif _ignoring and not name.startswith("_"):
        return
    elif name.encode() in [bytes(each) for each in self.dynamicPropertyNames()]:
        self.setProperty(name, value)
    elif ofCppClass(self) and not name.startswith("_"):
        kind = "creation of new attributes" if attribute is None else "overwriting of slots"
        raise AttributeError(f"Attribute '{name}': {kind} on {type(self).__name__} objects is not allowed")
    else:
        _pythonSetattr(self, name, value)


@contextmanager
def newAttributesIgnored() -> Iterator[None]:
    """Ignore, instead of refuse, new attributes on C++ objects."""
    _ignoring.append(True)
    try:
        yield
    finally:
        _ignoring.pop()


def _getattribute(original: Callable) -> Callable:
    """Return an attribute reader that puts our connect and disconnect before those of PySide6, which are built in."""

    def read(self: QObject, name: str) -> Any:
        if name == "connect":
            return MethodType(connect, self)
        if name == "disconnect":
            return MethodType(disconnect, self)
        return original(self, name)

    return read


def signatures(qtClass: type) -> set[str]:
    """Return the signatures of all signals of a class, with the C++ types of the class that it stands for."""
    meta = qtClass.staticMetaObject
    methods = [meta.method(index) for index in range(meta.methodCount())]
    names = {bytes(each.methodSignature()).decode() for each in methods if each.methodType().name == "Signal"}
    names = {name for name in names if "PyObject" not in name}
    for each in qtClass.__mro__:
        names.update(each.__dict__.get("_signatures", ()))
    return names


def _signal(sender: QObject, signature: str) -> tuple[Any, int, str]:
    """Return the signal of that signature, its number of arguments, and the signature in its normal form."""
    name = bytes(QMetaObject.normalizedSignature(signature)).decode()
    if name not in signatures(type(sender)):
        known = ", ".join(sorted(signatures(type(sender))))
        raise ValueError(f"{type(sender).__name__} has no signal {signature!r}; it has: {known}")
    base, arguments = name.rstrip(")").split("(", 1)
    native = name
    for each in type(sender).__mro__:
        native = each.__dict__.get("_signatures", {}).get(name, native)
    signal = getattr(sender, base)
    count = len(arguments.split(",")) if arguments else 0
    if count:
        signal = signal[native.rstrip(")").split("(", 1)[1]]
    return signal, count, name


def _arity(slot: Callable) -> int | None:
    """Return how many positional arguments a slot takes, None for any number."""
    try:
        parameters = inspect.signature(slot).parameters.values()
    except (TypeError, ValueError):  # a method of a C++ class
        return None
    if any(each.kind is each.VAR_POSITIONAL for each in parameters):
        return None
    return sum(each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD) for each in parameters)


def connect(self: QObject, signature: str, *target: Any) -> bool:
    """Connect by signature to a callable, or to the slot of a receiver: connect(sender, signal, receiver, slot)."""
    slot = target[0] if callable(target[0]) else getattr(target[0], str(target[1]).split("(", maxsplit=1)[0])
    signal, count, name = _signal(self, signature)
    arity = _arity(slot)
    passed = count if arity is None else min(count, arity)
    connection = signal.connect(lambda *arguments: slot(*arguments[:passed]))
    _connections.setdefault((shiboken6.getCppPointer(self)[0], name), []).append((slot, connection))
    return True


def disconnect(self: QObject, signature: Any, slot: Callable | None = None) -> bool:
    """Take back what connect made; all of a signal's connections when no slot is given."""
    if isinstance(signature, QMetaObject.Connection):
        return _pythonDisconnect(signature)
    name = _signal(self, signature)[2]
    made = _connections.get((shiboken6.getCppPointer(self)[0], name), [])
    found = [pair for pair in made if slot is None or pair[0] == slot]
    for pair in found:
        made.remove(pair)
        _pythonDisconnect(pair[1])
    return bool(found)


def _replaced(qtClass: type, name: str) -> Any:
    """Return the method that a class or its parents have under a property's name."""
    for each in qtClass.__mro__:
        method = each.__dict__.get(name)
        if isinstance(method, QtProperty):
            return method.method
        if method is not None:
            return method
    return None


def _patch(qtClass: type) -> None:
    """Give one class its properties as attributes."""
    meta = qtClass.staticMetaObject
    for index in range(meta.propertyCount()):
        entry: QMetaProperty = meta.property(index)
        name = entry.name()
        inherited = index < meta.propertyOffset() and name not in qtClass.__dict__
        if inherited or name in LEFT_AS_METHODS:
            continue
        setattr(qtClass, name, QtProperty(name, _replaced(qtClass, name), entry.isWritable()))
    qtClass.__setattr__ = _setattr
    if "__getattribute__" in vars(qtClass):  # the others have that of a parent
        qtClass.__getattribute__ = _getattribute(qtClass.__getattribute__)


def patch(module: ModuleType) -> None:
    """Give all classes of a PySide6 module PythonQt's manners."""
    for name in dir(module):
        each = getattr(module, name)
        if isinstance(each, type) and issubclass(each, QObject):
            _patch(each)


def patchQObject() -> None:
    """Give QObject what PythonQt adds to every object."""
    QObject.name = QtProperty("objectName", _replaced(QObject, "objectName"), True)
    QObject.className = lambda self: type(self).__name__  # an object's metaObject() takes the class's along
    QObject.delete = lambda self: shiboken6.delete(self)  # noqa: PLW0108 (a built-in would not be bound)
