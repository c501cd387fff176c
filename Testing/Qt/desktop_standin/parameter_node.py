"""Module ``slicer.parameterNodeWrapper``: typed parameters in a real ``vtkMRMLScriptedModuleNode``.

Names and texts of what is stored, defaults, validation, caching and the coupling to widgets are those of Slicer
(Base/Python/slicer/parameterNodeWrapper). Left out: types ``typing.Any``, ``qt.QColor`` and ``FloatRange``,
Slicer's own connectors for widgets, which read PythonQt attributes, and with them ``connectGui`` and ``createGui``.
"""

from __future__ import annotations

import enum
import pathlib
import types
import typing
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, MutableMapping, MutableSequence
from dataclasses import dataclass
from types import ModuleType
from typing import Annotated, Any

import slicer
import slicer.util
import vtk

SlicerParameterNamePropertyName = "SlicerParameterName"


# ---- annotations -----------------------------------------------------------------------------------------------------


class Default:
    """The value of a parameter that the node does not have yet; a generator is asked each time."""

    def __init__(self, value: Any = None, *, generator: Callable[[], Any] | None = None) -> None:
        self._value = value
        self._generator = generator

    @property
    def value(self) -> Any:
        return self._generator() if self._generator else self._value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Default) and (self._value, self._generator) == (other._value, other._generator)

    __hash__ = None


@dataclass
class Decimals:
    value: int


@dataclass
class SingleStep:
    value: float


class Validator(ABC):
    @abstractmethod
    def validate(self, value: Any) -> None: ...


class NotNone(Validator):
    def validate(self, value: Any) -> None:
        if value is None:
            raise ValueError("Value must not be None")


class IsNone(Validator):
    def validate(self, value: Any) -> None:
        if value is not None:
            raise ValueError("Value must be None")


@dataclass
class IsInstance(Validator):
    classtype: Any

    def validate(self, value: Any) -> None:
        if value is not None and not isinstance(value, self.classtype):
            raise TypeError(f"Value must be of type '{self.classtype}', is type '{type(value)}' value '{value}'")


@dataclass
class WithinRange(Validator):
    minimum: float
    maximum: float

    def validate(self, value: Any) -> None:
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


@dataclass
class Minimum(Validator):
    minimum: float

    def validate(self, value: Any) -> None:
        if value < self.minimum:
            raise ValueError(f"Value must be at least {self.minimum}, is {value}")


@dataclass
class Maximum(Validator):
    maximum: float

    def validate(self, value: Any) -> None:
        if value > self.maximum:
            raise ValueError(f"Value must be at most {self.maximum}, is {value}")


@dataclass
class Choice(Validator):
    choices: Iterable

    def validate(self, value: Any) -> None:
        if value not in self.choices:
            raise ValueError(f"Value is {value}, but must be one of {self.choices}")


@dataclass
class Exclude(Validator):
    excludedValues: Iterable

    def validate(self, value: Any) -> None:
        if value in self.excludedValues:
            raise ValueError(f"Value is {value}, but must not be one of {self.excludedValues}")


def splitAnnotations(possiblyAnnotatedType: Any) -> tuple[Any, list]:
    if typing.get_origin(possiblyAnnotatedType) is Annotated:
        actual, *annotations = typing.get_args(possiblyAnnotatedType)
        return actual, annotations
    return possiblyAnnotatedType, []


def unannotatedType(possiblyAnnotatedType: Any) -> Any:
    return splitAnnotations(possiblyAnnotatedType)[0]


def findFirstAnnotation(annotations: Iterable, annotationType: type) -> Any:
    return next((annotation for annotation in annotations if isinstance(annotation, annotationType)), None)


# ---- serializers -----------------------------------------------------------------------------------------------------


class Serializer(ABC):
    """How values of one type are kept as texts of a node."""

    cached = True

    @abstractmethod
    def default(self) -> Any: ...

    @abstractmethod
    def accepts(self, kind: type) -> bool:
        """Whether an alternative of a union is the one for values of a type."""

    def isIn(self, node: Any, name: str) -> bool:
        return node.HasParameter(name)

    @abstractmethod
    def write(self, node: Any, name: str, value: Any) -> None: ...

    @abstractmethod
    def read(self, node: Any, name: str) -> Any: ...

    def remove(self, node: Any, name: str) -> None:
        node.UnsetParameter(name)


