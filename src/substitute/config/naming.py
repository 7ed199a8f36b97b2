"""The types of names and of the environment: an app's name, `env`, `env_file`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from substitute.config.durations import EXAMPLES, parse_duration
from substitute.config.envfile import NAME, EnvFile, EnvFileError, read_env_file, reserved
from substitute.config.literals import kind
from substitute.config.problems import Problem
from substitute.config.tables import List, Named, Refused, Type, Value
from substitute.config.values import text

if TYPE_CHECKING:
    from substitute.config.problems import Location
    from substitute.config.tables import Reader

APP_NAME = r"[a-z][a-z0-9-]{0,31}"


def _app_name(name: str) -> str:
    if not re.fullmatch(APP_NAME, name):
        raise ValueError("a name of a-z, 0-9 and -, beginning with a letter, at most 32 characters long")
    if name == "run":
        raise Refused("an app may not be called run: deploy/run holds sockets and pid files")
    return name


AppName = text("a name", _app_name, pattern=APP_NAME)


PROCESS_NAME = r"[a-z][a-z0-9-]{0,15}"


def _process_name(name: str) -> str:
    if not re.fullmatch(PROCESS_NAME, name):
        raise ValueError("a name of a-z, 0-9 and -, beginning with a letter, at most 16 characters long")
    if name == "web":
        raise Refused(
            "the process web is what `start` of the app runs: write its keys in the app's own table"
        )
    return name


ProcessName = text("a name", _process_name, pattern=PROCESS_NAME)


CRON_NAME = r"[a-z][a-z0-9-]{0,31}"


def _cron_name(name: str) -> str:
    if not re.fullmatch(CRON_NAME, name):
        raise ValueError("a name of a-z, 0-9 and -, beginning with a letter, at most 32 characters long")
    return name


CronName = text("a name", _cron_name, pattern=CRON_NAME)


def _variable(name: str) -> str:
    if not re.fullmatch(NAME, name):
        raise ValueError("a name of letters, digits and _, not beginning with a digit")
    if why := reserved(name):
        raise Refused(why)
    return name


def _variable_value(value: object) -> str:
    if not isinstance(value, str):
        raise Refused(f"found {kind(value)}, expected text: put the value in quotes")
    if "\0" in value:
        raise Refused("the value holds a NUL byte")
    return value


_Variable = text("a name", _variable, pattern=NAME)
Variables = List(_Variable, 'a list of variables, such as ["SSH_AUTH_SOCK", "NPM_TOKEN"]')
Environment = Named(
    _Variable,
    Value("text", {"type": "string"}, _variable_value),
    'a table of text, such as { NODE_ENV = "production" }',
)


_EITHER = '{ command = "…" } or { file = "…" }'


def _secret(written: object) -> dict[str, Any]:
    """Nothing of it is shown: somebody may have written the secret itself there."""
    if not isinstance(written, Mapping):
        raise Refused(f"found {kind(written)}, expected {_EITHER}")
    if unknown := written.keys() - {"command", "file", "timeout"}:
        raise Refused(f"unknown key {min(unknown)}; expected {_EITHER}")
    named = [name for name in ("command", "file") if name in written]
    if len(named) != 1:
        raise Refused(f"expected one of both: {_EITHER}")
    value = written[named[0]]
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise Refused(f"{named[0]}: expected text in quotes, not empty")
    if "timeout" not in written:
        return {named[0]: value}
    try:
        seconds = parse_duration(written["timeout"])
    except ValueError:
        seconds = 0.0
    if named[0] == "file" or not seconds:
        raise Refused(f"timeout: expected, with a command, a duration: {EXAMPLES}")
    return {named[0]: value, "timeout": seconds}


_SCHEMA = {
    "properties": {
        "command": {"type": "string"},
        "file": {"type": "string"},
        "timeout": {"type": ["string", "number"]},
    },
    "additionalProperties": False,
    "type": "object",
}
Secrets = Named(
    _Variable, Value(_EITHER, _SCHEMA, _secret), f"a table of secrets, such as {{ KEY = {_EITHER} }}"
)


class _EnvironmentFile(Type[EnvFile]):
    """The path of a file, and the variables that are in it."""

    def _value(self, written: object, at: Location, reader: Reader) -> EnvFile | None:
        if not isinstance(written, str) or not written.strip() or "\0" in written:
            raise ValueError(self.words)
        try:
            return EnvFile(written, read_env_file(reader.root / written, reader.root) if reader.root else {})
        except EnvFileError as error:
            if reader.tolerant:
                return EnvFile(written, problem=str(error))
            reader.problems += [Problem(at, sentence, written, line) for line, sentence in error.problems]
            return None


EnvironmentFile = _EnvironmentFile("a path, relative to the root", {"type": "string"})
