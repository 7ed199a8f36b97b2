"""A repository of the deployer's own, with the objects and references of a slot's clone.

git obeys the configuration of the repository that it works in, and that of a clone is its owner's to write: as root,
`git log` there would run what a build has put into `gpg.program` or `core.fsmonitor`. Here it finds data alone.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from substitute.io.files import private_directory, write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from substitute.sources.git.program import GitProgram

_REFERENCE = re.compile(r"[0-9a-f]{40,64} refs/\S+")
_CONFIGURATION = """\
[core]
\trepositoryformatversion = {version}
\tbare = true
{extensions}"""
_SHA256 = "[extensions]\n\tobjectFormat = sha256\n"
_LONG = 64
"""Digits of a SHA-256."""


def make_view(git: GitProgram, directory: Path, place: Path) -> Mapping[str, str]:
    """Make the repository in `place`, or renew it; the variables by which git works in it. Raises SourceError."""
    failing = f"The clone in {directory} cannot be read."
    objects = git.demand(directory, "rev-parse", "--git-path", "objects", failing=failing).rstrip("\n")
    listed = git.demand(
        directory, "for-each-ref", "--format=%(objectname) %(refname)", failing=failing
    ).splitlines()
    head = git.run(directory, "rev-parse", "--verify", "--quiet", "HEAD").out.strip()
    sha256 = _LONG in {len(head), *(line.find(" ") for line in listed)}
    configuration = _CONFIGURATION.format(version=int(sha256), extensions=_SHA256 if sha256 else "")
    references = [line for line in listed if _REFERENCE.fullmatch(line)]
    for inner in ("objects/info", "refs"):
        private_directory(place / inner)
    for name, text in {
        "config": configuration,
        "HEAD": f"{head or 'ref: refs/heads/none'}\n",
        "packed-refs": "".join(f"{line}\n" for line in references),
        "objects/info/alternates": f"{objects}\n",
    }.items():
        file = place / name
        if not file.exists() or file.read_text() != text:
            write_atomically(file, text)
    return {"GIT_DIR": str(place)}
