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

BEGINNING = "1970-01-01T00:00:00Z"
"""Before whatever was written."""
_PAUSE = 0.3
"""Seconds between two looks: each is a question to the API server for each pod."""
_SEVERAL = 10
"""Characters of a pod's name that tell it from the others, where several write."""

_STAMP = re.compile(r"\d{4}-\d\d-\d\dT")
Line = tuple[str, str]
"""When it was written, as text that is ordered as time is, and what."""


def now() -> str:
    """This moment, as the API writes times."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


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

    def __init__(self, api: Api, look: Callable[[], Sequence[Pod]], since: str) -> None:
        """`look` gives the pods of the name."""
        self._api = api
        self._look = look
        self._since = since
        self._read: dict[str, str] = {}
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
        return [(when, text.rstrip("\r")) for when, _, text in cut if _STAMP.match(when)]
    return []


def _second(when: str) -> str:
    """Its whole second: the API takes nothing finer."""
    return f"{when[:19]}Z"
