"""Which commit is meant: one host says it for all, since the branch may move on while they follow each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from substitute.hosts.asking import There
    from substitute.hosts.channel import RemoteHost


def choose(
    there: There, host: RemoteHost, app: str, commit: str | None, options: Sequence[str]
) -> dict[str, Any]:
    """What `resolve` says on `host`: ``commit``, its ``tag``, and whether a release may run. Raises HostError.

    `options` are those of the command that it is chosen for.
    """
    passed = [word for name in ("--sha256", "--wait") if name in options for word in _option(options, name)]
    words = ["resolve", *([commit] if commit else []), "-a", app, *passed]
    found: dict[str, Any] = there.ask(host, words, patience=None)
    return found


def _option(options: Sequence[str], name: str) -> Sequence[str]:
    """An option with its value."""
    at = options.index(name)
    return options[at : at + 2]
