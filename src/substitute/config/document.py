"""The resolved configuration for people, for programs and for editors. Secrets are not shown."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from substitute.config.durations import format_duration
from substitute.config.envfile import EnvFile
from substitute.config.literals import key, literal, without_password
from substitute.config.models import SECTIONS, Config
from substitute.config.models.app import AppConfig
from substitute.config.tables import Key, Table

if TYPE_CHECKING:
    from collections.abc import Iterator

HIDDEN = "***"
_NAMED = frozenset({"process", "cron"})
"""Keys whose tables have names that the user chooses."""


def document(config: Config) -> dict[str, Any]:
    """The configuration with every default filled in, as one JSON document; times are seconds, or ``"forever"``.

    `env` holds the variables of `env_file` too, with `HIDDEN` for their values; so is a password in `repo`.
    """
    found = {name: _document(value) for name, value in _entries(config)}
    unused = {*(() if config.hosts.groups else ["hosts"]), *(() if config.cluster.nodes else ["cluster"])}
    return {name: one for name, one in found.items() if name not in unused}


def _document(value: object) -> Any:
    if isinstance(value, Table):
        plain = {name: _document(inner) for name, inner in _entries(value)}
        if isinstance(value, AppConfig):
            plain["repo"] = value.repo and without_password(value.repo)
            plain["env"] = {**dict.fromkeys(_from_file(value), HIDDEN), **value.env}
        return plain
    if isinstance(value, dict):
        return {name: _document(inner) for name, inner in value.items()}
    if isinstance(value, tuple):
        return [_document(inner) for inner in value]
    if value == math.inf:
        return format_duration(math.inf)  # JSON has no infinity
    return value.path if isinstance(value, EnvFile) else value


def describe(config: Config) -> str:
    """The configuration with every default filled in, as TOML that loads again."""
    tables = _tables(("balancer",), config.balancer), _tables(("runtime",), config.runtime)
    blocks = [block for table in tables for block in table]
    if config.cluster.nodes:
        blocks += _tables(("cluster",), config.cluster)
    if config.hosts.groups:
        blocks += _tables(("hosts",), config.hosts)
    for name, app in config.app.items():
        blocks += _tables(("app", name), app)
    return "\n".join(blocks)


def _tables(header: tuple[str, ...], table: Table) -> Iterator[str]:
    """The text of `table`, then those of the tables in it."""
    lines = [f"[{'.'.join(map(key, header))}]"]
    inner: list[tuple[str, Table]] = []
    named: dict[tuple[str, str], Table] = {}
    for name, value in _entries(table):
        if isinstance(value, Table):
            inner.append((name, value))
        elif name in _NAMED and isinstance(value, dict):
            named |= {(name, child): table for child, table in value.items()}
        elif value is not None:
            lines.append(f"{key(name)} = {_literal(name, value)}")
            if isinstance(value, EnvFile):
                lines += [f"# {variable} = {literal(HIDDEN)}" for variable in value.values]
    yield "\n".join(lines) + "\n"
    for name, child in inner:
        yield from _tables((*header, name), child)
    for (name, chosen), child in named.items():
        yield from _tables((*header, name, chosen), child)


def _literal(name: str, value: object) -> str:
    if isinstance(value, float):
        return literal(format_duration(value))
    if isinstance(value, EnvFile):
        return literal(value.path)
    return literal(without_password(value) if name == "repo" and isinstance(value, str) else value)


def schema() -> dict[str, Any]:
    """The JSON Schema of substitute.toml, for editors."""
    inner = sorted(table.__name__ for table in SECTIONS.values() if table is not Config)
    tables = {table.__name__: _schema(table) for table in SECTIONS.values()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$defs": {name: tables[name] for name in inner},
        **tables["Config"],
        "title": "substitute.toml",
    }


def _schema(table: type[Table]) -> dict[str, Any]:
    found = {
        "additionalProperties": table.others.takes.schema if table.others else False,
        "description": table.__doc__,
        "properties": {name: _property(name, one) for name, one in table.keys.items()},
        "required": [name for name, one in table.keys.items() if one.required and not one.kinds],
        "anyOf": _required_of_some(table),
        "title": table.__name__,
        "type": "object",
    }
    return {name: value for name, value in found.items() if value != []}


def _required_of_some(table: type[Table]) -> list[dict[str, Any]]:
    """Keys that only some kinds need: they are there, or it is another kind."""
    found: list[dict[str, Any]] = []
    for name, one in table.keys.items():
        if one.required and one.kinds:
            others = [kind for kind in table.keys[one.by].takes.schema["enum"] if not one.fits(kind)]
            found = [
                {"required": [name]},
                {"properties": {one.by: {"enum": others}}, "required": [one.by]},
            ]
    return found


def _property(name: str, one: Key) -> dict[str, Any]:
    found = dict(one.takes.schema)
    if one.default is None:
        found = {"anyOf": [found, {"type": "null"}]}
    if not one.required:
        found["default"] = one.default
    if one.description:
        found |= {"description": one.description, "title": name.replace("_", " ").title()}
    if one.example:
        found["examples"] = [one.example]
    if one.kinds:
        found["kinds"] = one.kinds
    return dict(sorted(found.items()))


def _entries(table: Table) -> Iterator[tuple[str, object]]:
    """The keys of `table` as they are written, and their values."""
    for name, one in table.keys.items():
        yield name, getattr(table, one.name)
    if table.others:
        yield from getattr(table, table.others.name).items()


def _from_file(app: AppConfig) -> tuple[str, ...]:
    return tuple(app.env_file.values) if app.env_file else ()
