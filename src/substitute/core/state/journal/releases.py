"""What each deployment's `release` came to, and what that means for the versions before it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.state.journal.deployments import Deployments, load_deployment

if TYPE_CHECKING:
    from substitute.core.model.records import DeploymentRecord


class Releases(Deployments):
    """The releases, in the rows of their deployments."""

    def release_began(self, deployment: int, *, guard: str) -> None:
        """Note that the `release` of a deployment is about to run: on the disk before it changes anything."""
        with self._write(durably=True) as db:
            db.execute(
                "UPDATE deployment SET release_outcome = 'running', release_guard = ? WHERE id = ?",
                (guard, deployment),
            )

    def release_ended(self, deployment: int, outcome: str, *, seconds: float) -> None:
        """Note how it ended: ``succeeded``, ``failed`` or ``interrupted``."""
        with self._write() as db:
            db.execute(
                "UPDATE deployment SET release_outcome = ?, release_seconds = ? WHERE id = ?",
                (outcome, seconds, deployment),
            )

    def guard_release(self, deployment: int, guard: str) -> None:
        """Mark the `release` of a deployment, or take the mark away where `guard` is empty."""
        with self._write(durably=True) as db:
            db.execute("UPDATE deployment SET release_guard = ? WHERE id = ?", (guard, deployment))

    def latest_release(self, app: str) -> DeploymentRecord | None:
        """The newest deployment that ran a `release`, whatever became of it."""
        row = self._db.execute(
            "SELECT * FROM deployment WHERE app = ? AND release_outcome <> '' ORDER BY id DESC LIMIT 1",
            (app,),
        ).fetchone()
        return load_deployment(row) if row else None

    def contract_against(self, app: str, commit: str | None) -> DeploymentRecord | None:
        """The newest deployment whose `release` the version of `commit` does not survive.

        That version was live before it, and was not deployed since: what is only gone back to, or deployed while it
        is live, is not adapted to anything.
        """
        row = self._db.execute(
            "SELECT * FROM deployment AS contract WHERE app = :app AND release_guard = 'contract'"
            " AND release_outcome <> ''"
            " AND EXISTS (SELECT 1 FROM deployment WHERE app = :app AND hash = :commit AND id < contract.id"
            "  AND (committed IS NOT NULL OR outcome = 'succeeded'))"
            " AND NOT EXISTS (SELECT 1 FROM deployment WHERE app = :app AND hash = :commit AND id >= contract.id"
            "  AND operation = 'deploy' AND previous IS NOT hash AND committed IS NOT NULL)"
            " ORDER BY id DESC LIMIT 1",
            {"app": app, "commit": commit},
        ).fetchone()
        return load_deployment(row) if row else None
