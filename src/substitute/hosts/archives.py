"""An archive that is here is brought to the hosts, and deployed there from where it lies."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

from substitute.core.model.errors import UsageError
from substitute.hosts.asking import at_once
from substitute.hosts.errors import HostError
from substitute.hosts.files import place, run_script

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from substitute.hosts.asking import There
    from substitute.hosts.channel import RemoteHost

_REMOVE = """\
rm -f "$1" "$1.new" "$1.before"
echo "removed"
"""


@contextmanager
def brought(
    there: There, hosts: Sequence[RemoteHost], archive: Path
) -> Iterator[tuple[str, Mapping[str, HostError]]]:
    """The path of `archive` on each host, as seen from the home directory there; and who could not be given it.

    It is removed again at the end: each host has taken it in, or will not. Raises UsageError for a directory.
    """
    if archive.is_dir():
        raise UsageError(
            f"{archive} is a directory, and many hosts are given a file.",
            cure=f"Pack it: `tar --create --auto-compress --file=app.tar.gz --directory={archive} .`",
        )
    with archive.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    # In the directory that holds sockets and pid files: no app has that name.
    name = f"deploy/run/{digest[:16]}-{archive.name}"

    def bring(host: RemoteHost) -> str:
        with archive.open("rb") as content:
            return place(there, host, name, content)

    there_at = f"{there.root}/{name}"
    answers = at_once(hosts, bring)
    try:
        yield there_at, {name: one for name, one in answers.items() if isinstance(one, HostError)}
    finally:
        at_once(hosts, lambda host: run_script(there, host, _REMOVE, [there_at]))
