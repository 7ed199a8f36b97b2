"""``status`` as a table, and what any table is made of."""

from __future__ import annotations

import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from substitute.console.text import harmless, seconds, short

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    Paint = Callable[[str, str], str]

_STATE_STYLE = {
    "live": "green",
    "candidate": "cyan",
    "draining": "yellow",
    "standby": "cyan",
    "held": "cyan",
    "idle": "dim",
    "failed": "red",
}


def status_lines(document: Mapping[str, Any], paint: Paint) -> Iterator[str]:
    """Yield the lines of ``substitute status`` for its ``--json`` document."""
    for app in document["apps"]:
        yield f"{paint(app['name'], 'bold')}: {_serves(app)}, next deploy to {app['next_deploy']}"
        yield from (paint(f"  {told}", "yellow") for told in _restrictions(app))
        yield from _slot_table(app["slots"], paint)
        yield from _instance_table(app["slots"], paint)
        for name, slot in app["slots"].items():
            if slot.get("adopted"):
                yield f"  slot {name} was adopted: {harmless(slot['adopted'])}"
            yield from _failure(name, slot, paint)
        for run in app.get("runs") or ():
            yield paint(f"  {_run(run)}", "cyan")
        yield from _held(app.get("held"), paint)
        yield from _rollback(app.get("rollback"), paint)
        yield from _kept(app)
        if under_way := app.get("deployment"):
            yield paint(f"  {_under_way(under_way)}", "cyan")
        yield ""
    if failed := document.get("out_of_service"):
        yield paint(f"out of service: {', '.join(failed)}", "red")
    balancer = document["balancer"]
    yield from _balancer(balancer, paint)
    for guest in document.get("guests") or ():
        state = f"pid {guest['pid']}, up {seconds(guest['up_seconds'])}" if guest["pid"] else "not running"
        yield f"guest: {guest['name']} on port {guest['port']}, {state}, in {harmless(guest['directory'])}"
    if runtime := document.get("runtime"):
        told = f", {_running(runtime, paint)}" if "running" in runtime else ""
        advice = f" ({runtime['advice']})" if runtime.get("advice") else ""
        engine = f", containers by {runtime['engine']}" if runtime.get("engine") else ""
        yield f"runtime: {runtime['kind']}{engine}{told}{advice}"
    yield from _machine(document, paint)


def _restrictions(app: Mapping[str, Any]) -> Iterator[str]:
    """What keeps an app from being deployed."""
    if app.get("removed"):
        cure = f"`substitute down -a {app['name']}` stops it for good"
        yield f"not in substitute.toml any more; {cure}"
    for lock in app.get("locks") or ():
        cure = f"`substitute unlock{' -a ' + app['name'] if lock['app'] else ''}`"
        since = moment(datetime.fromisoformat(lock["since"]).timestamp())
        yield harmless(f"locked by {lock['by']} since {since}: {lock['text']} ({cure})")


def _held(held: Mapping[str, Any] | None, paint: Paint) -> Iterator[str]:
    """What waits for a person."""
    if held:
        until = moment(datetime.fromisoformat(held["until"]).timestamp())
        told = f"{short(held['commit'])} is held in slot {held['slot']} until {until}"
        yield paint(f"  {told} (`substitute promote`, `substitute abort`)", "cyan")
        yield from previewed(held["links"], held["token"])


def previewed(links: Iterable[str], token: str) -> Iterator[str]:
    """How somebody gets what is held."""
    for link in links:
        yield f"  to look at it: {link}"
    if links:
        yield f"  or send the header X-Substitute-Preview: {token}"
    else:
        yield "  this balancer cannot lead anybody to it before it is promoted"


