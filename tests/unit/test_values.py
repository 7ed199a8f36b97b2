"""Our `dataclass` does what the standard one does."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from substitute import values

if TYPE_CHECKING:
    from collections.abc import Callable


def made(decorate: Callable[..., Any], field: Callable[..., Any]) -> tuple[type, ...]:
    """The same classes by either decorator."""

    @decorate(frozen=True)
    class Base:
        kind: ClassVar[str] = "base"
        name: str
        size: int = 3

    @decorate(frozen=True)
    class Inner(Base):
        secret: str = field(default="", repr=False)
        note: str = field(default="", compare=False)
        tags: list[str] = field(default_factory=list)

        @property
        def shown(self) -> str:
            return f"{self.name} {self.size}"

    @decorate
    class Open:
        inner: Any
        count: int = 0

    @decorate(eq=False)
    class Same(Open):
        more: int = 1

    return Base, Inner, Open, Same


OURS, STANDARD = made(values.dataclass, values.field), made(dataclasses.dataclass, dataclasses.field)
CALLS: list[Callable[..., object]] = [
    lambda base, *_: base("a"),
    lambda base, *_: (base("a").kind, base("a", 4).size, base(size=1, name="b").name),
    lambda base, *_: base(),
    lambda base, *_: base("a", 1, 2),
    lambda base, *_: base("a", name="b"),
    lambda base, *_: base("a", other="b"),
    lambda base, *_: setattr(base("a"), "name", "b"),
    lambda base, *_: delattr(base("a"), "name"),
    lambda base, *_: base("a") == base("a", 3),
    lambda base, *_: len({base("a"), base("a", 3), base("b")}),
    lambda base, inner, *_: base("a") == inner("a"),
    lambda _, inner, *__: inner("a", 2, "hidden", "note", ["x"]),
    lambda _, inner, *__: inner("a", note="x") == inner("a", note="y"),
    lambda _, inner, *__: inner("a").tags is inner("a").tags,
    lambda _, inner, *__: hash(inner("a")),
    lambda _, inner, *__: dataclasses.replace(inner("a", 2), name="b").shown,
    lambda _, inner, *__: dataclasses.replace(inner("a", 2), other="b"),
    lambda _, inner, *__: values.replace(inner("a", 2), name="b").shown,
    lambda _, inner, *__: values.replace(inner("a", 2), other="b"),
    lambda _, inner, opened, __: values.asdict(opened([inner("a"), (inner("b"), {"c": inner("d")})], 1)),
    lambda _, inner, *__: [(one.name, one.type) for one in values.fields(inner)],
    lambda _, inner, *__: values.is_dataclass(inner),
    lambda _, inner, *__: (dataclasses.is_dataclass(inner), values.is_dataclass("")),
    lambda _, inner, *__: (inner.size, inner.secret, inner.__match_args__),
    lambda _, inner, *__: inner.tags,
    lambda base, _, opened, __: [opened(base("a")), copy.deepcopy(opened(base("a"), 2))],
    lambda _, __, opened, ___: hash(opened(1)),
    lambda _, __, opened, ___: setattr(opened(1), "count", 2),
    lambda *classes: (
        classes[3](1, 2, 3),
        classes[3](1) == classes[3](1),
        len({classes[3](1), classes[3](1)}),
    ),
]


@pytest.mark.parametrize("call", CALLS, ids=range(len(CALLS)))
def test_it_does_what_the_standard_one_does(call: Callable[..., object]) -> None:
    assert outcome(call, OURS) == outcome(call, STANDARD)


def test_a_field_of_the_standard_library_is_refused() -> None:
    with pytest.raises(TypeError, match=r"Mixed\.name: `field` is to be that of this module"):

        @values.dataclass
        class Mixed:
            name: str = dataclasses.field(default="")


def outcome(call: Callable[..., object], classes: tuple[type, ...]) -> str:
    try:
        return repr(call(*classes))
    except Exception as error:  # noqa: BLE001
        return type(error).__name__


@values.dataclass(frozen=True)
class Sent:
    """Something that can be found by its name."""

    value: int


def test_it_can_be_sent_to_another_process() -> None:
    assert pickle.loads(pickle.dumps(Sent(3))) == Sent(3)  # noqa: S301
