"""Documents whose commands a test types, so that what a reader is told to do works.

    ```sh              commands: typed into one shell, which lives as long as the document; each must succeed
    ```text            below them, lines of what they print, in this order
    ```toml site.toml  any language, then a path: the file at that path, as its reader would save it

A block without ``sh``, ``text`` or a path is for the reader alone. In the lines of ``text`` times, dates, commits
and numbers of four digits or more may differ, and ``…`` stands for anything.

    with Reader(tmp_path, replace={"8080": free_port(), "/srv": tmp_path / "srv"}) as reader:
        reader.follow(DOCS / "tutorial.md")
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

from tests.e2e.site import kill_all_in

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

DOCS = Path(__file__).parents[1] / "docs"
_BLOCK = re.compile(r"^```(\w+)(?: +(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_TIME = r"\d+(?: [mhd] \d+|\.\d+)? (?:ms|s|min|m|h)"
"""As `console.text.seconds` writes it: a busy machine may take minutes where the page says milliseconds."""
_DIFFERS = re.compile(
    r"(?P<date>\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d)?)"
    rf"|(?P<time>\b{_TIME}\b)"
    r"|(?P<commit>\b(?=[0-9a-f]*\d)[0-9a-f]{7,40}\b)"
    r"|(?P<number>\b\d{1,3}(?:,\d{3})+\b|\b\d{4,}\b)"
    r"|(?P<any>…)"
    r"|(?P<space>\s+)"
)
_PATTERNS = {
    "date": r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d)?",
    "time": _TIME,
    "commit": r"[0-9a-f]{7,40}",
    "number": r"\d[\d,]*",
    "any": r".*",
    "space": r"\s+",
}


@dataclass(frozen=True)
class Block:
    """One fenced block; `path` is set where it is a file."""

    language: str
    path: str | None
    text: str


def blocks(document: str) -> list[Block]:
    """Every fenced block of a document, in its order."""
    found = [Block(match[1], match[2], match[3]) for match in _BLOCK.finditer(document)]
    fences = re.findall(r"^ *```", document, re.MULTILINE)
    assert len(fences) == 2 * len(found), "each block begins at the margin, and names its language"
    return found


class Reader:
    """Somebody who follows a document with a shell of their own, and a home: `directory`/home, or `home`.

    `replace` maps words of the document (a port, a directory, a URL) to those of the test.
    """

    def __init__(
        self,
        directory: Path,
        *,
        replace: Mapping[str, object] | None = None,
        home: Path | None = None,
    ) -> None:
        self.directory = directory
        self._replace = {word: str(replacement) for word, replacement in (replace or {}).items()}
        self._notes = directory / "notes"
        self._notes.mkdir(parents=True)
        self._home = home or directory / "home"
        self._home.mkdir(exist_ok=True)
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._shell = subprocess.Popen(
            ["bash", "-e", "-o", "pipefail"],
            cwd=self._home,
            env={"HOME": str(self._home), "PATH": path, "LANG": "C.UTF-8"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self._shell.stdin
        assert self._shell.stdout
        self._shell.stdin.close()
        self._shell.wait(timeout=30)
        self._shell.stdout.close()
        kill_all_in(self.directory)

    def follow(self, document: Path, *, only: str | None = None) -> None:
        """Do all that a document says, or what it says below the heading `only`."""
        text = document.read_text()
        if only is not None:
            text = _section(text, only)
        printed = ""
        for block in blocks(self._in_our_words(text)):
            if block.path:
                self.save(block.path, block.text)
            elif block.language == "sh":
                printed = self.type(block.text)
            elif block.language == "text":
                assert_shows(printed, block.text)

    def save(self, path: str, text: str) -> None:
        """Write a file, as seen from where the shell is."""
        where = Path(f"/proc/{self._shell.pid}/cwd").readlink()
        (where / path.replace("~", str(self._home), 1)).write_text(text)

    def type(self, commands: str) -> str:
        """Type commands and return what they printed; each must succeed."""
        step, out = self._notes / "step.sh", self._notes / "printed"
        step.write_text(commands)
        assert self._shell.stdin
        assert self._shell.stdout
        self._shell.stdin.write(f". {step} </dev/null >{out} 2>&1; echo done\n")
        self._shell.stdin.flush()
        done = self._shell.stdout.readline()
        printed = out.read_text()
        assert done == "done\n", f"one of these commands failed:\n{commands}\nThey printed:\n{printed}"
        return printed

    def _in_our_words(self, text: str) -> str:
        if not self._replace:
            return text
        longest_first = sorted(self._replace, key=len, reverse=True)
        words = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, longest_first)) + r")(?!\w)")
        return words.sub(lambda match: self._replace[match[0]], text)


def _section(text: str, heading: str) -> str:
    """What stands below `heading`, down to the next one of its level or above."""
    found = re.search(rf"^(#+) {re.escape(heading)}$", text, re.MULTILINE)
    assert found, f"there is no heading {heading!r}"
    rest = text[found.end() :]
    following = re.search(rf"^#{{1,{len(found[1])}}} ", rest, re.MULTILINE)
    return rest[: following.start()] if following else rest


def assert_shows(printed: str, expected: str) -> None:
    """Every line of `expected` is in `printed`, in this order; others may stand between them."""
    lines = iter(printed.splitlines())
    for line in filter(str.strip, expected.splitlines()):
        pattern = re.compile("".join(_pattern(line.strip())))
        assert any(pattern.search(candidate) for candidate in lines), (
            f"not printed, or not in this order:\n{line}\nPrinted was:\n{printed}"
        )


def _pattern(line: str) -> Iterator[str]:
    """A regular expression for `line`, in which what differs from run to run may differ."""
    end = 0
    for match in _DIFFERS.finditer(line):
        yield re.escape(line[end : match.start()])
        yield _PATTERNS[str(match.lastgroup)]
        end = match.end()
    yield re.escape(line[end:])
