"""What is wrong, as sentences: file, line, key, what was found, what was expected, the nearest right key."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

from substitute.config.envfile import EnvFileError
from substitute.config.literals import key, quote, shown
from substitute.config.models import SECTIONS, Table
from substitute.config.values import Expected, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydantic import ValidationError
    from pydantic.fields import FieldInfo
    from pydantic_core import ErrorDetails

Location = tuple[int | str, ...]

_WORDS = {
    "string_type": "text in quotes",
    "string_unicode": "text in UTF-8",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "tuple_type": "a list",
    "dict_type": "a table",
    "model_type": "a table",
}
"""What pydantic's errors expect, where the type of the key does not say it better."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, at a place in substitute.toml or on a line of another file."""

    location: Location
    sentence: str
    file: str | None = None
    line: int | None = None
    clash: Location = ()
    """The place that this one clashes with: which of the two was edited is not known."""


def problems_of(error: ValidationError) -> Iterator[Problem]:
    """Say in our words what pydantic found."""
    for detail in error.errors(include_url=False):
        location = _location(detail)
        cause = detail.get("ctx", {}).get("error")
        if isinstance(cause, EnvFileError):
            file = str(detail["input"])
            for line, sentence in cause.problems:
                yield Problem(location, sentence, file=file, line=line)
        else:
            yield Problem(location, _sentence(detail, location, cause))


def dotted(location: Location) -> str:
    """``app.shop.build[0]``, as people write it."""
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f"{'.' if text else ''}{key(step)}"
    return text


def _location(detail: ErrorDetails) -> Location:
    location = detail["loc"]
    # pydantic marks an error of a table's key, not its value, by one more step.
    return location[:-1] if len(location) > 1 and location[-1] == "[key]" else location


def _sentence(detail: ErrorDetails, location: Location, cause: object) -> str:
    code, found = detail["type"], detail["input"]
    if code == "missing":
        return f"missing; expected {_expected(location) or _missing_table(location)}"
    if code == "extra_forbidden":
        return f"unknown key; {_nearest(location)}"
    if isinstance(cause, Refused):
        return str(cause)
    if code == "literal_error":
        expected = detail["ctx"]["expected"].replace("'", '"')
        return f"found {shown(found)}, expected {expected}"
    expected = str(cause) if cause else _expected(location) or _WORDS.get(code) or detail["msg"]
    return f"found {shown(found)}, expected {expected}"


def _missing_table(location: Location) -> str:
    return "a table [app.NAME] for each app" if location == ("app",) else "it"


def _nearest(location: Location) -> str:
    """Point to the key that was meant: the same in another table, a like one in this, or list what there is."""
    section, name = _section(location[:-1]), str(location[-1])
    names = _keys(SECTIONS[section]) if section is not None else ()
    homes = [header for header, table in SECTIONS.items() if header and name in _keys(table)]
    if homes:
        return f"it belongs in {' or '.join(f'[{dotted(_named(home, location))}]' for home in homes)}"
    if close := get_close_matches(name, names, n=1):
        return f"did you mean {quote(close[0])}?"
    return f"the keys here are {', '.join(names)}"


def _named(header: tuple[str, ...], location: Location) -> Location:
    """The header of a section, with the app's name where the error was in an app."""
    inside = len(location) > 2 and location[0] == "app"
    return tuple(location[1] if step == "NAME" and inside else step for step in header)


def _expected(location: Location) -> str | None:
    """How the type of the key at `location` calls what it takes."""
    section = _section(location[:-1])
    if section is None:
        return None
    field = _fields(SECTIONS[section]).get(str(location[-1]))
    return expected_words(field) if field else None


def _section(location: Location) -> tuple[str, ...] | None:
    steps = tuple("NAME" if at == 1 and location[0] == "app" else str(s) for at, s in enumerate(location))
    return steps if steps in SECTIONS else None


def _keys(table: type[Table]) -> tuple[str, ...]:
    return tuple(_fields(table))


def _fields(table: type[Table]) -> Mapping[str, FieldInfo]:
    return {field.alias or name: field for name, field in table.model_fields.items()}


def expected_words(field: FieldInfo) -> str | None:
    """What the type of `field` says that it expects, where it says so."""
    return next((item.words for item in annotations_of(field) if isinstance(item, Expected)), None)


def annotations_of(field: FieldInfo) -> Iterator[object]:
    """The metadata of the field's type, that of ``X | None`` included."""
    yield from field.metadata
    yield from _metadata(field.annotation)


def _metadata(annotation: Any) -> Iterator[object]:
    if get_origin(annotation) is Annotated:
        yield from annotation.__metadata__
        annotation = annotation.__origin__
    if type(None) in get_args(annotation):
        for choice in get_args(annotation):
            yield from _metadata(choice)