class _Validated(Serializer):
    def __init__(self, serializer: Serializer, validators: list[Validator]) -> None:
        inner = isinstance(serializer, _Validated)
        self.serializer = serializer.serializer if inner else serializer
        self.validators = (serializer.validators if inner else []) + list(validators)
        self.cached = self.serializer.cached
        self.default, self.accepts = self.serializer.default, self.serializer.accepts
        self.isIn, self.read, self.remove = self.serializer.isIn, self.serializer.read, self.serializer.remove

    default = accepts = read = None

    def validate(self, value: Any) -> None:
        for validator in self.validators:
            validator.validate(value)

    def write(self, node: Any, name: str, value: Any) -> None:
        self.validate(value)
        self.serializer.write(node, name, value)


class _Text(Serializer):
    """Types that are one text: numbers, strings, paths, booleans, enumerations."""

    def __init__(self, kinds: tuple, default: Any, to_text: Callable, from_text: Callable) -> None:
        self._kinds, self._default, self._to_text, self._from_text = kinds, default, to_text, from_text

    def default(self) -> Any:
        return self._default

    def accepts(self, kind: type) -> bool:
        return kind in self._kinds

    def write(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, self._to_text(value))

    def read(self, node: Any, name: str) -> Any:
        return self._from_text(node.GetParameter(name))


class _Enum(_Text):
    def __init__(self, kind: type[enum.Enum]) -> None:
        if not len(kind):
            raise ValueError("Cannot serialize empty Enum.")
        super().__init__((kind,), next(iter(kind)), lambda value: value.name, self._member)
        self._kind = kind

    def accepts(self, kind: type) -> bool:
        return isinstance(kind, type) and issubclass(kind, enum.Enum)

    def _member(self, key: str) -> enum.Enum:
        try:
            return self._kind[key]
        except KeyError as error:
            raise ValueError(f"Found {key!r} in parameter node but it is not a name in {self._kind!r}") from error


class _Node(Serializer):
    """A node reference with the parameter's name, and an empty parameter that says it was set."""

    def default(self) -> None:
        return None

    def accepts(self, kind: type) -> bool:
        return isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode)

    def write(self, node: Any, name: str, value: Any) -> None:
        node.SetParameter(name, "")
        node.SetNodeReferenceID(name, value.GetID() if value is not None else None)

    def read(self, node: Any, name: str) -> Any:
        return node.GetNodeReference(name)

    def remove(self, node: Any, name: str) -> None:
        node.UnsetParameter(name)
        node.RemoveNodeReferenceIDs(name)


class _None(Serializer):
    def default(self) -> dict:
        return {}

    def accepts(self, kind: type) -> bool:
        return kind is type(None)

    def write(self, node: Any, name: str, value: None) -> None:
        node.SetParameter(name, "True")

    def read(self, node: Any, name: str) -> None:
        return None


class ObservedList(MutableSequence):
    """A list that writes itself into the node when it changes."""

    def __init__(self, node: Any, serializer: Serializer, name: str, values: list) -> None:
        self._where, self._list = (node, serializer, name), values

    def _save(self) -> None:
        node, serializer, name = self._where
        try:
            serializer.write(node, name, self._list)
        finally:
            self._list = serializer.read(node, name)._list

    def __repr__(self) -> str:
        return f"ObservedList({self._list})"

    def __eq__(self, other: object) -> bool:
        return self._list == (other._list if isinstance(other, ObservedList) else other)

    __hash__ = None

    def __len__(self) -> int:
        return len(self._list)

    def __getitem__(self, index: Any) -> Any:
        return self._list[index]

    def __setitem__(self, index: Any, item: Any) -> None:
        self._list[index] = item
        self._save()

    def __delitem__(self, index: Any) -> None:
        del self._list[index]
        self._save()

    def insert(self, index: int, item: Any) -> None:
        self._list.insert(index, item)
        self._save()

    def extend(self, other: Iterable) -> None:
        self._list.extend(other)
        self._save()

    def clear(self) -> None:
        self._list.clear()
        self._save()

    def sort(self, **options: Any) -> None:
        self._list.sort(**options)
        self._save()


