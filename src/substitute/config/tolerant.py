"""substitute.toml as far as it can be used: what runs must be looked after while it has an error."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from substitute.config.loader import checked, listed, tables, text_of
from substitute.config.models import SECTIONS, Config
from substitute.config.root import FILE
from substitute.config.tables import Inner, Reader
from substitute.core.model.errors import ConfigError
from substitute.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from substitute.config.problems import Location, Problem


@dataclass(frozen=True)
class Reading:
    """What was read, and what of it can be used."""

    root: Path
    error: ConfigError | None = None
    """Everything that is wrong with the file, or None."""
    apps: Mapping[str, Any] = field(default_factory=dict)
    """The sections of apps that can be used."""
    general: Mapping[str, Any] | None = None
    """The other sections; None where one of them is wrong."""
    names: frozenset[str] | None = None
    """The apps that the file names, those with errors too; None where that is not known."""
    unreadable: frozenset[str] = frozenset()
    """The apps whose `env_file` cannot be used. Their sections can."""

    def config(self, known: Mapping[str, Any] | None = None) -> Config:
        """The configuration that can be used, with `known` for general sections that are wrong. Raises ConfigError."""
        general = known if self.general is None else self.general
        if self.error and general is None:
            raise self.error
        reader = Reader(SECTIONS, self.root, tolerant=True)
        config: Config | None = Inner(Config).read({**(general or {}), "app": self.apps}, (), reader)
        if config is None:
            raise self.error or listed(self.root / FILE, reader.problems, "")
        return config


def read(root: Path) -> Reading:
    """Read the substitute.toml of `root`; what is wrong with it is no exception."""
    file = root / FILE
    try:
        text = text_of(file)
        raw = tables(file, text)
    except ConfigError as error:
        return Reading(root, error)
    _, problems = checked(raw, root=root)
    general = {name: section for name, section in raw.items() if name != "app"}
    found = raw.get("app")
    apps = found if isinstance(found, dict) else {}
    if not problems:
        return Reading(root, apps=apps, general=general, names=frozenset(apps))
    wrong = {place for problem in problems for place in _places(problem)}
    return Reading(
        root,
        listed(file, problems, text),
        apps={name: section for name, section in apps.items() if name not in wrong},
        general=None if None in wrong else general,
        names=frozenset(apps),
        unreadable=frozenset(str(problem.location[1]) for problem in problems if problem.file),
    )


def _places(problem: Problem) -> set[str | None]:
    """The apps whose sections are wrong; None stands for the other sections. Not that of a wrong `env_file`."""
    if problem.file:
        return set()
    return {_place(location) for location in (problem.location, problem.clash) if location}


def _place(location: Location) -> str | None:
    return str(location[1]) if len(location) > 1 and location[0] == "app" else None
