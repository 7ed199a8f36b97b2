"""What the edges of one cluster tell each other: a Lease of each edge and of each app, and a Secret of what is live."""

from __future__ import annotations

import base64
import json
import secrets
import zlib
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from substitute.core.model.errors import LockedError, RuntimeFailedError
from substitute.core.ports.edges import Told
from substitute.linux.root_names import prefix_of
from substitute.runtimes.kubernetes.access import Settings
from substitute.runtimes.kubernetes.api import api_of
from substitute.runtimes.kubernetes.failures import Refused
from substitute.runtimes.kubernetes.objects import ROOT, name_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

LIFE = 15
"""Seconds after which an edge that has not said so does not live."""
_RENEWED = 5
"""Seconds for which it need not say so again."""
EDGE, LEADS, OPERATION, WORD = (
    "substitute/edge",
    "substitute/leads",
    "substitute/operation",
    "substitute/word",
)
_QUICKER = 409
"""The status where there is one of that name already, and where it is not any more what it was."""
_TRIES = 3


class ClusterEdges:
    """See `core.ports.edges.Edges`. What is written says which time it is by the API server."""

    def __init__(self, root: Path, settings: str, name: str) -> None:
        """`settings` is what `Settings.dump` made, `name` that of this edge."""
        self.name = name
        self._prefix = prefix_of(root)
        self._api = api_of(Settings.load(settings))

    # -- who works on an app --------------------------------------------------------------------

    @contextmanager
    def hold(self, app: str, operation: str) -> Iterator[bool]:
        """By a Lease of the app, whose holder is an edge: it lasts while that renews its own."""
        self._renew()
        before = self._take(app, operation)
        try:
            yield before not in {"", self.name}
        finally:
            with suppress(
                RuntimeFailedError
            ):  # then it is known by the kernel's lock that nobody is behind it
                lease = self._api.get("Lease", self._called(app))
                if lease and _holder(lease) == self.name:
                    self._change(lease, {"spec": {"holderIdentity": None}})

    def _take(self, app: str, operation: str) -> str:
        """Who had it before. Raises LockedError where that lives, or somebody else was quicker."""
        for _ in range(_TRIES):
            lease = self._api.get("Lease", self._called(app))
            holder = _holder(lease)
            if holder and holder != self.name and self._lives(holder):
                about = (lease or {})["metadata"].get("annotations") or {}
                since = (lease or {})["spec"].get("acquireTime")
                raise LockedError(
                    f"Another edge is working on {app}.",
                    fact=f"It is `{about.get(OPERATION)}` on {holder}, since {since}.",
                    cure=f"Wait for it; `substitute status` on {holder} shows how far it is. With `--wait 10m` this "
                    "command waits.",
                )
            told = {
                "metadata": {"annotations": {OPERATION: operation}},
                "spec": {
                    "holderIdentity": self.name,
                    "acquireTime": self._time(),
                    "leaseDurationSeconds": LIFE,
                },
            }
            with _unless_quicker() as quicker:
                if lease:
                    self._change(lease, told)
                else:
                    self._api.create(self._lease(self._called(app), told))
            if not quicker:
                return holder
        raise LockedError(f"Another edge was quicker to work on {app}.", cure="Try again.")

    def require_held(self, app: str) -> None:
        """By its Lease."""
        holder = _holder(self._api.get("Lease", self._called(app)))
        if holder != self.name:
            raise LockedError(
                f"{self.name} was taken for dead, and {holder or 'another edge'} went on with {app}.",
                fact=f"It had not renewed its Lease for {LIFE}s.",
                cure="This edge follows the other one by itself.",
            )

    def left(self, app: str) -> str:
        """By the same."""
        holder = _holder(self._api.get("Lease", self._called(app)))
        return holder if holder and (holder == self.name or not self._lives(holder)) else ""

    # -- what is live ---------------------------------------------------------------------------

    def told(self, app: str) -> Told | None:
        """By a Secret: what apps are started with may be among it."""
        found = self._api.get("Secret", f"{self._called(app)}-journal")
        if found is None:
            return None
        about = found["metadata"].get("annotations") or {}
        state = zlib.decompress(base64.b64decode(found["data"]["state"])).decode()
        return Told(str(about.get(EDGE)), str(about.get(WORD)), state)

    def tell(self, app: str, state: str, *, after: str) -> str:
        """Change that Secret, as it was read."""
        name, word = f"{self._called(app)}-journal", secrets.token_hex(8)
        found = self._api.get("Secret", name)
        about = (found or {"metadata": {}})["metadata"].get("annotations") or {}
        change: dict[str, Any] = {
            "metadata": {"annotations": {EDGE: self.name, WORD: word}},
            "data": {"state": base64.b64encode(zlib.compress(state.encode())).decode()},
        }
        with _unless_quicker() as quicker:
            if found is None:
                self._api.create(self._named({"apiVersion": "v1", "kind": "Secret", **change}, name))
            elif about.get(WORD) == after:
                self._change(found, change)
            else:
                quicker.append(True)
        if quicker:
            raise LockedError(
                f"{about.get(EDGE) or 'Another edge'} has worked on {app} meanwhile.",
                cure="This edge follows it by itself.",
            )
        return word

    # -- who lives, and leads requests where ----------------------------------------------------

    def lead(self, slots: Mapping[str, Collection[str]]) -> None:
        """By the Lease of this edge."""
        told = {
            "metadata": {"annotations": {LEADS: json.dumps({app: sorted(of) for app, of in slots.items()})}}
        }
        self._renew(told)

    def leading(self, app: str, slot: str) -> list[str]:
        """By those of the others."""
        found = []
        for lease in self._api.list("Lease", {ROOT: self._prefix}):
            edge = lease["metadata"]["labels"].get(EDGE)
            if edge and edge != self.name and self._is_fresh(lease):
                leads = json.loads((lease["metadata"].get("annotations") or {}).get(LEADS, "{}"))
                found += [edge] if slot in leads.get(app, ()) else []
        return found

    def _renew(self, told: Mapping[str, Any] | None = None) -> None:
        name = f"edge-{self.name}-{self._suffix}"
        lease = self._api.get("Lease", name)  # and with it what time it is there
        spec = {"holderIdentity": self.name, "renewTime": self._time(), "leaseDurationSeconds": LIFE}
        change = {**(told or {}), "spec": spec}
        if lease and self._age(lease) < _RENEWED and _says(lease, told):
            return
        if lease:
            self._api.merge("Lease", name, change)
        else:
            made = self._lease(name, change)
            made["metadata"]["labels"][EDGE] = self.name
            with _unless_quicker():
                self._api.create(made)

    def _lives(self, edge: str) -> bool:
        lease = self._api.get("Lease", f"edge-{edge}-{self._suffix}")
        return lease is not None and self._is_fresh(lease)

    def _is_fresh(self, lease: Mapping[str, Any]) -> bool:
        return self._age(lease) < LIFE

    def _age(self, lease: Mapping[str, Any]) -> float:
        """Seconds since it was renewed."""
        return self._api.now() - datetime.fromisoformat(lease["spec"]["renewTime"]).timestamp()

    def _time(self) -> str:
        """Now, as a Lease has it."""
        now = datetime.fromtimestamp(self._api.now(), UTC)
        return now.isoformat(timespec="microseconds").replace("+00:00", "Z")

    @property
    def _suffix(self) -> str:
        return self._prefix.rpartition("-")[2]

    def _called(self, app: str) -> str:
        return f"{name_of(app)}-{self._suffix}"

    def _lease(self, name: str, change: Mapping[str, Any]) -> dict[str, Any]:
        return self._named({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", **change}, name)

    def _named(self, body: Mapping[str, Any], name: str) -> dict[str, Any]:
        head = {**body.get("metadata", {}), "name": name, "labels": {ROOT: self._prefix}}
        return {**body, "metadata": head}

    def _change(self, found: Mapping[str, Any], change: Mapping[str, Any]) -> None:
        """Change an object, unless somebody has changed it since it was `found`: then Refused (409)."""
        version = found["metadata"]["resourceVersion"]
        head = {**change.get("metadata", {}), "resourceVersion": version}
        name = found["metadata"]["name"]
        kind = "Secret" if "data" in change else "Lease"
        self._api.merge(kind, name, {**change, "metadata": head})


def _says(lease: Mapping[str, Any], told: Mapping[str, Any] | None) -> bool:
    """Whether it says already what is to be told."""
    wanted = told["metadata"]["annotations"] if told else {}
    known = lease["metadata"].get("annotations") or {}
    return all(known.get(name) == value for name, value in wanted.items())


def _holder(lease: Mapping[str, Any] | None) -> str:
    return str((lease or {}).get("spec", {}).get("holderIdentity") or "")


@contextmanager
def _unless_quicker() -> Iterator[list[bool]]:
    """What is given has something in it afterwards where another edge has made or changed the object meanwhile."""
    quicker: list[bool] = []
    try:
        yield quicker
    except Refused as refused:
        if refused.status != _QUICKER:
            raise
        quicker.append(True)
