"""The text of the unit. systemd.unit(5), systemd.service(5), systemd.syntax(7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from substitute.boot.command import Command

_UNIT = """\
# Written by `substitute install`; `substitute uninstall` removes it.
[Unit]
Description=substitute: what serves in {plain_root}
Documentation=man:systemd.service(5)
After=network-online.target
Wants=network-online.target
RequiresMountsFor={root}

[Service]
Type=oneshot
RemainAfterExit=yes
{user}Environment={path}
ExecStart={up}
{stop}TimeoutStartSec=infinity

[Install]
WantedBy={target}
"""
# What supervisord runs lives in this unit: it is let go in the order that fails no request.
_STOP = """\
ExecStop={down}
KillMode=mixed
TimeoutStopSec=5min
"""


def render(command: Command, *, runtime: str, by_user: bool) -> str:
    """The unit that runs `command`, for the system's manager or a user's own."""
    return _UNIT.format(
        plain_root=_escaped(str(command.root)),
        root=_quoted(str(command.root)),
        user="" if by_user else f"User={command.user}\n",
        path=_quoted(f"PATH={command.path}"),
        up=_line(command.argv("up")),
        stop=_STOP.format(down=_line(command.argv("down"))) if runtime == "supervisord" else "",
        target="default.target" if by_user else "multi-user.target",
    )


def _line(argv: Iterable[str]) -> str:
    # ":" keeps systemd from expanding "$".
    return ":" + " ".join(map(_quoted, argv))


def _quoted(word: str) -> str:
    return f'"{_escaped(word)}"'


def _escaped(text: str) -> str:
    for character, instead in (("\\", "\\\\"), ('"', '\\"'), ("%", "%%"), ("\n", "\\n")):
        text = text.replace(character, instead)
    return text
