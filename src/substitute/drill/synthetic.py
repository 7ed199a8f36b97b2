"""Requests that no client sends, beside those of clients."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from substitute.drill.load import Load
from substitute.drill.process import LoadProcess
from substitute.drill.result.recording import Recording

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class Synthetic:
    """See `core.ports.load.Load`."""

    @contextmanager
    def flowing(
        self, front: str, *, host: str, paths: Sequence[str], rate: float, directory: Path
    ) -> Iterator[None]:
        """From one process for each path."""
        headers = (("Host", host),) if host else ()
        with ExitStack() as stack:
            for path in paths:
                load = Load(f"http://{front}", path, headers=headers, rate=rate / len(paths), connections=4)
                stack.enter_context(LoadProcess(load, Recording(), directory=directory))
            yield
