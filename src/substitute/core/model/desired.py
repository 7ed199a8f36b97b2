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
    workers: bool = True
    """Its processes that answer no requests run too."""
    held: bool = False
    """It waits for a person, who may look at it."""


SERVING = Desired(runs=True, share=100)
STANDBY = Desired(runs=True, workers=False)
"""It was live before, and may be again at once."""
HELD = Desired(runs=True, workers=False, held=True)
"""It is ready, and was never live."""
STOPPED = Desired(runs=False)
