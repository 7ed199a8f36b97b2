"""What of a slot's files git can make again, and what nobody can: what the app wrote there."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from substitute.io.files import read_regular, write_atomically
from substitute.sources.changes import MADE_AGAIN, files_at, is_later

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from substitute.sources.git.program import GitProgram

_MARK = "substitute-built"
"""In the clone's own directory. Its time is when builds were done, its lines are what the app wrote before that."""
_HIDDEN = "substitute-hidden"
"""In the clone's own directory while git is told to miss some of its files."""
_DATABASE = b"SQLite format 3\0"
_ENDINGS = ("", "-wal", "-shm", "-journal")
"""What SQLite keeps of a database, beside it."""
_STATUS = ("status", "--porcelain", "--no-renames", "--ignore-submodules=all", "-z")


def restorable(git: GitProgram, directory: Path, name: str) -> bool:
    """Whether git has all that lies at `name`, as it is."""
    tracked = _listed(git, directory, "ls-files", "-z", "--", _literal(name))
    found = git.demand(
        directory, *_STATUS, "--untracked-files=no", "--", _literal(name), failing=_unread(directory)
    )
    changed = {entry[3:] for entry in found.split("\0") if entry}
    with git.theirs():
        return all(one in tracked and one not in changed for one in files_at(directory, name))


def hide(git: GitProgram, directory: Path, own: Path, names: Sequence[str]) -> None:
    """Have git not miss what it tracks at `names`: a build asks it whether anything was changed."""
    file, asked = own / _HIDDEN, os.fsencode("\0".join(names))
    with git.theirs(), suppress(OSError):
        if read_regular(file) == asked:
            return
    tracked = _listed(git, directory, "ls-files", "-z", "--", *map(_literal, names))
    with git.theirs():
        file.touch()
    if tracked:
        _flag(git, directory, "--skip-worktree", tracked)
    with git.theirs():
        file.write_bytes(asked)


def show(git: GitProgram, directory: Path, own: Path) -> None:
    """Undo `hide`."""
    with git.theirs():
        hidden = (own / _HIDDEN).exists()
    if hidden:
        entries = _listed(git, directory, "ls-files", "-v", "-z")
        if names := {entry[2:] for entry in entries if entry[0] in "Ss"}:
            _flag(git, directory, "--no-skip-worktree", names)
        with git.theirs():
            (own / _HIDDEN).unlink(missing_ok=True)


def written(git: GitProgram, directory: Path, own: Path) -> list[str]:
    """What is in the slot and neither git nor a build made."""
    options = ("--untracked-files=normal", "--ignored=matching")
    entries = git.demand(directory, *_STATUS, *options, failing=_unread(directory)).split("\0")[:-1]
    with git.theirs():
        since, before = _marked(own)
        found = [
            name
            for entry in entries
            for name in _candidates(directory, entry)
            if name in before or is_later(directory / name, since)
        ]
        return sorted(name for name in found if not _is_beyond_a_link(directory, name))


def overwrites(git: GitProgram, directory: Path, commit: str, names: Sequence[str]) -> list[str]:
    """Those of `names` that are tracked, or stand in the way of what `commit` tracks."""
    tracked = _listed(git, directory, "ls-files", "-z", "--", *map(_literal, names))
    wanted = {str(place) for name in names for place in (Path(name), *Path(name).parents)} - {"."}
    there = _listed(git, directory, "ls-tree", "-z", commit, "--", *sorted(wanted))
    kinds = {entry.split("\t", 1)[1]: entry.split()[1] for entry in there}

    def is_in_the_way(name: str) -> bool:
        return name in kinds or any(kinds.get(str(parent), "tree") != "tree" for parent in Path(name).parents)

    return [name for name in names if name in tracked or is_in_the_way(name)]


def mark(own: Path, before: Sequence[str] | None) -> None:
    """Note the time, and what the app had written before; None leaves that as it is."""
    file = own / _MARK
    if file.exists() and (before is None or set(before) == _marked(own)[1]):
        os.utime(file)  # waits for no disk: an older time names too much, and never too little
    else:
        write_atomically(file, "\0".join(sorted(before or ())))


def is_marked(own: Path) -> bool:
    """Whether a time was noted."""
    return (own / _MARK).exists()


def _marked(own: Path) -> tuple[int, set[str]]:
    """When all was made by git and builds, and what was not even then."""
    file = own / _MARK
    try:
        names = os.fsdecode(read_regular(file, limit=1 << 26)).split("\0")
        return file.stat().st_ctime_ns, set(filter(None, names))
    except FileNotFoundError:
        return 0, set()


def _candidates(directory: Path, entry: str) -> Iterator[str]:
    """The files that an entry of git's status stands for, as far as somebody may miss them."""
    kind, name = entry[:2], entry[3:]
    if kind == "!!":
        yield from (one for one in _shallow(directory, name) if _is_database(directory / one))
    elif not MADE_AGAIN & set(name.split("/")):
        yield from files_at(directory, name, passing=MADE_AGAIN)


def _shallow(directory: Path, name: str) -> Iterator[str]:
    """What is ignored: the file, or the files in the directory, but not those further down (a cache of many)."""
    place = directory / name
    if place.name in MADE_AGAIN:
        return
    with suppress(OSError):
        inner = (
            [name.rstrip("/")]
            if not place.is_dir()
            else [f"{name.rstrip('/')}/{one.name}" for one in place.iterdir()]
        )
        yield from inner


def _is_database(path: Path) -> bool:
    """Whether it is a SQLite database, or the log of one."""
    for ending in _ENDINGS:
        if path.name.endswith(ending):
            with suppress(OSError):
                if read_regular(path.with_name(path.name.removesuffix(ending)), limit=16) == _DATABASE:
                    return True
    return False


def _is_beyond_a_link(directory: Path, name: str) -> bool:
    return any((directory / parent).is_symlink() for parent in list(Path(name).parents)[:-1])


def _flag(git: GitProgram, directory: Path, flag: str, names: Iterable[str]) -> None:
    failing = f"The index of {directory} can't be written."
    git.demand(directory, "update-index", "-z", flag, "--stdin", failing=failing, given="\0".join(names))


def _listed(git: GitProgram, directory: Path, *arguments: str) -> set[str]:
    return set(git.demand(directory, *arguments, failing=_unread(directory)).split("\0")[:-1])


def _literal(name: str) -> str:
    """A pathspec that means this path and no pattern."""
    return f":(literal){name.rstrip('/')}"


def _unread(directory: Path) -> str:
    return f"What was changed in {directory} can't be read."
