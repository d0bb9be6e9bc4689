"""What the stand-ins of Slicer's and CTK's widgets are made with."""

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import Property, QObject

CLASSES: dict[str, dict[str, type]] = {"slicer": {}, "ctk": {}}


def stored(qtType: Any, name: str, default: Any = None, changed: str = "") -> Property:
    """Return a Qt property that remembers its value and calls the method `changed` when it is another one."""
    key = "_" + name

    def read(self: QObject) -> Any:
        return self.__dict__.get(key, default)

    def write(self: QObject, value: Any) -> None:
        if read(self) != value:
            self.__dict__[key] = value
            if changed:
                getattr(self, changed)()

    return Property(qtType, read, write)


def standIn(module: str) -> Callable[[type], type]:
    """Register a class as part of `slicer` or `ctk`, and give each property its setter, as Slicer's class has."""

    def complete(standInClass: type) -> type:
        for name, each in list(vars(standInClass).items()):
            setter = "set" + name[:1].upper() + name[1:]
            if isinstance(each, Property) and each.fset and not hasattr(standInClass, setter):
                setattr(standInClass, setter, lambda self, value, write=each.fset: write(self, value))
        CLASSES[module][standInClass.__name__] = standInClass
        return standInClass

    return complete