def _rollback(rollback: Mapping[str, Any] | None, paint: Paint) -> Iterator[str]:
    """What it would be now."""
    if rollback is None:
        return
    commit, took = short(rollback["commit"]), rollback["seconds"]
    about = f", about {seconds(took)}" if took else ""
    until = rollback["until"] and moment(datetime.fromisoformat(rollback["until"]).timestamp())
    limit = f" (until {until})" if until else ""
    match rollback["kind"]:
        case "refused":
            yield paint(f"  no rollback to {commit}: {rollback['refused']}", "yellow")
        case "instant":
            yield f"  rollback to {commit}: instant{limit}"
        case "noticed":
            yield (
                f"  rollback to {commit}: starts nothing{limit}, but your balancer notices only after at least "
                f"{seconds(took)} (balancer.fail_timeout)"
            )
        case "cold":
            yield f"  rollback to {commit}: starts it{about}"
        case _:
            yield f"  rollback to {commit}: needs a build{about}"


def _machine(document: Mapping[str, Any], paint: Paint) -> Iterator[str]:
    """Whom code runs as, and what becomes of the root after a reboot."""
    for name in document.get("as_root") or ():
        yield paint(
            f"as root: the build, the hooks and the app of {name} (set app.{name}.user to another user)",
            "yellow",
        )
    if boot := document.get("boot"):
        unknown = paint("after a reboot nothing comes back by itself (`substitute install`)", "yellow")
        yield f"boot: {boot['where'] or unknown}"


def _kept(app: Mapping[str, Any]) -> Iterator[str]:
    """The versions that are there as they were built, beside the slots' own."""
    if more := set(app.get("kept") or ()) - {slot["commit"] for slot in app["slots"].values()}:
        yield f"  also kept as built: {', '.join(sorted(map(short, more)))} (`substitute rollback COMMIT`)"


def _serves(app: Mapping[str, Any]) -> str:
    """What is live, as observed."""
    live = app["live"]
    if not live:
        return "nothing is live"
    state = app["slots"][live]["state"]
    if app["slots"][live].get("crash_looping"):
        looping = [one["name"] for one in app["slots"][live]["instances"] if one["crash_looping"]]
        who = "" if state == "failed" else f", and {', '.join(looping)}"
        return f"slot {live} is live{who or ' and'} crashes again and again"
    if state == "failed":
        return f"slot {live} should be live and does not work"
    if state == "idle" and app.get("stopped"):
        return (
            f"stopped by hand (`substitute restart -a {app['name']}` makes slot {live}'s commit live again)"
        )
    if state == "idle":
        return f"nothing runs (`substitute up` starts slot {live})"
    return f"slot {live} is live"


def _balancer(balancer: Mapping[str, Any], paint: Paint) -> Iterator[str]:
    fronts = balancer.get("listens") or ([balancer["listen"]] if balancer["listen"] else [])
    if balancer["kind"] == "haproxy" or not fronts:
        place = f" on {' and '.join(fronts)}" if fronts else ""
        yield f"balancer: {balancer['kind']}{place}, {_running(balancer, paint)}"
    else:
        yield f"balancer: {balancer['kind']}, {_running(balancer, paint)}"
        yield f"  HAProxy, which was the balancer before, still answers on {' and '.join(fronts)}"
    configured = balancer.get("configured")
    if configured and configured not in fronts:
        yield paint(
            f"  substitute.toml says {configured}: `substitute up` makes it answer there too", "yellow"
        )


def _slot_table(slots: Mapping[str, Mapping[str, Any]], paint: Paint) -> Iterator[str]:
    heads = ("slot", "state", "commit", "port", "pid", "share", "in flight", "up")
    rows = [
        (
            name,
            str(slot["state"]),
            short(slot["commit"]),
            str(slot["port"]),
            or_dash(slot["pid"]),
            f"{slot['share']}%" if slot["share"] is not None else "-",
            or_dash(slot["in_flight"]),
            _up(slot),
        )
        for name, slot in slots.items()
    ]
    yield from table(heads, rows, paint, styles={1: _STATE_STYLE})


