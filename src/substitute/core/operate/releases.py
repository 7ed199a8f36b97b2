"""`release` by hand: what the latest one came to, and the mark that keeps a rollback from going back across it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.deploy.versions.release_guard import CONTRACT
from substitute.core.deploy.versions.rollbacks import what_rollback_is
from substitute.core.model.errors import UsageError
from substitute.values import dataclass

if TYPE_CHECKING:
    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.records import DeploymentRecord


@dataclass(frozen=True)
class Latest:
    """The latest deployment of an app that ran its `release`."""

    app: str
    deployment: DeploymentRecord | None
    rollback: str
    """Why a rollback would be refused, or empty."""


def latest(host: Host, app: App) -> Latest:
    """What is known of it."""
    rollback = what_rollback_is(host, app) if app.name in host.journal.names() else None
    return Latest(app.name, host.journal.latest_release(app.name), rollback["refused"] if rollback else "")


def guard(host: Host, app: App, *, contract: bool) -> None:
    """Mark the latest release as a contract, or as none. Raises UsageError where there was none."""
    found = host.journal.latest_release(app.name)
    if found is None:
        raise UsageError(
            f"No deployment of {app.name} has run a release yet.",
            cure="To mark the next one, add the line `Substitute-Contract: yes` to the end of the commit's message.",
        )
    host.journal.guard_release(found.id, CONTRACT if contract else "")
