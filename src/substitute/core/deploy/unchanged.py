"""Whether a deployment would change anything: its commit is live already, and so is its configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.model.versions import changed_keys
from substitute.values import dataclass

if TYPE_CHECKING:
    from substitute.core.deploy.settle import Settled
    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.slots import SlotName


@dataclass(frozen=True)
class AlreadyLive:
    """The commit that was chosen is live, and serves."""

    commit: str
    slot: SlotName
    changed: tuple[str, ...]
    """Keys of the app in substitute.toml that changed since."""

    @property
    def message(self) -> str:
        """What somebody should know who deploys it all the same."""
        if self.changed:
            keys = ", ".join(self.changed)
            return f"{self.commit[:10]} is live already. In substitute.toml changed since: {keys}."
        return (
            f"Nothing changed: {self.commit[:10]} is live already. It is built and started again; "
            "`substitute deploy --if-changed` leaves it alone."
        )


def already_live(host: Host, app: App, commit: str, settled: Settled) -> AlreadyLive | None:
    """`commit` as the live version, where it is that and serves; None where there is something to deploy."""
    live = host.journal.app(app.name).live_slot
    serves = live is not None and settled.live is live.name and not settled.problem
    if live is None or not serves or live.commit != commit or host.adopted(live):
        return None
    changed = changed_keys(app, live.version) if live.version else []
    if live.endpoints not in [slot.endpoints for slot in app.slots.values()]:
        changed.append("ports")
    return AlreadyLive(commit, live.name, tuple(changed))