def _instance_table(slots: Mapping[str, Mapping[str, Any]], paint: Paint) -> Iterator[str]:
    """Each instance, where a slot has more than one; of a slot that gets no requests those that run."""
    several = [
        one
        for slot in slots.values()
        if len(slot.get("instances") or ()) > 1
        for one in slot["instances"]
        if one["pid"] or slot["state"] not in {"idle", "draining"}
    ]
    rows = [
        (
            str(one["name"]),
            _condition(one),
            or_dash(one["port"]),
            or_dash(one["pid"]),
            _up(one),
        )
        for one in several
    ]
    if rows:
        styles = {"running": "green", "not running": "red", "crash-loops": "red"}
        yield from table(("instance", "state", "port", "pid", "up"), rows, paint, styles={1: styles})
    for one in filter(lambda one: one.get("last_exit"), several):
        yield paint(f"  {one['name']} ended, last by {one['last_exit']}", "red")


def _condition(instance: Mapping[str, Any]) -> str:
    if instance["crash_looping"]:
        return "crash-loops"
    return "running" if instance["up_seconds"] is not None else "not running"


def _failure(name: str, slot: Mapping[str, Any], paint: Paint) -> Iterator[str]:
    """What is known of a slot that should serve and does not, or not with all of it."""
    for one in slot.get("instances") or ():
        if one.get("awaited") and slot["state"] != "idle":
            yield paint(f"  {one['name']}: {one['awaited']}", "yellow")
    if slot["state"] != "failed":
        return
    ended = f", last by {slot['last_exit']}" if slot.get("last_exit") else ""
    if slot.get("crash_looping"):
        started = datetime.fromisoformat(slot["started"]).timestamp() if slot.get("started") else None
        since = f" since its deployment of {moment(started)}" if started else ""
        yield paint(f"  slot {name} crash-loops: it crashed {slot['restarts']} times{since}{ended}", "red")
    elif ended:
        yield paint(f"  slot {name} ended{ended.removeprefix(', last')}", "red")
    for line in slot.get("last_words") or ():
        yield f"    {name} | {harmless(line)}"


def moment(when: float) -> str:
    """Return a time, in seconds since the epoch, as local time."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))


def _up(slot: Mapping[str, Any]) -> str:
    if slot["up_seconds"] is None:
        return "-"
    restarts = slot.get("restarts")  # by itself: it crashed
    return seconds(slot["up_seconds"]) + (f", crashed {restarts}x" if restarts else "")


def _run(run: Mapping[str, Any]) -> str:
    """A command that runs beside the instances."""
    since = moment(datetime.fromisoformat(run["since"]).timestamp())
    by = f"cron {run['cron']}" if run["cron"] else f"by {run['user']}"
    return harmless(
        f"{run['name']} in slot {run['slot']}: {run['command']} (pid {run['pid']}), {by}, since {since}"
    )


def _under_way(deployment: Mapping[str, Any] | int) -> str:
    if isinstance(deployment, int):
        return f"deployment {deployment} is under way"
    where = f" to slot {deployment['slot']}" if deployment.get("slot") else ""
    phase = f", now in {deployment['phase']}" if deployment.get("phase") else ""
    pid = f" (pid {deployment['pid']})" if deployment.get("pid") else ""
    what = f"{deployment.get('operation', 'deploy')} of {short(deployment.get('commit'))}"
    return f"deployment {deployment.get('id')}: {what}{where}{phase}{pid}"


def _running(part: Mapping[str, Any], paint: Paint) -> str:
    if part["running"] is None:
        return paint("not observed", "yellow")
    return paint("running", "green") if part["running"] else paint("not running", "red")


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    paint: Paint,
    *,
    styles: Mapping[int, Mapping[str, str]],
    indent: str = "  ",
) -> Iterator[str]:
    """Yield `rows` below their `heads`, in columns; `styles` has those of a column's cells."""
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    padded = [head.ljust(width) for head, width in zip(heads, widths, strict=True)]
    yield paint((indent + "  ".join(padded)).rstrip(), "dim")
    for row in rows:
        cells = [
            paint(cell.ljust(width), styles.get(number, {}).get(cell, ""))
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield (indent + "  ".join(cells)).rstrip()


def or_dash(value: object) -> str:
    """Return `value` as text, or ``-`` for None."""
    return "-" if value is None else str(value)
