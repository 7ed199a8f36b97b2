"""substitute.toml → Config, or everything that is wrong with it at once."""

from __future__ import annotations

import re
import tomllib
from codecs import BOM_UTF8
from typing import TYPE_CHECKING, Any

from substitute.config.collisions import collisions
from substitute.config.lines import line_numbers
from substitute.config.models import SECTIONS, Config
from substitute.config.models.hosts import HostsConfig
from substitute.config.problems import Problem, dotted
from substitute.config.root import FILE, HELP, MINIMAL
from substitute.config.tables import Inner, Reader
from substitute.core.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


def load(root: Path) -> Config:
    """Read and check the substitute.toml of `root`, and the files that it names.

    Raises ConfigError that lists every problem.
    """
    file = root / FILE
    text = text_of(file)
    return parse(tables(file, text), root=root, text=text)


def parse(raw: dict[str, Any], *, root: Path, text: str = "") -> Config:
    """Check parsed tables; `text` is what they were parsed from, for the line numbers.

    Raises ConfigError that lists every problem.
    """
    config, problems = checked(raw, root=root)
    if config is None or problems:
        raise listed(root / FILE, problems, text)
    return config


def load_hosts(root: Path) -> tuple[HostsConfig, Mapping[str, Any]]:
    """Read [hosts] of `root` alone, and give the other sections as they are written.

    Who only drives hosts need not have the files that the other sections name: each host checks them for itself.
    Raises ConfigError that lists what is wrong with [hosts].
    """
    file = root / FILE
    text = text_of(file)
    raw = tables(file, text)
    reader = Reader(SECTIONS, root)
    hosts: HostsConfig | None = Inner(HostsConfig).read(raw.get("hosts", {}), ("hosts",), reader)
    if hosts is None or reader.problems:
        raise listed(file, reader.problems, text)
    return hosts, raw


def checked(raw: Mapping[str, Any], *, root: Path) -> tuple[Config | None, list[Problem]]:
    """Check parsed tables: the configuration, if it can be made of them, and everything that is wrong."""
    reader = Reader(SECTIONS, root)
    config = Inner(Config).read(raw, (), reader)
    if config and not config.app:
        reader.problems.append(Problem(("app",), "no app; expected a table [app.NAME]"))
    return config, [*reader.problems, *collisions(raw)]


def text_of(file: Path) -> str:
    """What is in the file. Raises ConfigError."""
    try:
        return file.read_bytes().removeprefix(BOM_UTF8).decode()
    except FileNotFoundError:
        raise ConfigError(f"There is no {file}.", cure=f"A minimal one:\n\n{MINIMAL}") from None
    except OSError as error:
        raise ConfigError(f"{file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise _error(file, [f"{FILE}:{line}: not UTF-8 text"]) from None


def tables(file: Path, text: str) -> dict[str, Any]:
    """What `text` says. Raises ConfigError."""
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise _error(file, [f"{FILE}: nested too deeply"]) from None
    except ValueError as error:  # TOMLDecodeError, and Python's own for a number of thousands of digits
        match = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", str(error), flags=re.DOTALL)
        if match:
            place, what = f"{FILE}:{match[2]}", f"{match[1]}, at column {match[3]}"
        else:
            place, what = FILE, str(error)
        raise _error(file, [f"{place}: not valid TOML: {what}"]) from None


def listed(file: Path, problems: Sequence[Problem], text: str) -> ConfigError:
    """The error that lists `problems`; `text` is the file's, for the line numbers."""
    return _error(file, _sentences(problems, line_numbers(text)))


def _sentences(problems: Sequence[Problem], lines: Mapping[tuple[str, ...], int]) -> list[str]:
    """One line for each problem, in the order of the file."""
    placed = sorted({(_line(p, lines), at): p for at, p in enumerate(problems)}.items())
    texts = []
    for (line, _), problem in placed:
        place = FILE + (f":{line}" if line else "")
        sentence = problem.sentence
        if problem.file is not None:
            inner = problem.file + (f":{problem.line}" if problem.line else "")
            sentence = f"{inner}: {sentence}"
        texts.append(f"{place}: {dotted(problem.location)}: {sentence}")
    return list(dict.fromkeys(texts))


def _line(problem: Problem, lines: Mapping[tuple[str, ...], int]) -> int:
    """The line of the key, else of the innermost table around it, else 0."""
    path = tuple(str(step) for step in problem.location)
    return next((lines[path[:end]] for end in range(len(path), 0, -1) if path[:end] in lines), 0)


def _error(file: Path, lines: Sequence[str]) -> ConfigError:
    count = "an error" if len(lines) == 1 else f"{len(lines)} errors"
    return ConfigError(f"{file} has {count}:", problems=tuple(lines), cure=HELP)
