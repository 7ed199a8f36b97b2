"""What is true for whoever waits for a command: what ends it in each phase, and what ends by itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.model.slots import Phase

if TYPE_CHECKING:
    from substitute.core.model.apps import App
    from substitute.core.model.slots import SlotName

CLEANUP = "clean-up"
"""Where a holder of the lock says that it is when it gives up."""
_COMMITTED = {Phase.COMMIT, Phase.DRAIN, Phase.STOP}
_DEPLOYING = {"deploy", "rollback", "restart", "promote", "check"}


_CUTTING = {"deploy", "rollback", "promote"}
"""What may be typed with --now."""


def what_is_awaited(phase: str, doing: str, *, typed: str) -> str:
    """What somebody in `phase` waits for, in his words, and how the command that was `typed` comes by without."""
    may_cut = doing and phase == Phase.DRAIN and typed in _CUTTING
    return f"{doing} `{typed} --now` cuts them." if may_cut else doing


def how_to_end(operation: str, phase: str, pid: int, *, typed: str, suspended: bool = False) -> str:
    """What somebody can do who has `typed` a command while another one works on the app."""
    may_cut = phase == Phase.DRAIN and typed in _CUTTING
    if suspended:
        told = (
            f"It is suspended (Ctrl-Z): type `kill -CONT {pid}`, or `fg` where it was typed, and it goes on."
        )
    elif operation == "recovery":
        told = "It finishes what an earlier command left, and ends by itself: wait for it."
        if may_cut:
            told += f" Or type `{typed} --now`, which cuts the requests that it waits for."
    elif phase in _COMMITTED:
        told = (
            "Its version is live already. It waits for the old one, as long as drain.timeout and stop.timeout allow, "
            "and a signal ends that no sooner: wait for it."
        )
        if may_cut:
            told += f" Or type `{typed} --now --wait 10m`, which cuts the requests that it waits for."
    elif phase == CLEANUP:
        told = "It gives up already, and stops what it has started: wait for it."
    elif operation == "adopt":
        told = "It takes some seconds: wait for it."
    elif operation in _DEPLOYING:
        told = f"Wait for it, or type `kill {pid}`: it gives up, and what is live goes on serving."
    else:
        told = f"Wait for it, or type `kill {pid}`: it ends as soon as nothing is half-done."
    return f"{told} `substitute status` shows how far it is."


def what_goes_on(
    by: str, app: App, candidate: SlotName | None, phase: str, outcome: str, *, can_hand_over: bool
) -> str:
    """What a deployment does that was sent `by` (``Ctrl-C``) where that does not end it; `outcome` where it has one."""
    again = f" {by} again leaves that to a background process." if can_hand_over else ""
    if candidate is None or outcome == "succeeded":
        return f"{by}: this command ends as soon as nothing is half-done."
    if outcome:
        return (
            f"{by}: this deployment is given up already. Slot {candidate} has at most {app.drain.limit:g}s for its "
            f"requests, and then {app.stop_timeout:g}s to exit.{again}"
        )
    late = f"{by} comes too late: slot {candidate} is live (`substitute rollback` goes back)."
    if phase == Phase.DRAIN:
        key = "drain.timeout" if app.drain.limit == app.drain.timeout else "drain.streams"
        return (
            f"{late} Slot {candidate.other} finishes the requests that it has, for at most {app.drain.limit:g}s "
            f"({key}).{again}"
        )
    if phase == Phase.STOP:
        return f"{late} Slot {candidate.other} has at most {app.stop_timeout:g}s to exit (stop.timeout)."
    if phase == Phase.COMMIT:
        return f"{late} The old version finishes its requests and stops."
    return f"{by}: this command ends as soon as nothing is half-done."
