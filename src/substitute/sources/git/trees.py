"""What commits hold, and what differs between two, whatever the files of the slot are at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.model.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from substitute.sources.git.program import GitProgram

_LINK, _SUBMODULE = "120000", "160000"


def changed(git: GitProgram, directory: Path, before: str, commit: str) -> list[str] | None:
    """See `core.ports.source.Source.changed`."""
    options = ("-r", "--name-only", "--no-renames", "-z")
    try:
        return git.demand(directory, "diff-tree", *options, before, commit, failing="").split("\0")[:-1]
    except (OSError, SourceError):  # one of them is not in this clone
        return None


def absent(git: GitProgram, directory: Path, commit: str, paths: Sequence[str]) -> list[str]:
    """See `core.ports.source.Source.absent`."""
    above = {path: _with_parents(path) for path in paths if path}
    asked = sorted({one for prefixes in above.values() for one in prefixes})
    if not asked:
        return []
    try:
        listed = git.demand(directory, "ls-tree", "-t", "-z", commit, "--", *asked, failing="")
    except (OSError, SourceError):
        return []
    entries = (line.partition("\t") for line in listed.split("\0")[:-1])
    modes = {name: entry.split()[0] for entry, _, name in entries}
    return [
        path
        for path, prefixes in above.items()
        if path not in modes and not {modes.get(one) for one in prefixes} & {_LINK, _SUBMODULE}
    ]


def _with_parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:end]) for end in range(1, len(parts) + 1)]
