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
    "The parts": {
        "root": "The directory that holds `substitute.toml`, and all that substitute makes. Where the user root "
        "of the system is meant, it says *as root* or *the user root*.",
        "app": "What `[app.NAME]` in `substitute.toml` describes: a repository, how to build it, how to start it, "
        "two ports.",
        "slot": "One of the two places, `a` and `b`, that an app has. Each is a directory with a clone of the "
        "repository, and a port. One serves while the next version is built in the other.",
        "instance": "The running app in a slot: `shop_a`, `shop_b`.",
        "balancer": "What sends your users' requests to the live slot: HAProxy, nginx, Traefik, or the kernel.",
        "front door": "The address in `balancer.listen`, at which the HAProxy of substitute takes requests.",
        "passive": "A kind of balancer: your own balancer lists both ports and stays as it is. The kernel "
        "redirects new connections to the live port.",
        "gate": "The rules of the kernel's firewall (nftables) that do so.",
        "runtime": "What keeps the instances running and starts one that crashed again: systemd, or a small "
        "supervisord.",
        "guest": "A program beside the apps, started with `substitute start NAME DIR PORT`. It gets no traffic "
        "from the balancer.",
        "hook": "A script of yours that runs at a fixed point of a deployment.",
        "journal": "The file `deploy/journal.db`. It says which slot is live, and what a deployment has done so "
        "far.",
        "boot unit": "What `substitute install` writes: a unit of systemd, or a line of cron, that runs "
        "`substitute up` after a reboot. It does not install substitute itself.",
    },
    "The state of a slot": {
        "live": "It serves your users.",
        "idle": "Nothing of it runs. The next version goes there.",
        "standby": "It was started by hand (`substitute start`). It runs and gets no traffic.",
        "candidate": "The new version, as long as a deployment is under way.",
        "draining": "It gets no new requests and finishes those that it has.",
        "failed": "It should be live, and does not run or does not answer.",
    },
    "The steps of a deployment": {
        "update": "Fetch the commit from git into the slot that is not live.",
        "build": "Run the commands of `build` there.",
        "start": "Start the instance on its own port. It gets no traffic yet.",
        "ready": "Wait until it answers its health check.",
        "reload": "Where the balancer needs a new configuration: load it.",
        "admit": "Let the new version have its traffic.",
        "verify": "Watch it for a while with real requests (`verify`).",
        "commit": "The moment at which the new version becomes the live one. Before it, any failure leaves the "
        "old version live; after it, the old one is stopped. (A *commit* with a name, as in `deploy "
        "COMMIT`, is git's.)",
        "drain": "Wait until the old version has finished its requests.",
        "stop": "SIGTERM to the old version, and SIGKILL when `stop.timeout` has passed.",
        "settle": "Finish or undo what an interrupted command left. Every command does this first.",
        "guardian": "A helper process that settles within seconds if the deployment itself is killed.",
        "in flight": "A request that was sent and is not yet answered.",
        "share": "The part of new requests, in percent, that a slot gets.",
    },
    "Commands whose names may mislead": {
        "check": "A SIGTERM test of the app: it is built and started without traffic, gets SIGTERM, and must "
        "finish its requests. It is not a check of the configuration; that is `substitute config`.",
        "drill": "A deployment under load that is sent to the front door, with a report of each failed request.",
        "adopt": "Make the app that runs already the live version.",
        "install": "Have everything come back after a reboot.",
    },
}
"""The sections of the glossary, each with its words."""

_WIDTH = 80


def lines() -> Iterator[str]:
    """The glossary as text."""
    for title, section in WORDS.items():
        yield f"{title}:"
        for word, meaning in section.items():
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
    return "\n".join(_page()).rstrip() + "\n"


def _page() -> Iterator[str]:
    yield "# Glossary"
    yield ""
    yield "<!-- By `python -m substitute.cli.glossary > docs/glossary.md`; `substitute help words` shows the same. -->"
    yield ""
    for title, section in WORDS.items():
        yield f"## {title}"
        yield ""
        for word, meaning in section.items():
            yield f"- **{word}**: {meaning}"
        yield ""


if __name__ == "__main__":
    sys.stdout.write(page())
