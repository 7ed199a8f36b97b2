"""What a `release` has changed stays: what that means for the version before, and for a rollback."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from substitute.core.model.errors import UsageError
from substitute.core.model.events import Warned

if TYPE_CHECKING:
    from substitute.core.host import Host
    from substitute.core.model.apps import App
    from substitute.core.model.records import DeploymentRecord

CONTRACT = "contract"
"""The guard of a `release` that the versions before it do not survive."""

ELSEWHERE = "elsewhere"
"""The outcome of a `release` that another host has run, for this one too."""


def across(host: Host, app: App, commit: str | None) -> str:
    """Why the version of `commit` may not work with the database as it is, or empty."""
    found = host.journal.contract_against(app.name, commit)
    return told(found) if found else ""


def told(contract: DeploymentRecord) -> str:
    """That a deployment's `release` was a contract."""
    when = datetime.fromtimestamp(contract.started, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return (
        f"The release of deployment {contract.id} ({(contract.commit or '')[:10]}, {when}) is marked as a contract: "
        "the versions before it do not survive what it changed."
    )


def require_no_contract(host: Host, app: App, commit: str, *, force: bool) -> None:
    """No contract lies between the live version and `commit`. Raises UsageError; with `force` it is told."""
    why = across(host, app, commit)
    if why and force:
        host.emit(Warned(f"{why} {commit[:10]} is made live all the same."))
    elif why:
        raise UsageError(
            f"A rollback to {commit[:10]} would go back across a contract.",
            fact=why,
            cure="Deploy a version that works with the database as it is. Or undo the migration by hand, then type "
            "`substitute rollback --force`.",
        )


def migration_left(deployment: DeploymentRecord | None) -> str:
    """What somebody should know of the `release` of a deployment that came to nothing; empty where none had begun."""
    if deployment is None or not deployment.release_outcome:
        return ""
    if deployment.release_outcome in {"succeeded", ELSEWHERE}:
        what = "Its release had run, and what that changed stays."
    else:
        what = (
            "Nothing of the new version was started. "
            "Its release may have applied a migration in part, and that stays."
        )
    if deployment.release_guard == CONTRACT:
        what += " It is marked as a contract: the version before may not work with it."
    return what
