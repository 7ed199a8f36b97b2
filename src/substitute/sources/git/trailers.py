"""What the messages of commits say in their last lines (``git interpret-trailers``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from substitute.sources.git.program import GitProgram

CONTRACT = "Substitute-Contract"
"""The trailer that says of a commit, with the value ``yes``, that its migration is a contract."""
_FORMAT = "%x01%H%x00%(trailers:only,unfold)"


def contract(git: GitProgram, directory: Path, commit: str, *, since: str | None) -> str | None:
    """The oldest commit with that trailer among those that `commit` has and `since` not, else None."""
    known = since and not git.run(directory, "cat-file", "-e", f"{since}^{{commit}}").status
    reach = [f"{since}..{commit}"] if known else ["--no-walk", commit]
    log = ("log", "--reverse", "--no-show-signature", f"--format={_FORMAT}", *reach, "--")
    listed = git.demand(directory, *log, failing=f"The commits in {directory} cannot be read.")
    for one in listed.split("\x01")[1:]:
        name, _, trailers = one.partition("\0")
        if any(map(_says_so, trailers.splitlines())):
            return name
    return None


def _says_so(trailer: str) -> bool:
    key, _, value = trailer.partition(":")
    return key.strip().casefold() == CONTRACT.casefold() and value.strip().casefold() == "yes"
