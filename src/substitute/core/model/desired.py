"""What is desired of a slot. `settle` brings it about."""

from __future__ import annotations

from substitute.values import dataclass


@dataclass(frozen=True)
class Desired:
    """Of one slot, as a function of what the journal says."""

    runs: bool
    """Its instance runs. Else it finishes its requests, and is stopped."""
    share: int = 0
    """Percent of the app's new requests that it gets."""


SERVING = Desired(runs=True, share=100)
STOPPED = Desired(runs=False)
