"""What pods write, read from the API: of all pods of a name, and of several lives of each."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from datetime import UTC, datetime
from heapq import merge
from typing import TYPE_CHECKING

from substitute.core.model.errors import RuntimeFailedError
from substitute.runtimes.kubernetes.pods import has_begun, restarts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from substitute.runtimes.kubernetes.api import Api
    from substitute.runtimes.kubernetes.pods import Pod

BEGINNING = 0
"""Before whatever was written."""
_PAUSE = 0.3
"""Seconds between two looks: each is a question to the API server for each pod."""
_SEVERAL = 10
"""Characters of a pod's name that tell it from the others, where several write."""

_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")
_SECOND = 1_000_000_000
Line = tuple[int, str]
"""When it was written, in nanoseconds since the epoch, and what."""


def now() -> int:
    """This moment, as the time of a line is counted."""
    return time.time_ns()


def moment(stamp: str) -> int | None:
    """The time that a node has written before a line, in nanoseconds since the epoch; None where it is none.

    Each node writes the time of its own zone.
    """
    if found := _STAMP.fullmatch(stamp):
        second, fraction, zone = found.groups(default="")
        with suppress(ValueError):
            whole = round(datetime.fromisoformat(second + zone).timestamp())
            return whole * _SECOND + int(fraction.ljust(9, "0"))
    return None


def last(api: Api, pods: Iterable[Pod], count: int) -> list[str]:
    """The last `count` lines of `pods`, in the order in which they were written. Raises as the API does."""
    if not count:
        return []
    found: list[list[Line]] = []
    for pod in pods:
        for life in _lives(pod):
            found.append(_lines(api, pod, {"tailLines": str(count), **life}))  # noqa: PERF401
    return [text for _, text in merge(*found)][-count:]


class Written:
    """The lines of whatever pods have a name, from a moment on, each once (see `core.ports.runtime.Log`)."""

    def __init__(self, api: Api, look: Callable[[], Sequence[Pod]], since: int) -> None:
        """`look` gives the pods of the name; `since` is in nanoseconds since the epoch."""
        self._api = api
        self._look = look
        self._since = since
        self._read: dict[str, int] = {}
        """When the latest line was written that was read, by pods."""
        self._next = 0.0

    def lines(self, *, ended: bool = False) -> list[str]:
        """What came since the previous call; not asked too often."""
        if time.monotonic() < self._next and not ended:
            return []
        found: list[list[Line]] = []
        with suppress(RuntimeFailedError):
            pods = self._look()
            for pod in pods:
                name = pod["metadata"]["name"]
                since = self._read.get(name, self._since)
                fresh = [
                    line
                    for life in _lives(pod)
                    for line in _lines(self._api, pod, {"sinceTime": _second(since), **life})
                    if line[0] > since
                ]
                if fresh:
                    self._read[name] = fresh[-1][0]
                    several = f"{name[-_SEVERAL:]} | " if len(pods) > 1 else ""
                    found.append([(when, f"{several}{text}") for when, text in fresh])
        self._next = time.monotonic() + _PAUSE
        return [text for _, text in merge(*found)]


def _lives(pod: Pod) -> list[dict[str, str]]:
    """How the API is asked for each life of its container that it has a log of: the one before, and the present one."""
    before = [{"previous": "true"}] if restarts([pod]) else []
    return [*before, {}] if has_begun(pod) else []


def _lines(api: Api, pod: Pod, query: dict[str, str]) -> list[Line]:
    """Nothing where the log is gone, or has not begun."""
    with suppress(RuntimeFailedError):
        told = api.log(pod["metadata"]["name"], timestamps="true", **query)
        cut = (line.partition(" ") for line in told.split("\n"))
        return [(when, text.rstrip("\r")) for stamp, _, text in cut if (when := moment(stamp)) is not None]
    return []


def _second(when: int) -> str:
    """Its whole second, as the API is asked: it takes nothing finer."""
    return datetime.fromtimestamp(when // _SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
