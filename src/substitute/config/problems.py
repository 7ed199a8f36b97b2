"""What is wrong, as sentences: file, line, key, what was found, what was expected, the nearest right key."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from substitute.config.literals import key, quote

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

Location = tuple[int | str, ...]


class Problem(NamedTuple):
    """One thing that is wrong, at a place in substitute.toml or on a line of another file."""

    location: Location
    sentence: str
    file: str | None = None
    line: int | None = None
    clash: Location = ()
    """The place that this one clashes with: which of the two was edited is not known."""


def dotted(location: Location) -> str:
    """``app.shop.build[0]``, as people write it."""
    text = ""
    for step in location:
        text += f"[{step}]" if isinstance(step, int) else f"{'.' if text else ''}{key(step)}"
    return text


def unknown_key(
    location: Location, here: Collection[str], sections: Mapping[tuple[str, ...], Collection[str]]
) -> str:
    """Point to the key that was meant: the same in another table, a like one in this, or list what there is."""
    from difflib import get_close_matches  # noqa: PLC0415  only an error needs it

    name = str(location[-1])
    homes = [header for header, names in sections.items() if header and name in names]
    homes = [header for header in homes if not {"PROCESS", "CRON"} & set(header)] or homes
    if homes:
        places = " or ".join(f"[{dotted(_named(home, location))}]" for home in homes)
        return f"unknown key; it belongs in {places}"
    if close := get_close_matches(name, here, n=1):
        return f"unknown key; did you mean {quote(close[0])}?"
    return f"unknown key; the keys here are {', '.join(here)}"


def _named(header: tuple[str, ...], location: Location) -> Location:
    """The header of a section, with the app's name where the error was in an app."""
    named = {"NAME": 1, "PROCESS": 3, "CRON": 3} if location[0] == "app" else {}
    places = {step: named[step] for step in header if named.get(step, len(location)) < len(location) - 1}
    return tuple(location[places[step]] if step in places else step for step in header)
