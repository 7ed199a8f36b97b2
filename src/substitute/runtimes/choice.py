"""Which runtime a root has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.model.errors import ConfigError
from substitute.values import dataclass

if TYPE_CHECKING:
    from substitute.linux.init_system import Machine

LINGER = "loginctl enable-linger"
_CURE_OF_RUNNING = (
    "Nothing was changed. Log in as the user who owns the root directory, and type the command again."
)
_CURE_OF_GONE = (
    f"Nothing was changed. Log in as the user who owns the root directory, or type `{LINGER}`. "
    'If systemd is gone for good, set runtime.kind = "supervisord".'
)


@dataclass(frozen=True)
class Choice:
    """A kind of runtime, and what the user may want to know about it."""

    kind: str
    advice: str = ""
    engine: str = ""
    """What runs containers beside it: ``podman``, ``docker``, or nothing."""


KEEPER = "runtime"
"""The fact of a root's journal that says what keeps it: ``systemd`` as long as any of it may be systemd's."""


def choose(configured: str, machine: Machine, *, keeper: str | None = None, runs: bool = False) -> Choice:
    """The runtime that `configured` means here; ``auto`` is systemd where it keeps what it runs.

    `keeper` is what keeps the root already, as its journal says; `runs` whether anything of it runs. Raises ConfigError
    where systemd was asked for and is not there, and where it keeps the root and cannot be reached: beside it another
    runtime would start everything a second time, and each would fight for what the other has.
    """
    if keeper == "systemd" and not (machine.systemd and machine.manager) and (configured == "auto" or runs):
        raise ConfigError(
            "systemd runs the apps of this root directory, and cannot be reached from here.",
            problems=(_reason(machine),),
            cure=_CURE_OF_RUNNING if runs else _CURE_OF_GONE,
        )
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
        return "This user has no systemd of their own here: a login starts one, `su` and cron do not."
    return "Your own systemd ends when you log out, and what it runs with it."
