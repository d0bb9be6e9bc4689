"""How values of each type are kept in a parameter node, as Slicer keeps them, and what is checked first."""

import enum
import pathlib
import typing
from collections.abc import Callable, MutableSequence
from typing import Any

import slicer
from slicer.util import NodeModify


class Default:
    """The value that a parameter has at first."""

    def __init__(self, value: Any = None, *, generator: Callable[[], Any] | None = None) -> None:
        self._value, self._generator = value, generator

    @property
    def value(self) -> Any:
        """Return the value, or a new one of the generator."""
        return self._generator() if self._generator else self._value


class Validator:
    """A condition that a value has to meet."""

    def validate(self, value: Any) -> None:
        """Raise ValueError when the value does not meet the condition."""
        raise NotImplementedError


class _Check(Validator):
    """A condition with a message."""

    def meets(self, value: Any) -> bool:
        """Return whether the value meets the condition."""
        raise NotImplementedError

    def validate(self, value: Any) -> None:
        """Raise ValueError when the value does not meet the condition."""
        if not self.meets(value):
            raise ValueError(f"{value!r} does not meet {type(self).__name__}{tuple(vars(self).values())}")


class WithinRange(_Check):
    """Between two values, both included."""

    def __init__(self, minimum: float, maximum: float) -> None:
        self.minimum, self.maximum = minimum, maximum

    def meets(self, value: Any) -> bool:
        """Return whether the value lies between."""
        return self.minimum <= value <= self.maximum


class Minimum(_Check):
    """Not below a value."""

    def __init__(self, minimum: float) -> None:
        self.minimum = minimum

    def meets(self, value: Any) -> bool:
        """Return whether the value is large enough."""
        return value >= self.minimum


class Maximum(_Check):
    """Not above a value."""

    def __init__(self, maximum: float) -> None:
        self.maximum = maximum

    def meets(self, value: Any) -> bool:
        """Return whether the value is small enough."""
        return value <= self.maximum


class Choice(_Check):
    """One of several values."""

    def __init__(self, choices: list) -> None:
        self.choices = choices

    def meets(self, value: Any) -> bool:
        """Return whether the value is among the choices."""
        return value in self.choices


class Exclude(_Check):
    """None of several values."""

    def __init__(self, excludedValues: list) -> None:
        self.excludedValues = excludedValues

    def meets(self, value: Any) -> bool:
        """Return whether the value is not excluded."""
        return value not in self.excludedValues


class Serializer:
    """Keeps values as text under the parameter's name."""

    def __init__(self, valueType: type, toText: Callable = str, fromText: Callable | None = None) -> None:
        self.type, self.toText, self.fromText = valueType, toText, fromText or valueType

    def default(self) -> Any:
        """Return the value of a parameter without a default."""
        return self.type()

    def validate(self, value: Any) -> None:
        """Raise TypeError for a value of another type."""
        if not isinstance(value, (int, float) if self.type is float else self.type):
            raise TypeError(f"Value must be of type {self.type.__name__}, is {value!r}")

    def isIn(self, node: Any, name: str) -> bool:
        """Return whether the node has the parameter."""
        return node.HasParameter(name)

    def write(self, node: Any, name: str, value: Any) -> None:
        """Store a value."""
        node.SetParameter(name, self.toText(value))

    def read(self, node: Any, name: str) -> Any:
        """Return the stored value."""
        return self.fromText(node.GetParameter(name))

    def remove(self, node: Any, name: str) -> None:
        """Take the parameter out of the node."""
        node.UnsetParameter(name)


class EnumSerializer(Serializer):
    """Keeps a member's name."""

    def __init__(self, valueType: type) -> None:
        super().__init__(valueType, lambda value: value.name, lambda text: valueType[text])

    def default(self) -> Any:
        """Return the first member."""
        return next(iter(self.type))


class NodeSerializer(Serializer):
    """Keeps a reference to a node, beside an empty parameter that says that it was set."""

    def default(self) -> None:
        """Return no node."""

    def validate(self, value: Any) -> None:
        """Raise TypeError for what is not such a node."""
        if value is not None:
            super().validate(value)

    def write(self, node: Any, name: str, value: Any) -> None:
        """Store the reference."""
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def read(self, node: Any, name: str) -> Any:
        """Return the node that the reference leads to."""
        return node.GetNodeReference(name)

    def remove(self, node: Any, name: str) -> None:
        """Take parameter and reference out of the node."""
        node.UnsetParameter(name)
        node.RemoveNodeReferenceIDs(name)


class ListSerializer(Serializer):
    """Keeps the length and each element under a name of its own."""

    def __init__(self, valueType: Any) -> None:
        self.type = list
        self.element = serializer(typing.get_args(valueType)[0])

    def validate(self, value: Any) -> None:
        """Raise TypeError for elements of another type."""
        for each in value:
            self.element.validate(each)

    def isIn(self, node: Any, name: str) -> bool:
        """Return whether the node has the list."""
        return node.HasParameter(f"{name}.len")

    def write(self, node: Any, name: str, value: Any) -> None:
        """Store all elements, and remove what a longer list left."""
        with NodeModify(node):
            before = int(node.GetParameter(f"{name}.len") or 0)
            for index, each in enumerate(value):
                self.element.write(node, f"{name}.{index}", each)
            node.SetParameter(f"{name}.len", str(len(value)))
            for index in range(len(value), before):
                self.element.remove(node, f"{name}.{index}")

    def read(self, node: Any, name: str) -> "ObservedList":
        """Return the list, which writes its changes back."""
        count = int(node.GetParameter(f"{name}.len"))
        values = [self.element.read(node, f"{name}.{index}") for index in range(count)]
        return ObservedList(values, lambda changed: self.write(node, name, changed))


class ObservedList(MutableSequence):
    """A list that is stored again whenever it changes."""

    def __init__(self, values: list, save: Callable[[list], None]) -> None:
        self._values, self._save = values, save

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: Any) -> Any:
        return self._values[index]

    def __setitem__(self, index: Any, value: Any) -> None:
        self._values[index] = value
        self._save(self._values)

    def __delitem__(self, index: Any) -> None:
        del self._values[index]
        self._save(self._values)

    def insert(self, index: int, value: Any) -> None:
        """Put a value in front of a place."""
        self._values.insert(index, value)
        self._save(self._values)

    def __eq__(self, other: object) -> bool:
        return self._values == (other._values if isinstance(other, ObservedList) else other)

    __hash__ = None

    def __repr__(self) -> str:
        return f"ObservedList({self._values})"


def serializer(valueType: Any) -> Serializer:
    """Return the serializer of a type."""
    if typing.get_origin(valueType) is typing.Annotated:
        valueType = typing.get_args(valueType)[0]
    if valueType is bool:
        return Serializer(bool, lambda value: "True" if value else "False", lambda text: text == "True")
    if valueType in (int, float, str) or (isinstance(valueType, type) and issubclass(valueType, pathlib.PurePath)):
        return Serializer(valueType)
    if typing.get_origin(valueType) is list:
        return ListSerializer(valueType)
    if isinstance(valueType, type) and issubclass(valueType, enum.Enum):
        return EnumSerializer(valueType)
    if isinstance(valueType, type) and issubclass(valueType, slicer.vtkMRMLNode):
        return NodeSerializer(valueType)
    raise TypeError(f"the stand-in host keeps no parameters of type {valueType}")
