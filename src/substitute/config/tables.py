"""Tables of TOML → frozen objects, or everything that is wrong with them at once.

A kind of table is a class, and its attributes are keys. An object of the class has a value in the place of each.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar, cast

from substitute.config.literals import shown
from substitute.config.problems import Problem, unknown_key
from substitute.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

    from substitute.config.problems import Location

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
SomeTable = TypeVar("SomeTable", bound="Table")


@dataclass
class Reader:
    """What reading needs beside the text, and everything that it found wrong."""

    sections: Mapping[tuple[str, ...], type[Table]] = field(default_factory=dict)
    """All tables by their headers, to find where a key belongs that is in a wrong one."""
    root: Path | None = None
    """Where files that are named are read; None reads none."""
    tolerant: bool = False
    """Whether an app is taken without its `env_file`, where that cannot be used."""
    problems: list[Problem] = field(default_factory=list)


class Refused(ValueError):  # noqa: N818  not an error by itself: a reason that a problem tells
    """A sentence that says all, where "found …, expected …" would not."""


class Type(Generic[T_co]):
    """What a key takes: how messages and the documentation call it, its JSON Schema, and how it is read."""

    missing = ""
    """What is expected where nothing is written; empty for `words`."""

    def __init__(self, words: str, schema: Mapping[str, Any]) -> None:
        self.words, self.schema = words, schema

    def read(self, written: Any, at: Location, reader: Reader) -> Any:
        """The value of what is written at the place `at`. None where it is wrong, which `reader` then has noted."""
        try:
            return self._value(written, at, reader)
        except Refused as sentence:
            reader.problems.append(Problem(at, str(sentence)))
        except ValueError as words:
            reader.problems.append(Problem(at, f"found {shown(written)}, expected {words}"))
        return None

    def _value(self, written: Any, at: Location, reader: Reader) -> T_co | None:
        """The same, but it raises ValueError with words that complete "expected …", or Refused."""
        raise NotImplementedError


class Value(Type[T_co]):
    """One value, made of what is written by `parse`; it raises as `Type` does."""

    def __init__(self, words: str, schema: Mapping[str, Any], parse: Callable[[Any], T_co]) -> None:
        super().__init__(words, schema)
        self.parse = parse

    def _value(self, written: Any, _at: Location, _reader: Reader) -> T_co:
        return self.parse(written)


class List(Type[tuple[T_co, ...]]):
    """Any number of one type."""

    def __init__(self, item: Type[T_co], words: str) -> None:
        super().__init__(words, {"items": item.schema, "type": "array"})
        self.item = item

    def _value(self, written: Any, at: Location, reader: Reader) -> tuple[T_co, ...]:
        if not isinstance(written, (list, tuple)):
            raise ValueError(self.words)
        return tuple(self.item.read(item, (*at, place), reader) for place, item in enumerate(written))


class Named(Type[Mapping[str, T_co]]):
    """A table whose keys are names that the user chooses."""

    def __init__(self, name: Type[str], inner: Type[T_co], words: str, *, missing: str = "") -> None:
        super().__init__(
            words, {"patternProperties": {name.schema["pattern"]: inner.schema}, "type": "object"}
        )
        self.name, self.inner, self.missing = name, inner, missing

    def _value(self, written: Any, at: Location, reader: Reader) -> Mapping[str, T_co]:
        if not isinstance(written, Mapping):
            raise ValueError(self.words)
        return {
            self.name.read(name, (*at, name), reader): self.inner.read(value, (*at, name), reader)
            for name, value in written.items()
        }


@dataclass(eq=False)
class Key:
    """A key of a table, with its documentation."""

    takes: Type[Any]
    description: str
    default: Any
    example: Any
    alias: str | None
    """How it is written, where that is no name in Python."""
    kinds: tuple[str, ...]
    by: str = "kind"
    """The key of the same table that says which kind it is."""
    named: Type[str] | None = None
    """Where it stands for every other key of the table: what their names may be, which the user chooses."""
    name: str = ""

    def __set_name__(self, _: type, name: str) -> None:
        self.name = name

    @property
    def required(self) -> bool:
        """Whether it must be written, where it means anything."""
        return self.default is ...

    @cached_property
    def initial(self) -> Any:
        """The value where it is not written."""
        return None if self.default in (None, ...) else self.takes.read(self.default, (), Reader())

    def fits(self, kind: str) -> bool:
        """Whether the key means anything beside that `kind`."""
        return not self.kinds or kind in self.kinds


def key(
    takes: Type[T],
    description: str,
    default: Any = ...,
    *,
    example: Any = None,
    alias: str | None = None,
    kinds: tuple[str, ...] = (),
    by: str = "kind",
) -> T:
    """A key; without a default it is required. `example` is shown where the default is empty.

    `kinds` are those that have a use for it, as the key `by` of the same table says it; none means all.
    """
    text = f"{', '.join(kinds)}: {description}" if kinds else description
    return cast("T", Key(takes, text, default, example, alias, kinds, by))


def optional(
    takes: Type[T],
    description: str,
    *,
    example: Any = None,
    kinds: tuple[str, ...] = (),
    by: str = "kind",
) -> T | None:
    """A key whose value is None where it is not written."""
    return key(takes, description, default=None, example=example, kinds=kinds, by=by)


def others(
    name: Type[str], takes: Type[T], description: str, *, example: Mapping[str, Any]
) -> Mapping[str, T]:
    """Every key of a table that is none of its own: the user names them, and each takes the same."""
    return cast("Mapping[str, T]", Key(takes, description, {}, example, None, (), named=name))


def table(kind: type[SomeTable]) -> SomeTable:
    """A table in a table; it may be left out."""
    return key(Inner(kind), "", default={})


class Table:
    """A table of substitute.toml: unknown keys are errors, and nothing changes once it is read."""

    keys: ClassVar[Mapping[str, Key]]
    """By their names in the file."""
    others: ClassVar[Key | None]
    """What every other key is; None where there is none."""

    def __init_subclass__(cls) -> None:
        every = {one.alias or name: one for name, one in vars(cls).items() if isinstance(one, Key)}
        cls.keys = {name: one for name, one in every.items() if one.named is None}
        cls.others = next((one for one in every.values() if one.named), None)

    def __init__(self, values: Mapping[str, Any]) -> None:
        vars(self).update(values)

    def __setattr__(self, name: str, _: object) -> None:
        raise AttributeError(f"{name} does not change")

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and vars(self) == vars(other)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({vars(self)})"

    def agree(self, written: Collection[str]) -> None:
        """Raise Refused where values that are right alone are wrong together; `written` are the keys in the file."""

    def refuse_foreign(self, written: Collection[str], by: str = "kind") -> None:
        """Keys that mean nothing beside the value of `by` may have their defaults only."""
        kind = getattr(self, by)
        foreign = [
            name
            for name, one in self.keys.items()
            if name in written
            and one.by == by
            and not one.fits(kind)
            and getattr(self, one.name) != one.initial
        ]
        if foreign:
            raise Refused(f'{by} = "{kind}" has no use for {" and ".join(foreign)}')


class Inner(Type[SomeTable]):
    """A table with keys of its own."""

    def __init__(self, kind: type[SomeTable]) -> None:
        super().__init__("a table", {"$ref": f"#/$defs/{kind.__name__}"})
        self.kind = kind

    def _value(self, written: Any, at: Location, reader: Reader) -> SomeTable | None:
        if not isinstance(written, Mapping):
            raise ValueError(self.words)
        values, before = {}, len(reader.problems)
        for name, one in self.kind.keys.items():
            # TOML has no null; the JSON of an earlier reading has.
            if written.get(name) is not None:
                values[one.name] = one.takes.read(written[name], (*at, name), reader)
            elif one.required and self._fits(one, written):
                sentence = f"missing; expected {one.takes.missing or one.takes.words}"
                reader.problems.append(Problem((*at, name), sentence))
            else:
                values[one.name] = one.initial
        if self.kind.others:
            values[self.kind.others.name] = self._others(self.kind.others, written, at, reader)
        for name in written if self.kind.others is None else ():
            if name not in self.kind.keys:
                names = {header: table.keys for header, table in reader.sections.items()}
                sentence = unknown_key((*at, name), self.kind.keys, names)
                reader.problems.append(Problem((*at, name), sentence))
        if len(reader.problems) > before:
            return None
        made = self.kind(values)
        made.agree(written)
        return made

    def _others(self, one: Key, written: Mapping[str, Any], at: Location, reader: Reader) -> dict[str, Any]:
        """The keys that the user has named."""
        assert one.named is not None  # noqa: S101  # that is what makes it one of them
        named = {name: value for name, value in written.items() if name not in self.kind.keys}
        return {
            one.named.read(name, (*at, name), reader): self._other(one, name, value, at, reader)
            for name, value in named.items()
        }

    def _other(self, one: Key, name: str, value: Any, at: Location, reader: Reader) -> Any:
        """What is written there; a key of the table that was mistyped is more likely than a group without a list."""
        before = len(reader.problems)
        found = one.takes.read(value, (*at, name), reader)
        if len(reader.problems) > before and not isinstance(value, (list, tuple)):
            from difflib import get_close_matches  # noqa: PLC0415  only an error needs it

            if near := get_close_matches(name, self.kind.keys, n=1):
                told = reader.problems[-1]
                reader.problems[-1] = told._replace(
                    sentence=f"{told.sentence}; did you mean the key {near[0]}?"
                )
        return found

    def _fits(self, one: Key, written: Mapping[str, Any]) -> bool:
        """Whether it has a meaning beside what is written; so has one whose kind is written wrong."""
        return not one.kinds or one.fits(written.get(one.by, self.kind.keys[one.by].initial))
