"""What is desired of the balancer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from substitute.core.ports.balancer import Backend, Preview, Server
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

    def assets(self, app: str) -> tuple[str, ...]:
        """Below which paths another version of `app` is asked too, as its configuration last said."""
        row = self._db.execute("SELECT assets FROM app WHERE name = ?", (app,)).fetchone()
        return tuple(json.loads(row["assets"]))

    def share(self, app: str, shares: Mapping[SlotName, int]) -> None:
        """Set the desired shares of the new requests. None waits any more."""
        with self._write() as db:
            for slot, share in shares.items():
                db.execute("UPDATE slot SET share = ? WHERE app = ? AND name = ?", (share, app, slot))
            db.execute("UPDATE app SET waits_since = NULL WHERE name = ?", (app,))

    def let_wait(self, app: str, *, now: float) -> None:
        """Have no slot get new requests: they wait for the next share, from `now` on if they do not yet."""
        with self._write() as db:
            db.execute("UPDATE slot SET share = 0 WHERE app = ?", (app,))
            db.execute("UPDATE app SET waits_since = coalesce(waits_since, ?) WHERE name = ?", (now, app))

    def backends(self) -> list[Backend]:
        """What is desired of the balancer, for all apps of the root."""
        found = []
        rows = self._db.execute("SELECT name, domains, assets FROM app ORDER BY name").fetchall()
        records = [self.app(row["name"]) for row in rows]
        slots = [slot for record in records for slot in record.slots.values()]
        users = {endpoint: slot.full_name for slot in slots if slot.in_use for endpoint in slot.endpoints}
        for row, record in zip(rows, records, strict=True):
            begun = {deployment.slot for deployment in self.unfinished(record.name)}
            servers = tuple(
                Server(
                    slot.name,
                    endpoint,
                    slot.share,
                    claimed=slot.in_use or slot.name in begun,
                    checked=slot.clustered,
                )
                for slot in sorted(record.slots.values(), key=lambda slot: slot.name)
                for endpoint in slot.endpoints
                # An idle one may still be said to have what another app was given since.
                if users.get(endpoint, slot.full_name) == slot.full_name
            )
            preview = Preview(record.hold.token, record.hold.slot) if record.hold else None
            found.append(
                Backend(
                    record.name,
                    tuple(json.loads(row["domains"])),
                    servers,
                    assets=tuple(json.loads(row["assets"])),
                    spare=record.spare,
                    hold=record.longest_wait or 0.0,
                    waits=record.waits_since is not None,
                    preview=preview,
                    candidate=next(iter(begun), None),
                    draw=self.latest(record.name),
                )
            )
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
