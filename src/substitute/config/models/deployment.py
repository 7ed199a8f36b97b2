"""How a deployment goes, and what `check` has under way.

[app.NAME.drain], [app.NAME.drain.streams], [app.NAME.standby], [app.NAME.replay], [app.NAME.canary],
[app.NAME.stop], [app.NAME.check], [app.NAME.verify], [app.NAME.hooks].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.config.tables import Inner, List, Refused, Table, key, optional
from substitute.config.values import (
    Duration,
    DurationOrForever,
    HealthPath,
    Pages,
    Percent,
    PositiveDuration,
    Rate,
    Steps,
    Switch,
    choice,
    parse_step,
)
from substitute.core.model.app_settings import Canary, CanaryStep, Replay
from substitute.core.model.programs import STOP_SIGNALS

if TYPE_CHECKING:
    from collections.abc import Collection

Prefixes = List(HealthPath, 'a list of paths, such as ["/assets/"]')


class StreamsConfig(Table):
    """WebSockets and event streams end group after group; without it they are waited for (docs/progressive.md)."""

    after = key(
        Duration,
        "How long after new requests go elsewhere the first ones are ended.",
        example="5s",
    )
    over = key(
        Duration,
        "How long it takes until the last ones are ended. If `after` and `over` together are longer than "
        "`drain.timeout`, the old instance is told to stop that much later.",
        example="30s",
    )


class DrainConfig(Table):
    """How the old instance finishes its requests, once new ones go elsewhere."""

    timeout = key(
        Duration,
        "How long substitute waits for requests and connections in flight before the old instance is told to "
        "stop. The wait ends as soon as there are none.",
        default="30s",
    )
    background = key(
        Switch,
        "Whether the command ends before that: a background process waits, and stops the old instance. A deployment "
        "that comes meanwhile waits for it, for a minute at most.",
        default=False,
    )
    streams = optional(Inner(StreamsConfig), "")


class StandbyConfig(Table):
    """The version before, which may run on without requests: a rollback to it starts nothing."""

    keep = key(
        DurationOrForever,
        "How long it runs on after a deployment. It ends earlier when its slot is needed, with `standby end`, and "
        "after a reboot. Its workers are stopped; its web instances keep their memory. `forever`: until its slot is "
        "needed.",
        default="0s",
        example="15m",
    )
    freeze = key(
        Switch,
        "Whether it gets no processor time meanwhile. Needs systemd and cgroup v2.",
        default=False,
    )


class ReplayConfig(Table):
    """Pages that clients asked for lately, asked of both versions before anybody meets the new one. Needs HAProxy."""

    last = key(
        Pages,
        "How many different pages at most: those that HAProxy remembers, the most frequent first. Only GET, without "
        "query and cookies. They are asked for without an order of yours, so **a GET must change nothing**. `0`: none.",
        default=0,
        example=200,
    )
    fail = key(
        Switch,
        "Whether the deployment fails if a page is answered otherwise: 2xx, 3xx, 4xx and 5xx are told apart, and an "
        "answer that takes three times as long and half a second more. By default the differences are listed only.",
        default=False,
    )
    timeout = key(
        PositiveDuration, "For all pages together. What is left then is not asked for.", default="60s"
    )
    skip = key(
        Prefixes,
        "Pages whose path begins with one of these are not asked for: files whose names change with each build are "
        "missing in another version.",
        default=("/assets/", "/static/", "/build/", "/packs/", "/_next/static/", "/_nuxt/", "/_app/"),
    )

    def resolved(self) -> Replay:
        """It for the core."""
        return Replay(self.last, self.fail, self.timeout, self.skip)


class CanaryConfig(Table):
    """Clients come to the new version step by step, in the place of [app.NAME.verify]. Needs HAProxy."""

    steps = key(
        Steps,
        "The share of the clients that come to the new version, and for how long. A client stays with the version that "
        "it met. After the last step the version is live. Empty: no canary.",
        default=(),
        example=("5% 2m", "25% 5m"),
    )
    judge = key(
        Switch,
        "Whether failures and response times of both versions are compared. A version that is worse beyond chance is "
        "stopped at once, and the deployment fails. See docs/canary.md.",
        default=True,
    )
    synthetic = key(
        Rate,
        "Requests that substitute sends besides those of your clients, where these are few: GETs of the pages in "
        "`health.warm`, through HAProxy, with `health.headers`. A part of them comes to the new version, as of "
        "clients.",
        default="",
        example="50/s",
    )
    on_little_traffic = key(
        choice("go-on", "stop"),
        "What happens after the last step if it is shown neither that the new version is worse nor that it is not.",
        default="go-on",
    )

    def agree(self, written: Collection[str]) -> None:  # noqa: ARG002  of the base
        """Who has met the new version stays with it: its share only grows."""
        shares = [parse_step(step)[0] for step in self.steps]
        if shares != sorted(set(shares)):
            raise Refused(
                f"the shares of steps = {list(self.steps)} do not grow: who has met the new version stays with it"
            )

    def resolved(self) -> Canary:
        """It for the core."""
        return Canary(
            tuple(CanaryStep(*parse_step(step)) for step in self.steps),
            self.judge,
            float(self.synthetic.removesuffix("/s") or 0),
            self.on_little_traffic == "stop",
        )


class StopConfig(Table):
    """How an instance ends."""

    signal = key(
        choice(*STOP_SIGNALS),
        "The signal by which the main process is told to finish its work and exit. php-fpm, unicorn and nginx take "
        "SIGTERM for an order to stop at once: they need `SIGQUIT`. docs/sigterm.md says what others need.",
        default="SIGTERM",
        example="SIGQUIT",
    )
    timeout = key(Duration, "The time between that signal and SIGKILL.", default="30s")


class CheckConfig(Table):
    """What `substitute check` has under way when it sends the signal of `stop.signal`. See docs/sigterm.md."""

    slow = optional(
        HealthPath,
        "A path whose answer takes the app a second or more. It must be answered in full all the same.",
        example="/reports/year",
    )
    large = optional(
        HealthPath,
        "A path whose answer has 100 KB or more. It is read only after the signal, as by a slow client.",
        example="/export.csv",
    )
    upload = optional(
        HealthPath,
        "A path that takes a POST. Its body is held back until after the signal.",
        example="/upload",
    )


class VerifyConfig(Table):
    """A time in which both versions share the traffic, before the new one becomes live."""

    duration = key(
        Duration,
        "How long. The new version must stay up and ready. If it does not, the old one goes on serving.",
        default="0s",
        alias="for",
    )
    share = key(
        Percent,
        "The percentage of requests that the new version gets. With 100 it gets all of them at once: then a page and "
        "its scripts always come from one version. But one that fails under real requests fails all of them, until "
        "the old version has them back.",
        default=50,
    )


class HooksConfig(Table):
    """Your own programs at ten points of a deployment."""

    timeout = key(PositiveDuration, "A hook that runs longer is ended, and has failed.", default="10m")
