"""Files that are brought to a host, and scripts that run there."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING

from substitute.hosts.answers import failure
from substitute.hosts.errors import NotInstalledError, RefusedError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from substitute.hosts.asking import There
    from substitute.hosts.channel import RemoteHost

_PLACE = """\
set -eu
umask 077
file=$1/$2 how=$3 length=$4
mkdir -p "$(dirname "$file")"
if [ "$how" = missing ] && [ -e "$file" ]; then cat >/dev/null; echo "kept"; exit 0; fi
trap 'rm -f "$file.new"' EXIT
trap 'exit 1' HUP INT PIPE TERM
cat >"$file.new"
arrived=$(wc -c <"$file.new")
if [ "$arrived" -ne "$length" ]; then echo "Only $arrived of its $length bytes have arrived." >&2; exit 1; fi
if cmp -s "$file.new" "$file"; then echo "the same"; exit 0; fi
if [ -e "$file" ]; then cp -p "$file" "$file.before"; fi
mv "$file.new" "$file"
echo "written"
"""
"""The end of a connection looks like the end of a file: only what has the length that was told comes into force."""

_FETCH = """\
cat "$1" && rm "$1"
"""


def place(there: There, host: RemoteHost, name: str, given: IO[bytes], *, how: str = "replace") -> str:
    """Bring the file `given` to `name` in the root there, and what was done. Raises HostError.

    What is there already and differs is kept beside it; with `how` ``missing`` it is left alone. Where not all of it
    arrives, what is there stays as it was, and nothing of the new one is left.
    """
    words = [there.root, name, how, str(os.fstat(given.fileno()).st_size)]
    failed = f"{name} could not be brought to {host.name}."
    return run_script(there, host, _PLACE, words, given=given, failed=failed)


def fetch(there: There, host: RemoteHost, name: str) -> str:
    """The text of a file there, which is removed. Raises HostError."""
    failed = f"{name} could not be fetched from {host.name}."
    return "\n".join([*_printed(there, host, _FETCH, [name], failed=failed), ""])


def run_script(
    there: There,
    host: RemoteHost,
    script: str,
    words: Sequence[str],
    *,
    given: IO[bytes] | None = None,
    failed: str = "",
) -> str:
    """Run it there, however long it takes; the last line that it printed. Raises HostError, which says `failed`."""
    return _printed(there, host, script, words, given=given, failed=failed)[-1]


def _printed(
    there: There,
    host: RemoteHost,
    script: str,
    words: Sequence[str],
    *,
    given: IO[bytes] | None = None,
    failed: str,
) -> list[str]:
    """The lines that it printed, at least one."""
    channel, lines = there.transport.shell(host, script, words, given), list[str]()
    while (line := channel.line()) is not None:
        lines.append(line)
    ended = channel.close()
    if ended.status == 0 and lines:
        return lines
    error = failure(host, ended, lines, heard=False)
    if isinstance(error, RefusedError):
        raise NotInstalledError(failed or f"{host.name} could not be set up.", fact=error.fact)
    raise error
