"""What became of a command whose connection was lost: the host's journal knows, and is asked until it tells."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from substitute.hosts.errors import HostError, RefusedError
from substitute.hosts.outcomes import Outcome, State

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from substitute.hosts.asking import There
    from substitute.hosts.channel import RemoteHost

_IN_JOURNAL = frozenset({"deploy", "rollback", "restart", "promote"})
"""What each is a deployment in the journal."""
_LOOKS = {"run": "history --runs", "cron": "history --cron", "drill": "history", "release": "release"}
"""What shows whether it has come to its end; else `status` does."""
_SHORTEST, _LONGEST = 1.0, 5.0
"""Seconds between two questions."""
_SURE = 3
"""As often nothing is found before that is believed: it may be about to begin, or a guardian about to settle it."""
_ENDS = {
    "succeeded": (State.SUCCEEDED, 0),
    "promoted": (State.SUCCEEDED, 0),
    "held": (State.HELD, 0),
    "failed": (State.FAILED, 1),
    "aborted": (State.FAILED, 1),
    "interrupted": (State.INTERRUPTED, 1),  # not by who waits for it here
}


def what_became(there: There, host: RemoteHost, command: str, *, since: int, app: str = "") -> Outcome:
    """Ask until it is known, or nobody could be asked for `there.lost_timeout` seconds.

    `since` is the number of the latest deployment before it. While the host says that it goes on, it is waited for.
    """
    if command not in _IN_JOURNAL:
        looks = _LOOKS.get(command, "status")
        return Outcome(
            host.name,
            State.UNKNOWN,
            None,
            f"The connection was lost while `{command}` ran there. It may go on to its end.",
            f"`substitute {looks} --on {host.name}` shows what is so now; then type it again.",
        )
    chosen, nothing = (["-a", app] if app else []), 0

    def judge(history: Any, status: Any) -> Outcome | None:
        nonlocal nothing
        ours = next(
            (
                one
                for one in history["deployments"]
                if one["id"] > since and one["operation"] == command and app in {"", one["app"]}
            ),
            None,
        )
        if any(one["deployment"] for one in status["apps"]):
            nothing = 0
            return None
        if ours and ours["outcome"] in _ENDS:
            return _told(host, ours, status)
        nothing += 1
        return _left(host, ours, status) if nothing == _SURE else None

    return _until_known(there, host, [["history", *chosen], ["status", *chosen]], judge)


def what_became_of_run(there: There, host: RemoteHost, run: str, *, of_cron: bool) -> Outcome:
    """The same of a command that ran there beside the instances, as `run` (``run-7``)."""
    nothing = 0

    def judge(history: Any, status: Any) -> Outcome | None:
        nonlocal nothing
        ours: Mapping[str, Any] = next((one for one in history["runs"] if one["name"] == run), {})
        outcome, exit_ = ours.get("outcome"), ours.get("status")
        if outcome == "succeeded":
            return Outcome(host.name, State.SUCCEEDED)
        if outcome in {"failed", "timed out"}:
            ended = "It ran for too long." if exit_ is None else f"It ended with status {exit_}."
            return Outcome(host.name, State.FAILED, exit_ or 1, ended)
        goes_on = any(one["name"] == run for app in status["apps"] for one in app["runs"])
        nothing = 0 if goes_on else nothing + 1
        if outcome is None and nothing < _SURE:
            return None
        return Outcome(
            host.name,
            State.INTERRUPTED,
            1,
            f"{run} ended there, and nobody saw how: the host has lost its power, or it was killed.",
            f"`substitute history --{'cron' if of_cron else 'runs'} --on {host.name}` shows what is known.",
        )

    runs = ["history", "--cron" if of_cron else "--runs", "--lines", "100"]
    return _until_known(there, host, [runs, ["status"]], judge)


def _until_known(
    there: There,
    host: RemoteHost,
    questions: Sequence[Sequence[str]],
    judge: Callable[..., Outcome | None],
) -> Outcome:
    """Ask all until `judge` knows by the answers, or nobody could be asked for `there.lost_timeout` seconds."""
    pause, deadline = _SHORTEST, there.clock.monotonic() + there.lost_timeout
    while True:
        try:
            answers = [there.ask(host, words) for words in questions]
        except RefusedError as error:
            return _unknown(host, error.reason)
        except HostError as error:
            if there.clock.monotonic() >= deadline:
                return _unknown(host, error.reason)
        else:
            deadline = there.clock.monotonic() + there.lost_timeout
            if outcome := judge(*answers):
                return outcome
        there.clock.sleep(pause)
        pause = min(pause * 1.5, _LONGEST)


def live_of(status: Mapping[str, Any], app: str) -> tuple[str | None, str | None]:
    """The live slot and the live commit of `app` there."""
    for one in status["apps"]:
        if one["name"] == app and one["live"]:
            return one["live"], one["slots"][one["live"]]["commit"]
    return None, None


def _told(host: RemoteHost, ours: Mapping[str, Any], status: Mapping[str, Any]) -> Outcome:
    state, exit_ = _ENDS[ours["outcome"]]
    live, commit = live_of(status, ours["app"])
    return Outcome(
        host.name,
        state,
        4 if exit_ == 1 and live is None else exit_,
        f"{ours['phase']}: {ours['reason']}".removeprefix(": ") if not state.is_good else "",
        live=live,
        commit=commit,
        deployment=ours["id"],
    )


def _left(host: RemoteHost, ours: Mapping[str, Any] | None, status: Mapping[str, Any]) -> Outcome:
    """Nothing is under way there, and the journal has no end of it."""
    if ours is None:
        return Outcome(
            host.name, State.NOT_BEGUN, 1, "The connection was lost, and no deployment has begun there since."
        )
    live, commit = live_of(status, ours["app"])
    return Outcome(
        host.name,
        State.INTERRUPTED,
        1,
        f"Deployment {ours['id']} there was cut off in phase {ours['phase']}: the host has lost its power, "
        "or the deployer was killed.",
        f"`substitute up --on {host.name}` settles it; so does the next deployment.",
        live=live,
        commit=commit,
        deployment=ours["id"],
    )


def _unknown(host: RemoteHost, why: str) -> Outcome:
    return Outcome(
        host.name,
        State.UNKNOWN,
        None,
        f"The connection was lost, and it could not be asked since what became of it. {why}".strip(),
        f"What had begun there goes on, and settles by itself. `substitute status --on {host.name}` asks again.",
    )
