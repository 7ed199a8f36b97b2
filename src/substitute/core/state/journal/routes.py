"""What is desired of the balancer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from substitute.core.ports.balancer import Backend, Server
from substitute.core.state.journal.deployments import Deployments

if TYPE_CHECKING:
    from collections.abc import Mapping

    from substitute.core.model.slots import SlotName


class Routes(Deployments):
    """The share of the new requests that each slot is to get."""

    def domains(self, app: str) -> tuple[str, ...]:
        """Which requests are for `app`, as its configuration last said."""
        row = self._db.execute("SELECT domains FROM app WHERE name = ?", (app,)).fetchone()
        return tuple(json.loads(row["domains"]))

    def share(self, app: str, shares: Mapping[SlotName, int]) -> None:
        """Set the desired shares of the new requests."""
        with self._write() as db:
            for slot, share in shares.items():
                db.execute("UPDATE slot SET share = ? WHERE app = ? AND name = ?", (share, app, slot))

    def backends(self) -> list[Backend]:
        """What is desired of the balancer, for all apps of the root."""
        found = []
        rows = self._db.execute("SELECT name, domains FROM app ORDER BY name").fetchall()
        records = [self.app(row["name"]) for row in rows]
        slots = [slot for record in records for slot in record.slots.values()]
        users = {endpoint: slot.instance for slot in slots if slot.in_use for endpoint in slot.endpoints}
        for row, record in zip(rows, records, strict=True):
            begun = {deployment.slot for deployment in self.unfinished(record.name)}
            servers = tuple(
                Server(slot.name, endpoint, slot.share, claimed=slot.in_use or slot.name in begun)
                for slot in sorted(record.slots.values(), key=lambda slot: slot.name)
                for endpoint in slot.endpoints
                # An idle one may still be said to have what another app was given since.
                if users.get(endpoint, slot.instance) == slot.instance
            )
            found.append(Backend(record.name, tuple(json.loads(row["domains"])), servers))
        return [backend for backend in found if not _is_left_behind(backend, found)]


def _is_left_behind(backend: Backend, among: list[Backend]) -> bool:
    """Whether another app answers in its place: of those without a domain only one can get requests."""

    def gets_some(one: Backend) -> bool:
        return any(server.share for server in one.servers)

    return (
        not backend.domains
        and not gets_some(backend)
        and any(gets_some(one) for one in among if not one.domains)
    )
