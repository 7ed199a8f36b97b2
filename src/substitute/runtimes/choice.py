"""Which runtime a root has."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from substitute.core.errors import ConfigError

if TYPE_CHECKING:
    from substitute.machine import Machine

LINGER = "loginctl enable-linger"


@dataclass(frozen=True)
class Choice:
    """A kind of runtime, and what the user may want to know about it."""

    kind: str
    advice: str = ""


def choose(configured: str, machine: Machine) -> Choice:
    """The runtime that `configured` means here; ``auto`` is systemd where it keeps what it runs.

    Raises ConfigError where systemd was asked for and is not there.
    """
    if configured == "systemd" and not machine.keeps:
        raise ConfigError(
            'runtime.kind = "systemd" is not possible here.',
            problems=(_reason(machine),),
            cure=f"Type `{LINGER}`." if _only_lingers_not(machine) else 'Leave it out, or set "supervisord".',
        )
    if configured != "auto":
        return Choice(configured)
    if machine.keeps:
        return Choice("systemd")
    return Choice("supervisord", f"systemd would need `{LINGER}`" if _only_lingers_not(machine) else "")


def _only_lingers_not(machine: Machine) -> bool:
    return machine.systemd and machine.manager and not machine.lingers


def _reason(machine: Machine) -> str:
    if not machine.systemd:
        return "systemd is not the init of this machine."
    if not machine.manager:
        return "No systemd of this user's answers: a login starts one, `su` and cron do not."
    return "Your own systemd ends when you log out, and what it runs with it."
