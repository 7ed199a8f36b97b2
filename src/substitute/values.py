"""`dataclass` and what belongs to it, as in the standard library, where a first import of it takes 5 ms.

That one imports `inspect`, and compiles up to six functions for each class. Types are checked as with the standard
ones, and the standard `replace` takes these values too. Here a class costs next to nothing and an instance more, so
what makes thousands of them a second uses the standard one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__all__ = ["asdict", "dataclass", "field", "fields", "is_dataclass", "replace"]

if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
else:

    def dataclass(
        cls: type | None = None, /, *, frozen: bool = False, eq: bool = True
    ) -> type | Callable[[type], type]:
        """Make `cls` a class of values: what is annotated in it are its fields. ``ClassVar`` is none."""
        return _made(cls, frozen=frozen, eq=eq) if cls else lambda later: _made(later, frozen=frozen, eq=eq)

    def field(**settings: Any) -> Field:
        """Say of a field what an annotation cannot: `default`, `default_factory`, `repr`, `compare`."""
        return Field(**settings)

    def fields(value: Any) -> tuple[Field, ...]:
        """The fields of a value, or of its class."""
        return tuple(one for one in value.__dataclass_fields__.values() if not _is_of_class(one.type))

    def is_dataclass(value: object) -> bool:
        """Whether it is such a value or its class."""
        return hasattr(value, "__dataclass_fields__")

    def replace(value: Any, /, **changes: Any) -> Any:
        """A value like `value`, with `changes`."""
        return type(value)(**{one.name: getattr(value, one.name) for one in fields(value)} | changes)

    def asdict(value: Any) -> dict[str, Any]:
        """The fields of a value by name; those of the values in it too. What else is in it is not copied."""
        return _plain(value)


_MISSING: Any = object()


class Field:
    """What is known of a field. The standard `replace` asks for `init` and `_field_type`."""

    init = True
    _field_type = None

    def __init__(
        self,
        *,
        default: Any = _MISSING,
        default_factory: Callable[[], Any] | None = None,
        repr: bool = True,  # noqa: A002  # as the standard one has it
        compare: bool = True,
    ) -> None:
        self.name = self.type = ""
        self.default, self.default_factory = default, default_factory
        self.repr, self.compare = repr, compare


def _made(cls: type, *, frozen: bool, eq: bool) -> type:
    found: dict[str, Field] = {}
    for base in reversed(cls.__mro__[1:]):
        found |= getattr(base, "__dataclass_fields__", {})
    for name, annotation in cls.__annotations__.items():
        if not _is_of_class(annotation):
            found[name] = _field(cls, name, annotation)
    methods = {
        "__init__": _init(tuple(found.values())),
        "__repr__": _repr,
        **({"__eq__": _eq, "__hash__": _hash if frozen else None} if eq else {}),
        **({"__setattr__": _refuse, "__delattr__": _refuse} if frozen else {}),
    }
    for name, method in methods.items():
        if name not in cls.__dict__:
            setattr(cls, name, method)
    compared = tuple(name for name, one in found.items() if one.compare)
    known = {"__dataclass_fields__": found, "__match_args__": tuple(found), "_compared": compared}
    for name, value in known.items():
        setattr(cls, name, value)
    return cls


def _is_of_class(annotation: object) -> bool:
    return str(annotation).startswith("ClassVar")


def _field(cls: type, name: str, annotation: str) -> Field:
    default = cls.__dict__.get(name, _MISSING)
    if hasattr(default, "default_factory") and not isinstance(default, Field):
        raise TypeError(f"{cls.__name__}.{name}: `field` is to be that of this module")
    made = default if isinstance(default, Field) else Field(default=default)
    made.name, made.type = name, annotation
    if made is default:
        if made.default is _MISSING:
            delattr(cls, name)
        else:
            setattr(cls, name, made.default)
    return made


def _init(fields: tuple[Field, ...]) -> Callable[..., None]:
    names = tuple(one.name for one in fields)
    every = frozenset(names)
    defaults = {one.name: one.default for one in fields if one.default is not _MISSING}
    factories = {one.name: one.default_factory for one in fields if one.default_factory}

    def __init__(self: Any, *values: Any, **named: Any) -> None:  # noqa: N807
        state = self.__dict__
        state.update(zip(names, values, strict=False), **named)
        given = len(state)
        if given < len(names):
            for name, value in defaults.items():
                state.setdefault(name, value)
            for name, make in factories.items():
                if name not in state:
                    state[name] = make()
        if given != len(values) + len(named) or state.keys() != every:
            raise TypeError(f"{type(self).__name__}() takes {', '.join(names)}, and got {values} {named}")

    return __init__


def _values(self: Any) -> tuple[Any, ...]:
    return tuple(map(self.__dict__.__getitem__, self._compared))


def _eq(self: Any, other: object) -> bool:
    return _values(self) == _values(other) if other.__class__ is self.__class__ else NotImplemented


def _hash(self: Any) -> int:
    return hash(_values(self))


def _repr(self: Any) -> str:
    shown = (one.name for one in self.__dataclass_fields__.values() if one.repr)
    inner = ", ".join(f"{name}={getattr(self, name)!r}" for name in shown)
    return f"{type(self).__qualname__}({inner})"


def _refuse(self: Any, name: str, *_: object) -> None:
    from dataclasses import FrozenInstanceError  # noqa: PLC0415  # slow to import

    raise FrozenInstanceError(f"{type(self).__name__}.{name} cannot be changed")


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return {one.name: _plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, list | tuple):
        return [*map(_plain, value)] if isinstance(value, list) else (*map(_plain, value),)
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value
