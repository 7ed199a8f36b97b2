"""The words that commands, messages and documents use: ``substitute help words``, and ``docs/glossary.md``.

python -m substitute.cli.glossary > docs/glossary.md
"""

from __future__ import annotations

import sys
import textwrap
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS = {
    "adopt": "Make an app that runs already the live version, without touching it.",
    "balancer": "The program that forwards clients' requests to your app: HAProxy, nginx, Traefik, or another "
    "one.",
    "candidate": "The new version while its deployment is running.",
    "check": "The SIGTERM test: does your app finish its requests when it is told to stop?",
    "cron": "A command of a version that runs at fixed times. Its *scheduler* is a process which the runtime keeps.",
    "drill": "An operation under load that counts the requests that fail.",
    "front door": "The address at which clients reach the balancer: `listen` of an HAProxy that substitute "
    "runs, or your own balancer's address.",
    "gate": 'With `kind = "passive"`: nftables rules that redirect new connections to the live version.',
    "guardian": "A helper process of each deployment. If the deploying command is killed, it finishes or "
    "undoes the deployment within seconds.",
    "guest": "A program that you started with `substitute start` under a name of its own. It gets no traffic "
    "of an app.",
    "hook": "Your own script, run at one of ten points of a deployment.",
    "host": "A machine that `[hosts]` names, and that `--hosts` reaches over ssh. It is a root directory of its own.",
    "idle": "A slot in which nothing runs.",
    "in flight": "A request that has been sent to a version and is not answered in full.",
    "install": "Start everything after a reboot: `substitute install` writes a systemd unit or a line of "
    "cron.",
    "held": "A version that is ready and waits for a person: `deploy --hold`, then `promote` or `abort`.",
    "instance": "A running process of a version. Usually there is one; with `instances` there are several.",
    "journal": "The database `deploy/journal.db`: what is live, what is running, every deployment.",
    "live": "The version, or its slot, that gets the requests.",
    "passive": "The kind of balancer that substitute neither configures nor reloads. substitute redirects "
    "connections in the kernel instead (see *gate*).",
    "process": "A type of program of an app: `web` answers requests, others, such as `worker`, do not.",
    "ready": "An instance is ready when it has answered its health check as often as `health.successes` asks.",
    "rollout": "A deployment on several hosts, batch after batch: `substitute deploy --hosts web`.",
    "root directory": "The directory that holds `substitute.toml`. Not the root user, who is called root.",
    "run": "A command of yours that runs beside the instances of a slot: `substitute run`. It is called `run-7`, say.",
    "runtime": "The program that keeps instances running: systemd, or a supervisord that substitute starts.",
    "settle": "Finish or undo what an interrupted command left. Every command that changes something does it "
    "first, and every deployment ends with it.",
    "slot": "One of the two places of an app, `a` and `b`: a directory, a port, a version.",
    "standby": "A slot whose version runs without traffic: it was live before, and a rollback to it starts nothing "
    "(`[app.NAME.standby]`); or it was started by hand with `substitute start`.",
}

PHASES = {
    "update": "git fetches the commit into the slot that is not live.",
    "build": "Your `build` commands run there.",
    "release": "Your `release` commands run, with the new code: migrations. Only in a `deploy` of a commit that is "
    "not live.",
    "switch": 'Only with `order = "stop-first"`: requests wait in HAProxy, and the old version finishes and ends.',
    "start": "The new version starts, on the slot's port. It gets no requests.",
    "ready": "The new version must answer its health check.",
    "warm": "Only where `health.warm` names pages: each is requested once, so that caches are filled.",
    "replay": "Only with `replay.last`: pages that clients asked for lately are asked of both versions, and what "
    "differs is listed.",
    "workers": "Only for an app with processes beside `web`: they change over to the new version.",
    "reload": "Only when HAProxy must be reloaded: for a new app, or after a change of `[balancer]`.",
    "admit": "The balancer begins to send requests to the new version.",
    "canary": "Only where `canary.steps` says so: the new version meets a growing share of the clients, and is "
    "compared with the live one.",
    "verify": "The new version must stay up and ready; with `verify.for` for a while, with a part of the "
    "requests.",
    "commit": "The new version is recorded as live. Before this, every failure leaves the earlier version "
    "live.",
    "drain": "The old version gets no new requests, and finishes those that it has.",
    "stop": "The old version gets SIGTERM, and SIGKILL if it has not exited after `stop.timeout`.",
}

_SECTIONS = (
    ("Words", "word", "meaning", WORDS),
    ("The phases of a deployment", "phase", "what happens", PHASES),
)
_WIDTH = 80


def lines() -> Iterator[str]:
    """The glossary as text."""
    for title, _, _, words in _SECTIONS:
        yield f"{title}:"
        for word, meaning in words.items():
            text = meaning.replace("*", "").replace("`", "")
            yield from textwrap.wrap(
                f"{word}: {text}",
                _WIDTH,
                initial_indent="  ",
                subsequent_indent="      ",
                break_on_hyphens=False,
            )
        yield ""


def page() -> str:
    """The glossary as a document."""
    return "\n".join(_page())


def _page() -> Iterator[str]:
    yield from ("# Glossary", "", "The words of the commands, the output and these pages.", "")
    for title, first, second, words in _SECTIONS:
        yield from (f"## {title}", "", f"| {first} | {second} |", "|---|---|")
        yield from (f"| **{word}** | {meaning} |" for word, meaning in words.items())
        yield ""


if __name__ == "__main__":
    sys.stdout.write(page())
