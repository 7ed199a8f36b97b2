"""A secret's value, by its command or from its file. It is on no command line, and no message shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.masking import Mask
from substitute.core.model.errors import SecretError
from substitute.io.files import read_regular
from substitute.linux.owner import stranger_on
from substitute.linux.subprocesses import capture
from substitute.linux.users import acting_as

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from substitute.core.model.programs import Process
    from substitute.core.model.secrets import SecretSource

_LINES = 10


def read_secret(
    source: SecretSource, on_start: Callable[[Process], None], *, root: Path, environment: Mapping[str, str]
) -> str:
    """The value, without a line break at its end; the command runs in `root`, with `environment` alone.

    Raises SecretError.
    """
    value = _in_file(source, root) if source.file else _of_command(source, on_start, root, environment)
    value = value.removesuffix("\n").removesuffix("\r")
    if not value or "\0" in value:
        raise SecretError(f"{source} gave {'a NUL byte' if value else 'no value'}.")
    return value


def _in_file(source: SecretSource, root: Path) -> str:
    """What is in it; one that lies in a slot is read as the user whose the slot is, who may have made it a link."""
    file = root / (source.file or "")
    try:
        with acting_as(stranger_on(file, root)):
            return read_regular(file).decode()
    except OSError as error:
        raise SecretError(f"{file}: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise SecretError(f"{file} is not UTF-8 text.") from None


def _of_command(
    source: SecretSource, on_start: Callable[[Process], None], root: Path, environment: Mapping[str, str]
) -> str:
    argv = ["/bin/sh", "-c", source.command or ""]
    ended = capture(argv, directory=root, environment=environment, timeout=source.timeout, on_start=on_start)
    told = Mask([ended.out]).text(ended.err).splitlines()[-_LINES:]
    fact = "\n".join(f"  | {line}" for line in told)
    if ended.timed_out:
        cure = "Give it a longer `timeout`, if it needs that. It gets no input, so it can ask nobody."
        raise SecretError(f"{source} had not ended after {source.timeout:g}s.", fact=fact, cure=cure)
    if ended.status:
        raise SecretError(f"{source} failed with exit status {ended.status}.", fact=fact)
    if "\N{REPLACEMENT CHARACTER}" in ended.out:
        raise SecretError(f"{source} wrote no UTF-8 text.")
    return ended.out
