"""One question to one host, and the same to all at once."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from substitute.hosts.answers import document_of, failure, silent
from substitute.hosts.channel import SilentError
from substitute.hosts.errors import HostError, UnreachableError
from substitute.values import dataclass

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from substitute.core.ports.clock import Clock
    from substitute.hosts.channel import RemoteHost, Transport

T = TypeVar("T")

_TRIES = 4
_PAUSE = 0.3
"""Seconds before the second try, on average; twice as long before each one after that."""


@dataclass(frozen=True)
class There:
    """Where the root is on each host, and how long it is waited for."""

    transport: Transport
    clock: Clock
    root: str
    answer_timeout: float = 30.0
    lost_timeout: float = 120.0

    def ask(self, host: RemoteHost, words: Sequence[str], *, patience: float | None = -1) -> Any:
        """The document that `substitute WORDS --json` prints there. Raises HostError.

        `status --check` has one even where its status is not 0. It may take `patience` seconds, by default
        `answer_timeout`; None is as long as the connection lives.
        """
        limit = self.answer_timeout if patience == -1 else patience
        return self.connecting(lambda: self._ask(host, words, limit))

    def connecting(self, attempt: Callable[[], T]) -> T:
        """What `attempt` returns; it is made again where the other side was only too busy to take the connection."""
        for number in range(_TRIES):
            try:
                return attempt()
            except UnreachableError as error:
                if not error.passing or number == _TRIES - 1:
                    raise
                self.clock.sleep(_PAUSE * 2**number * random.uniform(0.5, 1.5))  # noqa: S311  # nosec B311 # no secret
        raise AssertionError  # the last try returns or raises

    def _ask(self, host: RemoteHost, words: Sequence[str], limit: float | None) -> Any:
        channel, lines = self.transport.run(host, ["-C", self.root, *as_json(words)]), []
        deadline = None if limit is None else self.clock.monotonic() + limit

        def left() -> float | None:
            return None if deadline is None else max(0.001, deadline - self.clock.monotonic())

        try:
            while (line := channel.line(left())) is not None:
                lines.append(line)
        except SilentError:
            raise silent(host, self.answer_timeout) from None
        finally:
            ended = channel.close()
        found = document_of(lines)
        is_answer = found is not None and not (isinstance(found, dict) and found.get("event") == "error")
        if ended.status is not None and is_answer:
            return found
        raise failure(host, ended, lines, heard=bool(lines))


def as_json(words: Sequence[str]) -> list[str]:
    """The words of a command that is to print JSON: what stands behind ``--`` is none of its options."""
    return [words[0], "--json", *words[1:]]


def at_once(hosts: Sequence[RemoteHost], work: Callable[[RemoteHost], T]) -> Mapping[str, T | HostError]:
    """What `work` returns for each, by its name, or the HostError that it raised. All are worked on at once."""
    found: dict[str, T | HostError] = {}
    bugs: list[BaseException] = []

    def one(host: RemoteHost) -> None:
        try:
            found[host.name] = work(host)
        except HostError as error:
            found[host.name] = error
        except BaseException as error:  # noqa: BLE001  # it is raised where somebody sees it
            bugs.append(error)

    threads = [threading.Thread(target=one, args=(host,), daemon=True) for host in hosts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if bugs:
        raise bugs[0]
    return {host.name: found[host.name] for host in hosts}
