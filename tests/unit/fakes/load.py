"""Load that is only noted."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path


@dataclass
class FakeLoad:
    log: list[str] = field(default_factory=list)
    wrong: str = ""

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
        del directory
        said = " ".join(f"{name}={value}" for name, value in headers.items())
        self.log.append(f"load on {front} for {' '.join(paths)} with {said}: {rate:g}/s")
        yield
        if self.wrong:
            tell(self.wrong)
        self.log.append("no load")
