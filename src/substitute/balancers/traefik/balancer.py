"""The user's own Traefik: one file of its file provider is ours, and its API says what is in force."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

from substitute.balancers.traefik import api, configuration
from substitute.balancers.traefik.api import SilentError
from substitute.balancers.users_own import OurFile, UsersOwn
from substitute.core.model.errors import ConfigError, UnmovedError, UnobservedError
from substitute.core.polling import wait_while
from substitute.core.ports.balancer import Traffic
from substitute.linux.connections import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from substitute.core.model.slots import Endpoint
    from substitute.core.ports.balancer import Backend
    from substitute.core.ports.runtime import Runtime

_FILE = "deploy/run/traefik.yml"
_UNWRITABLE = "Its directory must exist, and this user may write there: a file is replaced, not changed."
_SUFFIXES = (".yml", ".yaml")
_PATIENCE = 15.0
"""Seconds for Traefik to take the file over: `providersThrottleDuration`, 2 s if not set, may delay it twice."""
_STARTING = 3.0
"""Seconds for its API to answer: a Traefik that was just started knows no path at first."""
_TICK = 0.01


class Configured(Protocol):
    """The table ``[balancer]``."""

    @property
    def file(self) -> str | None: ...  # noqa: D102
    @property
    def api(self) -> str: ...  # noqa: D102


def connect(root: Path, runtime: Runtime, settings: Configured, warn: Callable[[str], None]) -> Traefik:
    """Make the balancer of `root`. Raises ConfigError for a file that Traefik would not read."""
    del runtime, warn
    file = root / (settings.file or _FILE)
    if file.suffix not in _SUFFIXES:
        raise ConfigError(
            f"balancer.file is {file}, which Traefik would not read as YAML.",
            cure="Let its name end in .yml.",
        )
    return Traefik(file, settings.api)


class Traefik(UsersOwn):
    """See `core.ports.balancer.Balancer`."""

    def __init__(self, file: Path, url: str, *, patience: float = _PATIENCE) -> None:
        self._file = OurFile(file, _UNWRITABLE)
        self._url = url
        self._patience = patience
        self._left: dict[Endpoint, float] = {}

    def route(self, backends: Sequence[Backend]) -> None:
        """The file first, so that a restart at any moment obeys too; then wait until the API says the same.

        What is written and what is in force are looked at anew, so a command that was killed half-way leaves
        nothing that the next does not notice. A file that is not obeyed gives way to the earlier one; where
        there was none it stays, since Traefik watches a single file only if it is there when Traefik starts.
        """
        text, earlier = configuration.render(backends), self._file.read() or ""
        self._require_ours(earlier)
        if self._asked(backends) is None and earlier == text:
            return
        self._file.write(text)
        try:
            self._await(backends)
        except UnmovedError:
            if earlier:
                self._file.write(earlier)
            raise
        now = time.monotonic()
        self._left = {
            server.endpoint: now for backend in backends for server in backend.servers if not server.share
        }

    def follow(self, backends: Sequence[Backend]) -> bool:
        """Where Traefik does not read the file any more it is done with. One that does not run may when it starts."""
        apps = configuration.apps(self._file.read() or "")
        if not apps:
            return False
        try:
            known = [api.service(self._url, configuration.service(app)) for app in apps]
        except SilentError as silent:
            if not silent.refused:
                raise UnmovedError(
                    f"Traefik's API does not answer on {self._url}.", fact=silent.fact, cure=silent.cure
                ) from silent
            self._file.write(configuration.render(backends))
            return True
        if not any(known):
            return False
        self.route(backends)
        return True

    def traffic(self) -> Mapping[Endpoint, Traffic] | None:
        """Connections as the kernel counts them, shares as the API says. Unobserved: it is silent, and none is open.

        A request that Traefik read before a switch may reach its connection a moment after it. Usually idle
        connections outlast that; for an app that keeps none open, one is supposed for as long.
        """
        apps = configuration.apps(self._file.read() or "")
        endpoints = [endpoint for listed in apps.values() for endpoint in listed]
        connections = counted(endpoints)
        shares = self._shares(apps)
        if shares is None and not any(connections.values()):
            raise UnobservedError(f"Traefik's API does not answer on {self._url}.")
        return {
            endpoint: Traffic(
                in_flight=max(connections[endpoint], int(self._just_left(endpoint))),
                requests=None,
                cut=None,
                share=(shares or {}).get(endpoint),
            )
            for endpoint in endpoints
        }

    def stop(self) -> None:
        """Traefik is the user's, and goes on; the file stays."""

    # -- what is in force -----------------------------------------------------------------------

    def _await(self, backends: Sequence[Backend]) -> None:
        if seen := wait_while(lambda: self._asked(backends), self._patience, _TICK):
            raise self._disobeyed(seen)

    def _asked(self, backends: Sequence[Backend]) -> str | None:
        """As `_disobedience`; a Traefik that is being started is waited for."""
        deadline = time.monotonic() + _STARTING
        while True:
            try:
                return self._disobedience(backends)
            except SilentError as silent:
                if time.monotonic() > deadline:
                    raise UnmovedError(
                        f"Traefik's API does not answer on {self._url}.", fact=silent.fact, cure=silent.cure
                    ) from silent
            time.sleep(_TICK)

    def _disobedience(self, backends: Sequence[Backend]) -> str | None:
        """What the API says otherwise, or None where every app's shares are in force."""
        for backend in backends:
            name, wanted = configuration.service(backend.app), configuration.weights(backend)
            known = api.service(self._url, name)
            if known is None:
                return f"It has no service {name}."
            if known.errors:
                return f"It refuses {name}: {'; '.join(known.errors)}."
            if known.weights != wanted:
                return f"Its weights of {name} are {_listed(known.weights)}, not {_listed(wanted)}."
        return None

    def _shares(self, apps: Mapping[str, Sequence[Endpoint]]) -> dict[Endpoint, int] | None:
        found: dict[Endpoint, int] = {}
        for app, endpoints in (apps or {"none": ()}).items():  # with no app too: is it there?
            try:
                known = api.service(self._url, configuration.service(app))
            except SilentError:
                return None
            weights = known.weights if known else {}
            found.update({e: weights[f"http://{e}"] for e in endpoints if f"http://{e}" in weights})
        return found

    def _just_left(self, endpoint: Endpoint) -> bool:
        left = self._left.get(endpoint)
        return left is not None and time.monotonic() - left < configuration.IDLE_SECONDS

    # -- its file -------------------------------------------------------------------------------

    def _require_ours(self, text: str) -> None:
        if not configuration.is_ours(text):
            raise UnmovedError(
                f"{self._file} was not written by substitute, and would be replaced.",
                cure="Give substitute a file of its own: balancer.file in substitute.toml.",
            )

    def _disobeyed(self, seen: str) -> UnmovedError:
        return UnmovedError(
            f"Traefik did not take over {self._file} within {self._patience:g}s.",
            fact=seen,
            cure=f"Its static configuration needs `providers: {{file: {{directory: {self._file.path.parent}}}}}` (in a "
            "container, mount that directory and not the file), and its log says which file it refuses. "
            "One that names the file itself must be restarted where it started before the file was there.",
        )


def _listed(weights: Mapping[str, int]) -> str:
    return ", ".join(f"{url} {weight}" for url, weight in weights.items()) or "none"
