"""The types of names and of the environment: an app's name, `env`, `env_file`."""

# Not `from __future__ import annotations`: pydantic reads these annotations at run time.

import re
from typing import Annotated

from pydantic import (
    AfterValidator,
    BeforeValidator,
    PlainValidator,
    StrictStr,
    ValidationInfo,
    WithJsonSchema,
)

from substitute.config.envfile import NAME, EnvFile, EnvFileError, read_env_file, reserved
from substitute.config.literals import kind
from substitute.config.values import Expected, Refused

APP_NAME = r"[a-z][a-z0-9-]{0,31}"


def _app_name(text: str) -> str:
    if not re.fullmatch(APP_NAME, text):
        raise ValueError("a name of a-z, 0-9 and -, beginning with a letter, at most 32 characters long")
    if text == "run":
        raise Refused("an app may not be called run: deploy/run holds sockets and pid files")
    return text


AppName = Annotated[
    StrictStr, AfterValidator(_app_name), WithJsonSchema({"type": "string", "pattern": f"^{APP_NAME}$"})
]


def _variable(text: str) -> str:
    if not re.fullmatch(NAME, text):
        raise ValueError("a name of letters, digits and _, not beginning with a digit")
    if why := reserved(text):
        raise Refused(why)
    return text


def _variable_value(value: object) -> str:
    if not isinstance(value, str):
        raise Refused(f"found {kind(value)}, expected text: put the value in quotes")
    if "\0" in value:
        raise Refused("the value holds a NUL byte")
    return value


Environment = Annotated[
    dict[
        Annotated[
            StrictStr, AfterValidator(_variable), WithJsonSchema({"type": "string", "pattern": f"^{NAME}$"})
        ],
        Annotated[str, BeforeValidator(_variable_value)],
    ],
    Expected('a table of text, such as { NODE_ENV = "production" }'),
]


def _env_file(value: object, info: ValidationInfo) -> EnvFile:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError("a path, relative to the root")
    context = info.context or {}
    root = context.get("root")
    try:
        return EnvFile(value, read_env_file(root / value, root) if root else {})
    except EnvFileError as error:
        if not context.get("tolerant"):
            raise
        return EnvFile(value, problem=str(error))


EnvironmentFile = Annotated[
    EnvFile,
    PlainValidator(_env_file),
    WithJsonSchema({"type": "string"}),
    Expected("a path, relative to the root"),
]
