"""Many hosts as tables."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from substitute.console.tables import moment, or_dash, table
from substitute.console.text import harmless, seconds, short
from substitute.hosts.errors import HostError
from substitute.hosts.outcomes import State

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from substitute.console.tables import Paint
    from substitute.hosts.channel import RemoteHost
    from substitute.hosts.outcomes import Outcome

    Answers = Mapping[str, Any]

_STATES = {
    "live": "green",
    "failed": "red",
    "idle": "yellow",
    "not asked": "red",
    "nothing live": "yellow",
}
_OUTCOMES = {
    State.SUCCEEDED: "green",
    State.UNCHANGED: "green",
    State.HELD: "cyan",
    State.FAILED: "red",
    State.REFUSED: "yellow",
    State.INTERRUPTED: "yellow",
    State.UNREACHABLE: "red",
    State.UNKNOWN: "red",
    State.NOT_BEGUN: "dim",
}


def documents(hosts: Sequence[RemoteHost], answers: Answers, what: str) -> dict[str, Any]:
    """The answers of all as one document; of a host that could not be asked, why."""
    return {
        "hosts": [
            {
                "name": host.name,
                "destination": host.destination,
                **_answered(answers[host.name], what),
            }
            for host in hosts
        ]
    }


def _answered(answer: Any, what: str) -> dict[str, Any]:
    if isinstance(answer, HostError):
        told = {"kind": answer.kind, "reason": answer.reason, "cure": answer.cure}
        return {"answered": False, what: None, "error": told}
    return {"answered": True, what: answer, "error": None}


def status_lines(hosts: Sequence[RemoteHost], answers: Answers, paint: Paint) -> Iterator[str]:
    """A line for each app on each host, and what somebody should look at."""
    apps = {one["name"] for answer in _given(answers) for one in answer["apps"]}
    heads = (
        "host",
        *(("app",) if len(apps) > 1 else ()),
        "state",
        "slot",
        "commit",
        "share",
        "in flight",
        "up",
    )
    rows, told = list[tuple[str, ...]](), list[str]()
    for host in hosts:
        answer = answers[host.name]
        if isinstance(answer, HostError):
            rows.append((host.name, *(("-",) if len(apps) > 1 else ()), "not asked", *("-",) * 5))
            told += [paint(line, "red") for line in _error_lines(host.name, answer)]
            continue
        for app in answer["apps"]:
            rows.append((host.name, *((app["name"],) if len(apps) > 1 else ()), *_live(app)))
            told += [f"{host.name}: {harmless(one)}" for one in _worth_telling(app)]
        problems = answer["configuration"]["problems"]
        told += [f"{host.name}: substitute.toml: {harmless(one)}" for one in problems]
    yield from table(heads, rows, paint, styles={heads.index("state"): _STATES}, indent="")
    yield from told
    yield from _several_versions(answers, paint)
    if failed := [name for name, one in answers.items() if not isinstance(one, HostError) and _is_out(one)]:
        yield paint(f"out of service: {', '.join(failed)}", "red")


def _is_out(status: Mapping[str, Any]) -> bool:
    return bool(status.get("out_of_service"))


def _given(answers: Answers) -> list[Any]:
    return [one for one in answers.values() if not isinstance(one, HostError)]


def _live(app: Mapping[str, Any]) -> tuple[str, ...]:
    if not app["live"]:
        return ("nothing live", *("-",) * 5)
    slot = app["slots"][app["live"]]
    up = "-" if slot["up_seconds"] is None else seconds(slot["up_seconds"])
    share = "-" if slot["share"] is None else f"{slot['share']}%"
    return slot["state"], app["live"], short(slot["commit"]), share, or_dash(slot["in_flight"]), up


def _worth_telling(app: Mapping[str, Any]) -> Iterator[str]:
    if going := app["deployment"]:
        yield (
            f"deployment {going['id']}: {going['operation']} of {short(going['commit'])} to slot {going['slot']}, "
            f"now in {going['phase']}"
        )
    for lock in app["locks"]:
        yield f"locked by {lock['by']}: {lock['text']}"
    if held := app["held"]:
        yield f"{short(held['commit'])} is held in slot {held['slot']}"
    if app["stopped"]:
        yield f"{app['name']} is stopped"


def _several_versions(answers: Answers, paint: Paint) -> Iterator[str]:
    """Where the hosts do not all have the same version, who has which."""
    live: dict[str, dict[str, list[str]]] = {}
    for name, answer in answers.items():
        for app in () if isinstance(answer, HostError) else answer["apps"]:
            if app["live"]:
                commit = app["slots"][app["live"]]["commit"]
                live.setdefault(app["name"], {}).setdefault(short(commit), []).append(name)
    for app, versions in live.items():
        if len(versions) > 1:
            each = "; ".join(f"{commit} on {', '.join(names)}" for commit, names in versions.items())
            yield paint(f"{app} has {len(versions)} versions: {each}", "yellow")


def history_lines(
    hosts: Sequence[RemoteHost], answers: Answers, paint: Paint, *, limit: int
) -> Iterator[str]:
    """The deployments of all, the latest first."""
    found = [
        (host.name, one)
        for host in hosts
        if not isinstance(answers[host.name], HostError)
        for one in answers[host.name]["deployments"]
    ]
    found.sort(key=lambda pair: str(pair[1]["started"]), reverse=True)
    with_app = len({one["app"] for _, one in found}) > 1
    heads = (
        "when",
        "host",
        "id",
        *(("app",) if with_app else ()),
        "operation",
        "commit",
        "outcome",
        "user",
        "subject",
    )
    rows = [
        (
            moment(datetime.fromisoformat(one["started"]).timestamp()),
            name,
            str(one["id"]),
            *((one["app"],) if with_app else ()),
            one["operation"],
            short(one["commit"]),
            one["outcome"] or "under way",
            harmless(one["user"]) or "-",
            harmless(one["subject"]),
        )
        for name, one in found[:limit]
    ]
    if rows:
        styles = {"succeeded": "green", "failed": "red", "interrupted": "yellow"}
        yield from table(heads, rows, paint, styles={heads.index("outcome"): styles}, indent="")
    else:
        yield "No deployment yet."
    yield from error_lines(answers, paint)


def error_lines(answers: Answers, paint: Paint) -> Iterator[str]:
    """Which hosts could not be asked, and why."""
    for name, answer in answers.items():
        if isinstance(answer, HostError):
            yield from (paint(line, "red") for line in _error_lines(name, answer))


def _error_lines(name: str, error: HostError) -> Iterator[str]:
    first, *more = error.reason.splitlines()
    yield harmless(first if first.startswith(name) else f"{name}: {first}")
    yield from (f"  {harmless(line)}" for line in (*more, *error.cure.splitlines()))


def setup_lines(hosts: Sequence[RemoteHost], answers: Answers, paint: Paint) -> Iterator[str]:
    """What each host has, or was given."""
    for host in hosts:
        answer = answers[host.name]
        if not isinstance(answer, HostError):
            told = "; ".join(f"{what}: {harmless(done)}" for what, done in answer.items())
            yield f"{paint(host.name, 'bold')}: {told}"
    yield from error_lines(answers, paint)


def outcome_lines(outcomes: Sequence[Outcome], paint: Paint, *, with_status: bool = False) -> Iterator[str]:
    """What is where, when a command is over; `with_status` also with which exit status it ended there."""
    heads = ("host", "outcome", "status", "live", "commit", "took")
    rows = [
        (
            one.host,
            str(one.state),
            or_dash(one.exit) if with_status and one.state.has_ended else "-",
            one.live or "-",
            short(one.commit),
            "-" if one.seconds is None else seconds(one.seconds),
        )
        for one in outcomes
    ]
    styles = {str(state): style for state, style in _OUTCOMES.items()}
    told = [at for at in range(len(heads)) if at < 2 or any(row[at] != "-" for row in rows)]
    chosen = [tuple(row[at] for at in told) for row in rows]
    yield from table([heads[at] for at in told], chosen, paint, styles={1: styles}, indent="")
