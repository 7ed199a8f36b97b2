"""Load that is only noted."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


@dataclass
class FakeLoad:
    log: list[str] = field(default_factory=list)

    @contextmanager
    def flowing(
        self, front: str, *, host: str, paths: Sequence[str], rate: float, directory: Path
    ) -> Iterator[None]:
        del directory
        self.log.append(f"load on {front} for {' '.join(paths)} of {host}: {rate:g}/s")
        yield
        self.log.append("no load")
