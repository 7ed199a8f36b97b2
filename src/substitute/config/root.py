"""Where the root is: the directory that holds substitute.toml."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from substitute.core.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE = "substitute.toml"
VARIABLE = "SUBSTITUTE_ROOT"
HELP = "`substitute config --schema` lists every key."
MINIMAL = """\
[app.shop]
repo = "ssh://git@YOUR-HOST/YOUR-APP.git"  # your repository: whatever `git clone` takes
build = ["npm ci --omit=dev"]              # your build; [] if there is none
start = "node www.js"                      # your app: listens on $PORT of $HOST
ports = [3001, 3002]                       # both free: the versions take turns

[balancer]
listen = "127.0.0.1:8080"                  # where your users connect, or your nginx that ends TLS
"""
"""All that a user needs, in ten lines. README shows the same."""


def find_root(start: Path | None = None, *, directory: str | None = None, environ: Mapping[str, str]) -> Path:
    """Find the root: `directory` (of ``-C``) itself, else SUBSTITUTE_ROOT, else upward from `start`.

    `start` is the working directory where it is not given. The path that is returned is absolute and
    without links. Raises ConfigError that says where it looked and what to type.
    """
    root = _found(start, directory, environ)
    try:
        str(root).encode()
    except UnicodeEncodeError:
        # The journal and the configurations of HAProxy, systemd and supervisord hold this path as text.
        raise ConfigError(f"The path {root} is not UTF-8.", cure="Rename the directory.") from None
    return root


def _found(start: Path | None, directory: str | None, environ: Mapping[str, str]) -> Path:
    here = _working_directory() if start is None else start
    if directory is not None:
        return _exactly(here / directory, f"-C {directory}")
    if named := environ.get(VARIABLE):
        return _exactly(here / named, f"{VARIABLE}={named}")
    here = here.resolve()
    for is_root in (_is_root, _was_root):
        for candidate in (here, *here.parents):
            if is_root(candidate):
                return candidate
    raise ConfigError(
        f"There is no {FILE} in {here} or in any directory above it.",
        cure=f"Go to the directory that holds it, name it by `-C DIR` or {VARIABLE}, "
        f"or write one, such as:\n\n{MINIMAL}",
    )


def _exactly(directory: Path, named_by: str) -> Path:
    directory = directory.resolve()
    if _is_root(directory) or _was_root(directory):
        return directory
    what = f"holds no {FILE}" if directory.is_dir() else "is no directory"
    raise ConfigError(
        f"{directory} {what} (from {named_by}).",
        cure=f"Name the directory that holds it, or write one, such as:\n\n{MINIMAL}",
    )


def _working_directory() -> Path:
    try:
        return Path.cwd()
    except FileNotFoundError:
        raise ConfigError(
            "The working directory no longer exists.", cure="Go to another one, or name the root by `-C DIR`."
        ) from None


def _is_root(directory: Path) -> bool:
    return _holds(directory, FILE)


def _was_root(directory: Path) -> bool:
    """Whether only the file is missing: what runs there must be looked after all the same."""
    return _holds(directory, "deploy/journal.db")


def _holds(directory: Path, file: str) -> bool:
    try:
        return (directory / file).is_file()
    except OSError:  # a directory that may not be searched
        return False
