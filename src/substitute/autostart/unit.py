"""The text of the unit. systemd.unit(5), systemd.service(5), systemd.syntax(7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from substitute.autostart.command import Command

_RETRIES_SINCE = 244
"""The first systemd that takes a oneshot with Restart=; an earlier one refuses the whole unit."""
_UNIT = """\
# Written by `substitute install`; `substitute uninstall` removes it.
[Unit]
Description=substitute: what serves in {plain_root}
Documentation=man:systemd.service(5)
After=network-online.target docker.service nginx.service traefik.service
Wants=network-online.target
RequiresMountsFor={root}
IgnoreOnIsolate=yes
StartLimitIntervalSec=0

[Service]
Type=oneshot
RemainAfterExit=yes
{user}Environment={path}
ExecStart={up}
{restart}ExecStop={down}
KillMode=process
TimeoutStartSec=infinity
TimeoutStopSec=5min

[Install]
WantedBy={target}
"""
# Where one app of several cannot be brought up, the others serve meanwhile.
_RESTART = """\
Restart=on-failure
RestartSec=10s
"""
# A supervisord that was started at boot lives in this unit: it is let go in the order that fails no request, by the
# command alone, and it is neither ended with a command that failed nor with the unit once that is uninstalled.
WITHOUT_STOP = """\
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/true
KillMode=process
"""
"""What the unit says while it is taken away: it ends, and what runs in it goes on."""


def render(command: Command, *, by_user: bool, version: int) -> str:
    """The unit that runs `command`, for the system's manager or a user's own, of systemd's `version`."""
    return _UNIT.format(
        plain_root=_escaped(str(command.root)),
        root=_quoted(str(command.root)),
        user="" if by_user else f"User={command.user}\n",
        path=_quoted(f"PATH={command.path}"),
        up=_line(command.argv("up")),
        restart=_RESTART if version >= _RETRIES_SINCE else "",
        down=_line(command.argv("down", "--of-supervisord")),
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
