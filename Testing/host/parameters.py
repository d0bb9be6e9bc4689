"""A stand-in of `slicer.parameterNodeWrapper`: typed parameters kept in a real node, under the real names."""

import typing
from collections.abc import Callable
from typing import Any

from slicer.util import NodeModify

from .guiConnectors import Connector, connector
from .serializers import Default, Serializer, Validator, serializer

PROPERTY = "SlicerParameterName"


class _Parameter:
    """One field of a parameter node class."""

    def __init__(self, name: str, hint: Any, default: Default | None) -> None:
        notes = typing.get_args(hint)[1:] if typing.get_origin(hint) is typing.Annotated else ()
        self.name, self.hint = name, hint
        self.type = typing.get_args(hint)[0] if notes else hint
        self.validators = [each for each in notes if isinstance(each, Validator)]
        self.serializer: Serializer = serializer(self.type)
        unknown = [each for each in notes if not isinstance(each, Validator | Default) and not hasattr(each, "value")]
        if unknown:
            raise TypeError(f"unknown annotations of {name}: {unknown}")
        given = default or next((each for each in notes if isinstance(each, Default)), None)
        self.default = given or Default(self.serializer.default())

    def write(self, node: Any, value: Any) -> None:
        """Check a value and store it."""
        self.serializer.validate(value)
        for validator in self.validators:
            validator.validate(value)
        self.serializer.write(node, self.name, value)

    def read(self, node: Any) -> Any:
        """Return the stored value, which is the default at first."""
        if not self.serializer.isIn(node, self.name):
            self.write(node, self.default.value)
        return self.serializer.read(node, self.name)


class _Wrapper:
    """What every parameter node class gets."""

    allParameters: dict[str, _Parameter]

    def __init__(self, parameterNode: Any) -> None:
        self.parameterNode = parameterNode
        self._guis: dict[int, tuple[dict[str, Connector], int]] = {}
        self._nextTag, self._updating = 0, False
        for parameter in self.allParameters.values():
            if not parameter.serializer.isIn(parameterNode, parameter.name):
                parameter.write(parameterNode, parameter.default.value)

    def _parameter(self, name: str) -> _Parameter:
        if name not in self.allParameters:
            raise ValueError(f"Cannot find a param with the given name: {name}; there are {list(self.allParameters)}")
        return self.allParameters[name]

    def getValue(self, name: str) -> Any:
        """Return a parameter's value."""
        return self._parameter(name).read(self.parameterNode)

    def setValue(self, name: str, value: Any) -> None:
        """Set a parameter's value."""
        self._parameter(name).write(self.parameterNode, value)

    def default(self, name: str) -> Default:
        """Return a parameter's default."""
        return self._parameter(name).default

    @classmethod
    def dataType(cls, name: str) -> Any:
        """Return a parameter's type with its annotations."""
        return cls.allParameters[name].hint

    def connectGui(self, gui: Any) -> int:
        """Connect the widgets that carry the property SlicerParameterName; return a tag to disconnect with."""
        widgets = gui.findChildren(_widgetClass()) if hasattr(gui, "findChildren") else vars(gui).values()
        named = {each.property(PROPERTY): each for each in widgets if each.property(PROPERTY)}
        return self.connectParametersToGui(named)

    def connectParametersToGui(self, mapping: dict[str, Any]) -> int:
        """Connect parameters to widgets; return a tag to disconnect with."""
        connectors = {name: connector(widget, self._parameter(name)) for name, widget in mapping.items()}
        for name, each in connectors.items():
            each.write(self.getValue(name))
            each.connect(self._writer(name, each))
        observer = self.AddObserver("ModifiedEvent", lambda *_: self._updateGui())
        self._nextTag += 1
        self._guis[self._nextTag] = (connectors, observer)
        return self._nextTag

    def disconnectGui(self, tag: int) -> None:
        """Take the connections of that tag back."""
        connectors, observer = self._guis.pop(tag, ({}, None))
        for each in connectors.values():
            each.disconnect()
        if observer is not None:
            self.RemoveObserver(observer)

    def _writer(self, name: str, each: Connector) -> Callable[[], None]:
        def write() -> None:
            if not self._updating:
                with NodeModify(self):
                    self.setValue(name, each.read())

        return write

    def _updateGui(self) -> None:
        if self._updating:
            return
        self._updating = True
        try:
            for connectors, _observer in list(self._guis.values()):
                for name, each in connectors.items():
                    each.write(self.getValue(name))
        finally:
            self._updating = False

    def StartModify(self) -> int:
        """Hold the node's events back."""
        return self.parameterNode.StartModify()

    def EndModify(self, wasModifying: int) -> int:
        """Let the node's events go."""
        return self.parameterNode.EndModify(wasModifying)

    def AddObserver(self, event: Any, callback: Callable, priority: float = 0.0) -> int:
        """Observe the node."""
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag: int) -> None:
        """Stop observing the node."""
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        """Say that the node changed."""
        self.parameterNode.Modified()


def _widgetClass() -> type:
    from PySide6.QtWidgets import QWidget

    return QWidget


def _property(name: str) -> property:
    return property(lambda self: self.getValue(name), lambda self, value: self.setValue(name, value))


def _wrap(cls: type) -> type:
    """Turn a class of type hints into a parameter node class."""
    parameters = {}
    for name, hint in typing.get_type_hints(cls, include_extras=True).items():
        default = Default(getattr(cls, name)) if hasattr(cls, name) else None
        if name in vars(_Wrapper) or name == "parameterNode":
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
        parameters[name] = _Parameter(name, hint, default)
        setattr(cls, name, _property(name))
    cls.allParameters = parameters
    cls._is_parameter_node_wrapper = True
    for name, member in vars(_Wrapper).items():
        if name == "__init__" or not name.startswith("__"):
            setattr(cls, name, member)
    return cls


def parameterNodeWrapper(cls: type | None = None) -> Any:
    """Decorate a class of type hints to read and write a node, with or without parentheses."""
    return _wrap if cls is None else _wrap(cls)


def isParameterNodeWrapper(classOrObject: Any) -> bool:
    """Return whether something is a parameter node class or an instance of one."""
    return getattr(classOrObject, "_is_parameter_node_wrapper", False)


def findChildWidgetForParameter(widget: Any, parameter: str) -> Any:
    """Return the child that carries a parameter's name."""
    children = widget.findChildren(_widgetClass())
    return next((each for each in children if each.property(PROPERTY) == parameter), None)
