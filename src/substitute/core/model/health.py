"""When an instance counts as ready."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.values import dataclass, field

if TYPE_CHECKING:
    from collections.abc import Mapping

ANY_GOOD = "200-399"
"""The statuses that are good where no others are named."""


@dataclass(frozen=True)
class Health:
    """When an instance counts as ready: `successes` good answers in a row."""

    kind: str
    """``http`` or ``tcp``."""
    path: str
    host: str | None
    timeout: float
    interval: float
    successes: int
    headers: Mapping[str, str] = field(default_factory=dict)
    status: str = ANY_GOOD
    """The good ones: ranges and single ones, as ``200,204,301-302``."""
    expect: str = ""
    """A text that the answer must hold."""
    command: str = ""
    """What is run instead of a request; with it no endpoint is needed."""
    warm: tuple[str, ...] = ()
    """Paths that are asked for once, when the instance is ready."""

    def accepts(self, status: int) -> bool:
        """Whether an answer with `status` is good."""
        ranges = (one.partition("-") for one in self.status.split(","))
        return any(int(low) <= status <= int(high or low) for low, _, high in ranges)


RUNS = Health("runs", "", None, timeout=30.0, interval=0.1, successes=1)
"""What answers no requests is ready when it has stayed up for a moment."""