class ObservedDict(MutableMapping):
    """A dict that writes itself into the node when it changes."""

    def __init__(self, node: Any, serializer: Serializer, name: str, values: dict) -> None:
        self._where, self._dict = (node, serializer, name), values

    def _save(self) -> None:
        node, serializer, name = self._where
        try:
            serializer.write(node, name, self._dict)
        finally:
            self._dict = serializer.read(node, name)._dict

    def __repr__(self) -> str:
        return f"ObservedDict({self._dict})"

    def __eq__(self, other: object) -> bool:
        return self._dict == (other._dict if isinstance(other, ObservedDict) else other)

    __hash__ = None

    def __len__(self) -> int:
        return len(self._dict)

    def __iter__(self):
        return iter(self._dict)

    def __getitem__(self, key: Any) -> Any:
        return self._dict[key]

    def get(self, key: Any) -> Any:  # the real one takes no default
        return self._dict.get(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._dict[key] = value
        self._save()

    def __delitem__(self, key: Any) -> None:
        del self._dict[key]
        self._save()


class _List(Serializer):
    """``name.len`` and ``name.0``, ``name.1``, ..."""

    def __init__(self, element: Serializer) -> None:
        self._element = element
        self.cached = element.cached

    def default(self) -> list:
        return []

    def accepts(self, kind: type) -> bool:
        return kind is list

    def _length(self, node: Any, name: str) -> int:
        return int(node.GetParameter(f"{name}.len")) if self.isIn(node, name) else 0

    def isIn(self, node: Any, name: str) -> bool:
        return node.HasParameter(f"{name}.len")

    def write(self, node: Any, name: str, values: Any) -> None:
        with slicer.util.NodeModify(node):
            former = list(self.read(node, name)) if self.isIn(node, name) else None
            try:
                for index, value in enumerate(values):
                    self._element.write(node, f"{name}.{index}", value)
                length = self._length(node, name)
                node.SetParameter(f"{name}.len", str(len(values)))
                for index in range(len(values), length):
                    self._element.remove(node, f"{name}.{index}")
            except Exception:
                if former is None:
                    self.remove(node, name)
                else:
                    self.write(node, name, former)
                raise

    def read(self, node: Any, name: str) -> ObservedList:
        values = [self._element.read(node, f"{name}.{index}") for index in range(self._length(node, name))]
        return ObservedList(node, self, name, values)

    def remove(self, node: Any, name: str) -> None:
        with slicer.util.NodeModify(node):
            for index in range(self._length(node, name)):
                self._element.remove(node, f"{name}.{index}")
            node.UnsetParameter(f"{name}.len")


class _Tuple(Serializer):
    """``name.0``, ``name.1``, ..."""

    def __init__(self, parts: list[Serializer]) -> None:
        self._parts = parts
        self.cached = all(part.cached for part in parts)

    def default(self) -> Any:
        # as in Slicer, an iterator that serves only one node: tuples need a default of their own
        return (part.default() for part in self._parts)

    def accepts(self, kind: type) -> bool:
        return False  # a bare tuple type has no element types, so a union cannot choose it

    def isIn(self, node: Any, name: str) -> bool:
        return self._parts[0].isIn(node, f"{name}.0")

    def write(self, node: Any, name: str, values: Any) -> None:
        values = tuple(values)
        if len(values) != len(self._parts):
            raise ValueError("Unexpected number of tuple values")
        with slicer.util.NodeModify(node):
            for index, (value, part) in enumerate(zip(values, self._parts, strict=True)):
                part.write(node, f"{name}.{index}", value)

    def read(self, node: Any, name: str) -> tuple:
        return tuple(part.read(node, f"{name}.{index}") for index, part in enumerate(self._parts))

    def remove(self, node: Any, name: str) -> None:
        with slicer.util.NodeModify(node):
            for index, part in enumerate(self._parts):
                part.remove(node, f"{name}.{index}")


class _Dict(Serializer):
    """A list of (key, value)."""

    def __init__(self, key: Serializer, value: Serializer) -> None:
        self._items = _List(_Tuple([key, value]))
        self.cached = self._items.cached
        self.isIn, self.remove = self._items.isIn, self._items.remove

    def default(self) -> dict:
        return {}

    def accepts(self, kind: type) -> bool:
        return kind is dict

    def write(self, node: Any, name: str, value: Any) -> None:
        self._items.write(node, name, value.items())

    def read(self, node: Any, name: str) -> ObservedDict:
        return ObservedDict(node, self, name, dict(self._items.read(node, name)))


class _Union(Serializer):
    """``name.N`` with the number of the alternative."""

    def __init__(self, alternatives: list[Serializer]) -> None:
        self._alternatives = [_Validated(alternative, []) for alternative in alternatives]
        self.cached = all(alternative.cached for alternative in alternatives)

    def default(self) -> Any:
        optional = len(self._alternatives) == 2 and isinstance(self._alternatives[1].serializer, _None)
        return None if optional else self._alternatives[0].default()

    def accepts(self, kind: type) -> bool:
        return False

    def _index_for(self, value: Any) -> int:
        failure: Exception | None = None
        for index, alternative in enumerate(self._alternatives):
            if alternative.accepts(type(value)):
                try:
                    alternative.validate(value)
                except Exception as error:  # another node class may take it
                    failure = error
                else:
                    return index
        raise failure or TypeError(f"Unable to write value '{value}' of type '{type(value)}'")

    def isIn(self, node: Any, name: str) -> bool:
        return any(part.isIn(node, f"{name}.{index}") for index, part in enumerate(self._alternatives))

    def write(self, node: Any, name: str, value: Any) -> None:
        with slicer.util.NodeModify(node):
            index = self._index_for(value)
            self.remove(node, name)
            self._alternatives[index].write(node, f"{name}.{index}", value)

    def read(self, node: Any, name: str) -> Any:
        for index, alternative in enumerate(self._alternatives):
            if alternative.isIn(node, f"{name}.{index}"):
                return alternative.read(node, f"{name}.{index}")
        raise KeyError(f"Unable to find value for name: {name}")

    def remove(self, node: Any, name: str) -> None:
        with slicer.util.NodeModify(node):
            for index, alternative in enumerate(self._alternatives):
                alternative.remove(node, f"{name}.{index}")


class _Pack(Serializer):
    """``name.member`` for every member."""

    def __init__(self, kind: type) -> None:
        self.type = kind
        self.cached = all(info.serializer.cached for info in kind.allParameters.values())

    def default(self) -> Any:
        return self.type()

    def accepts(self, kind: type) -> bool:
        return isParameterPack(kind)

    def isIn(self, node: Any, name: str) -> bool:
        first = next(iter(self.type.allParameters.values()))
        return first.serializer.isIn(node, f"{name}.{first.basename}")

    def write(self, node: Any, name: str, value: Any) -> None:
        with slicer.util.NodeModify(node):
            for info in self.type.allParameters.values():
                info.serializer.write(node, f"{name}.{info.basename}", value._members[info.basename])

    def read(self, node: Any, name: str) -> Any:
        pack = self.type.__new__(self.type)
        infos = self.type.allParameters.values()
        pack._members = {info.basename: info.serializer.read(node, f"{name}.{info.basename}") for info in infos}
        pack._where = (node, self, name)
        return pack

    def remove(self, node: Any, name: str) -> None:
        for info in self.type.allParameters.values():
            info.serializer.remove(node, f"{name}.{info.basename}")


_PATHS = ("Path", "PosixPath", "WindowsPath", "PurePath", "PurePosixPath", "PureWindowsPath")


def _serializer_of(kind: Any) -> Serializer:
    """Return the serializer of a type without annotations."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind in (int, float):
        numbers = _Text((int, float), 0, str, kind)
        return _Validated(numbers, [NotNone(), IsInstance((int, float) if kind is float else int)])
    if kind is str:
        return _Validated(_Text((str,), "", str, str), [NotNone(), IsInstance(str)])
    if kind is bool:
        booleans = _Text((bool,), False, lambda value: "True" if value else "False", lambda text: text == "True")
        return _Validated(booleans, [NotNone(), IsInstance(bool)])
    if kind is type(None):
        return _Validated(_None(), [IsNone()])
    if isParameterPack(kind):
        return _Validated(_Pack(kind), [NotNone(), IsInstance(kind)])
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _Validated(_Enum(kind), [IsInstance(kind)])
    paths = tuple(getattr(pathlib, name) for name in _PATHS)
    if kind in paths:
        return _Validated(_Text(paths, kind(), str, kind), [NotNone(), IsInstance(kind)])
    if isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode):
        return _Validated(_Node(), [IsInstance(kind)])
    if origin is list and len(arguments) == 1:
        return _List(_serializer(arguments[0]))
    if origin is tuple and arguments:
        return _Tuple([_serializer(argument) for argument in arguments])
    if origin is dict and len(arguments) == 2:
        return _Dict(*(_serializer(argument) for argument in arguments))
    if origin is typing.Union or isinstance(kind, types.UnionType):
        return _Union([_serializer(argument) for argument in arguments])
    raise Exception(f"Unable to create serializer for type: {kind}")


def _serializer(annotated: Any) -> _Validated:
    kind, annotations = splitAnnotations(annotated)
    return _Validated(_serializer_of(kind), [a for a in annotations if isinstance(a, Validator)])


@dataclass
class _Info:
    basename: str
    serializer: _Validated
    default: Default
    unalteredType: Any


def _parameters_of(cls: type) -> dict[str, _Info]:
    """Read the annotations of a class."""
    parameters = {}
    for name, annotated in typing.get_type_hints(cls, include_extras=True).items():
        try:
            serializer = _serializer(annotated)
        except Exception as error:
            raise Exception(f"Unable to create serializer for {cls} member {name}") from error
        default = findFirstAnnotation(splitAnnotations(annotated)[1], Default)
        if hasattr(cls, name):
            default = Default(getattr(cls, name))
        parameters[name] = _Info(name, serializer, default or Default(serializer.default()), annotated)
    return parameters


def _reserve(cls: type, what: str, **attributes: Any) -> None:
    for name, value in attributes.items():
        if hasattr(cls, name):
            raise ValueError(f"Cannot use reserved name '{name}' in a {what}")
        setattr(cls, name, value)


def _split(name: str) -> tuple[str, str | None]:
    top, _, rest = name.partition(".")
    return top, rest or None


# ---- packs -----------------------------------------------------------------------------------------------------------


def isParameterPack(classOrObject: Any) -> bool:
    return getattr(classOrObject, "_is_parameterPack", False)


def _pack_get(self: Any, name: str) -> Any:
    top, rest = _split(name)
    if top not in self.allParameters:
        raise ValueError(f"{self} has no member '{top}'")
    return getattr(self, top) if rest is None else getattr(self, top).getValue(rest)


def _pack_set(self: Any, name: str, value: Any) -> None:
    top, rest = _split(name)
    if top not in self.allParameters:
        raise ValueError(f"{self} has no member '{top}'")
    if rest is None:
        setattr(self, top, value)
    else:
        member = getattr(self, top)
        member.setValue(rest, value)
        setattr(self, top, member)


def _pack_property(info: _Info) -> property:
    def put(self: Any, value: Any) -> None:
        info.serializer.validate(value)
        self._members[info.basename] = value
        if self._where is not None:
            node, serializer, name = self._where
            serializer.write(node, name, self)

    return property(lambda self: self._members[info.basename], put)


def _data_type(parameters: dict[str, _Info]) -> staticmethod:
    def dataType(name: str) -> Any:
        top, rest = _split(name)
        if top not in parameters:
            raise ValueError(f"Cannot find a param with the given name: {top}; found {list(parameters)}")
        declared = parameters[top].unalteredType
        return declared if rest is None else unannotatedType(declared).dataType(rest)

    return staticmethod(dataType)


def _make_pack(cls: type) -> type:
    parameters = _parameters_of(cls)
    if not parameters:
        raise ValueError("Unable to find any members in parameterPack")
    for info in parameters.values():
        info.serializer.validate(info.default.value)
        setattr(cls, info.basename, _pack_property(info))
    own_init = cls.__dict__.get("__init__")

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        self._where = None
        self._members = {info.basename: info.default.value for info in parameters.values()}
        if own_init is not None:
            own_init(self, *args, **kwargs)
            return
        given = dict(zip(parameters, args, strict=False))
        for name, value in {**given, **kwargs}.items():
            if name not in parameters:
                raise TypeError(f"__init__() got an unexpected keyword argument '{name}'")
            setattr(self, name, value)

    cls.__init__ = init
    if "__eq__" not in cls.__dict__:
        cls.__eq__ = lambda self, other: type(self) is type(other) and self._members == other._members
        cls.__hash__ = None
    if "__repr__" not in cls.__dict__:
        cls.__repr__ = lambda self: f"{cls.__name__}({', '.join(f'{k}={v!r}' for k, v in self._members.items())})"
    members = {"getValue": _pack_get, "setValue": _pack_set, "dataType": _data_type(parameters)}
    _reserve(cls, "parameterPack", allParameters=parameters, _is_parameterPack=True, **members)
    return cls


def parameterPack(classtype: type | None = None) -> Any:
    """Class decorator: several values that are one parameter."""
    return _make_pack if classtype is None else _make_pack(classtype)


# ---- widgets ---------------------------------------------------------------------------------------------------------


class GuiConnector(ABC):
    """A widget that shows a value."""

    @staticmethod
    @abstractmethod
    def canRepresent(widget: Any, datatype: Any) -> bool: ...

    @staticmethod
    @abstractmethod
    def create(widget: Any, datatype: Any) -> Any: ...

    def __init__(self) -> None:
        super().__init__()
        self._callback: Callable[[], None] | None = None

    def onChanged(self, callback: Callable[[], None] | None) -> None:
        self._callback = callback
        if callback is None:
            self._disconnect()
        else:
            self._connect()

    def changed(self) -> None:
        if self._callback:
            self._callback()

    @abstractmethod
    def _connect(self) -> None: ...

    @abstractmethod
    def _disconnect(self) -> None: ...

    @abstractmethod
    def widget(self) -> Any: ...

    @abstractmethod
    def read(self) -> Any: ...

    @abstractmethod
    def write(self, value: Any) -> None: ...


_registered: list[type[GuiConnector]] = []


def parameterNodeGuiConnector(classtype: type | None = None) -> Any:
    """Class decorator: register a connector."""

    def register(cls: type) -> type:
        if not issubclass(cls, GuiConnector):
            raise TypeError("Must be a GuiConnector subclass")
        _registered.append(cls)
        return cls

    return register if classtype is None else register(classtype)


def createGuiConnector(widget: Any, datatype: Any) -> GuiConnector:
    """Return a connector of those registered in this process."""
    for connector in _registered:
        if connector.canRepresent(widget, datatype):
            return connector.create(widget, datatype)
    raise RuntimeError(f"Unable to create GUI connector from datatype '{datatype}' to widget type '{type(widget)}'")


# ---- the wrapper -----------------------------------------------------------------------------------------------------


class _Stored:
    """One parameter in one node, read each time."""

    def __init__(self, info: _Info, name: str, node: Any) -> None:
        self.default, self._serializer, self._name, self._node = info.default, info.serializer, name, node

    def _read_node(self) -> Any:
        if not self._serializer.isIn(self._node, self._name):
            self._serializer.write(self._node, self._name, self.default.value)
        return self._serializer.read(self._node, self._name)

    def read(self) -> Any:
        return self._read_node()

    def write(self, value: Any) -> None:
        self._serializer.write(self._node, self._name, value)


class _Cached(_Stored):
    """One parameter in one node, read again when the node says that it changed."""

    def __init__(self, info: _Info, name: str, node: Any) -> None:
        super().__init__(info, name, node)
        self._value = self._read_node()
        self._writing = False
        weak = weakref.ref(self)  # the observer must not keep this alive
        self._tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: weak() and weak()._modified())

    def __del__(self) -> None:
        if hasattr(self, "_tag"):
            self._node.RemoveObserver(self._tag)

    def _modified(self) -> None:
        if not self._writing:
            self._value = self._read_node()

    def read(self) -> Any:
        return self._value

    def write(self, value: Any) -> None:
        self._writing = True
        try:
            # observers of the node are to find the new value here
            with slicer.util.NodeModify(self._node):
                super().write(value)
                self._value = self._read_node()
        finally:
            self._writing = False


def _init(self: Any, parameterNode: Any, prefix: str | None = None) -> None:
    self.parameterNode = parameterNode
    self._parameterGUIs = {}
    self._guiObservers = {}
    self._nextTag = 0
    self._updatingGUIFromParameterNode = False
    self._stored = {}
    for info in self.allParameters.values():
        name = f"{prefix or ''}{info.basename}"
        if not info.serializer.isIn(parameterNode, name):
            info.serializer.write(parameterNode, name, info.default.value)
        self._stored[info.basename] = (_Cached if info.serializer.cached else _Stored)(info, name, parameterNode)


def _check(self: Any, name: str) -> tuple[str, str | None]:
    self.dataType(name)
    return _split(name)


def _default(self: Any, name: str) -> Default:
    return self._stored[_check(self, name)[0]].default


def _is_cached(self: Any, name: str) -> bool:
    return isinstance(self._stored[_check(self, name)[0]], _Cached)


def _get_value(self: Any, name: str) -> Any:
    top, rest = _check(self, name)
    value = self._stored[top].read()
    return value if rest is None else value.getValue(rest)


def _set_value(self: Any, name: str, value: Any) -> None:
    top, rest = _check(self, name)
    if rest is None:
        self._stored[top].write(value)
    else:
        self._stored[top].read().setValue(rest, value)


def _gui_to_parameter(self: Any, name: str, connector: GuiConnector) -> Callable[[], None]:
    def callback() -> None:
        with slicer.util.NodeModify(self):
            if not self._updatingGUIFromParameterNode:
                self.setValue(name, connector.read())

    return callback


def _update_gui(self: Any) -> None:
    if self._updatingGUIFromParameterNode:
        return
    try:
        self._updatingGUIFromParameterNode = True
        with slicer.util.NodeModify(self):
            for mapping in self._parameterGUIs.values():
                for name, connector in mapping.items():
                    connector.write(self.getValue(name))
    finally:
        self._updatingGUIFromParameterNode = False


def _connect_parameters(self: Any, mapping: dict[str, Any]) -> int:
    for name in mapping:
        _check(self, name)
    connectors = {
        name: value if isinstance(value, GuiConnector) else createGuiConnector(value, self.dataType(name))
        for name, value in mapping.items()
    }
    tag = self._nextTag
    self._nextTag += 1
    self._parameterGUIs[tag] = connectors
    for name, connector in connectors.items():
        connector.write(self.getValue(name))
        connector.onChanged(_gui_to_parameter(self, name, connector))
    self._guiObservers[tag] = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: _update_gui(self))
    return tag


def _disconnect(self: Any, tag: int) -> None:
    for connector in self._parameterGUIs.pop(tag, {}).values():
        connector.onChanged(None)
    if tag in self._guiObservers:
        self.RemoveObserver(self._guiObservers.pop(tag))


def _connect_gui(self: Any, gui: Any) -> None:
    raise NotImplementedError(
        "connectGui reads widgets as PythonQt shows them, which Qt for Python does not: use connectParametersToGui "
        "with a GuiConnector for each parameter."
    )


def _make_wrapper(cls: type) -> type:
    parameters = _parameters_of(cls)
    for name in parameters:
        read, write = (lambda self, n=name: self._stored[n].read()), (lambda self, v, n=name: self._stored[n].write(v))
        setattr(cls, name, property(read, write))
    cls.__init__ = _init
    _reserve(
        cls,
        "parameterNodeWrapper",
        allParameters=parameters,
        _is_parameter_node_wrapper=True,
        default=_default,
        isCached=_is_cached,
        dataType=_data_type(parameters),
        getValue=_get_value,
        setValue=_set_value,
        connectGui=_connect_gui,
        connectParametersToGui=_connect_parameters,
        disconnectGui=_disconnect,
        StartModify=lambda self: self.parameterNode.StartModify(),
        EndModify=lambda self, wasModified: self.parameterNode.EndModify(wasModified),
        AddObserver=lambda self, event, callback, priority=0.0: self.parameterNode.AddObserver(
            event, callback, priority
        ),
        RemoveObserver=lambda self, tag: self.parameterNode.RemoveObserver(tag),
        Modified=lambda self: self.parameterNode.Modified(),
    )
    return cls


def isParameterNodeWrapper(classOrObject: Any) -> bool:
    return getattr(classOrObject, "_is_parameter_node_wrapper", False)


def parameterNodeWrapper(classtype: type | None = None) -> Any:
    """Class decorator: annotated names become properties that live in a parameter node."""
    return _make_wrapper if classtype is None else _make_wrapper(classtype)


PUBLIC = (
    Choice,
    Decimals,
    Default,
    Exclude,
    GuiConnector,
    IsInstance,
    Maximum,
    Minimum,
    NotNone,
    SingleStep,
    Validator,
    WithinRange,
    createGuiConnector,
    findFirstAnnotation,
    isParameterNodeWrapper,
    isParameterPack,
    parameterNodeGuiConnector,
    parameterNodeWrapper,
    parameterPack,
    splitAnnotations,
    unannotatedType,
)


def make_parameter_node_module() -> ModuleType:
    """Return a fresh ``slicer.parameterNodeWrapper`` module without registered connectors."""
    _registered.clear()
    module = ModuleType("slicer.parameterNodeWrapper")
    for public in PUBLIC:
        setattr(module, public.__name__, public)
    module.SlicerParameterNamePropertyName = SlicerParameterNamePropertyName
    return module
