"""Requests that no client sends, beside those of clients."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from substitute.drill.load import Load
from substitute.drill.process import LoadProcess
from substitute.drill.result.recording import Recording

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path


class Synthetic:
    """See `core.ports.load.Load`."""

    @contextmanager
    def flowing(
        self,
        front: str,
        *,
        headers: Mapping[str, str],
        paths: Sequence[str],
        rate: float,
        directory: Path,
        tell: Callable[[str], None],
    ) -> Iterator[None]:
        """From one process for each path."""
        flows: list[tuple[str, LoadProcess, Recording]] = []
        with ExitStack() as stack:
            for path in paths:
                load = Load(
                    f"http://{front}",
                    path,
                    headers=tuple(headers.items()),
                    rate=rate / len(paths),
                    connections=4,
                )
                recording = Recording()
                process = stack.enter_context(LoadProcess(load, recording, directory=directory))
                flows.append((path, process, recording))
            try:
                yield
            finally:
                # Before the processes are ended: from then on each has ended too early.
                if told := [said for flow in flows if (said := _wrong(*flow))]:
                    tell("; ".join(told))


def _wrong(path: str, process: LoadProcess, recording: Recording) -> str:
    """What is wrong with the requests for `path`, or nothing."""
    if process.lost:
        return f"the process that asks for {path} has ended (see {process.log})"
    if recording.requests and not any(200 <= status < 300 for status in recording.statuses):
        seen = " and ".join(map(str, sorted(recording.statuses))) or "no answer"
        return f"none of {recording.requests} GETs of {path} was answered with 2xx, but with {seen}"
    return ""
