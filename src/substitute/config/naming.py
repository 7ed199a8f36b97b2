"""The types of names and of the environment: an app's name, `env`, `env_file`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from substitute.config.envfile import NAME, EnvFile, EnvFileError, read_env_file, reserved
from substitute.config.literals import kind
from substitute.config.problems import Problem
from substitute.config.tables import Named, Refused, Type, Value
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


Environment = Named(
    text("a name", _variable, pattern=NAME),
    Value("text", {"type": "string"}, _variable_value),
    'a table of text, such as { NODE_ENV = "production" }',
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
