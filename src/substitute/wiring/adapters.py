"""The adapters that a root names, imported when they are used."""

from __future__ import annotations

import json
import os
import socket
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from substitute.balancers.handover import BalancerHandover, Leaving
from substitute.core.model.errors import ConfigError, RuntimeFailedError, SubstituteError
from substitute.core.state.ownership import former_place
from substitute.runtimes.choice import KEEPER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from substitute.config import Config
    from substitute.core.ports.balancer import Balancer
    from substitute.core.ports.edges import Edges
    from substitute.core.ports.engine import Engine
    from substitute.core.ports.instances import Instances
    from substitute.core.ports.runtime import Runtime
    from substitute.core.state.journal import Journal
    from substitute.linux.init_system import Machine

BALANCERS = {
    "haproxy": "substitute.balancers.haproxy.balancer:connect",
    "passive": "substitute.balancers.passive.balancer:connect",
    "traefik": "substitute.balancers.traefik.balancer:connect",
    "nginx": "substitute.balancers.nginx.balancer:connect",
}
RUNTIMES = {
    "supervisord": "substitute.runtimes.supervisord.runtime:connect",
    "systemd": "substitute.runtimes.systemd.runtime:connect",
}
ENGINES = {
    "podman": "substitute.runtimes.podman.runtime:connect",
    "docker": "substitute.runtimes.docker.runtime:connect",
    "kubernetes": "substitute.runtimes.kubernetes.runtime:connect",
}
"""Runtimes of containers: each leaves all else to a runtime beside it."""
SOURCES = {
    "git": "substitute.sources.git.source:connect",
    "archive": "substitute.sources.archive.source:connect",
    "image": "substitute.sources.image.source:connect",
}
ENGINE_FACT = "engines"
"""The fact of a root's journal that says which engines may run containers of it, the present one at the end."""
CLUSTER = "kubernetes"
"""The kind of runtime, and the fact, that says how a cluster is reached."""
_REMEMBERED = ("DOCKER_HOST", "CONTAINERS_CONF", "CONTAINERS_STORAGE_CONF")
"""The variables, and the facts, that say where dockerd listens, and how Podman is set up."""
IN_USE = "balancers"
"""The fact that says which kinds of balancer may lead requests to the root's apps, and how each is set up."""


def adapter(table: dict[str, str], kind: str, key: str) -> Any:
    """What connects the adapter of `kind`. ConfigError, about `key`, where there is none."""
    if kind not in table:
        raise ConfigError(
            f"{key} = {kind!r} is not available in this version.",
            cure=f"Choose {' or '.join(repr(known) for known in table)} in substitute.toml.",
        )
    module, _, name = table[kind].partition(":")
    return getattr(import_module(module), name)


class Later:
    """An adapter that is imported and made when it is first asked: most commands ask few."""

    def __init__(self, place: str) -> None:
        """`place` is ``module:class``."""
        self._place = place

    def __getattr__(self, name: str) -> Any:
        """What the adapter itself has."""
        return getattr(self._made, name)

    @cached_property
    def _made(self) -> Any:
        module, _, make = self._place.partition(":")
        return getattr(import_module(module), make)()


def runtime_of(
    kind: str,
    run: Path,
    machine: Machine,
    journal: Journal,
    warn: Callable[[str], None],
    *,
    names: Iterable[str],
) -> Runtime:
    """The runtime of `kind`; while another one still keeps something of the root, both.

    Also where another one left an instance of `names` running when it died, and the units that systemd calls after
    the place where the root was before it was moved.
    """
    found: Runtime = adapter(RUNTIMES, kind, "runtime.kind")(run, warn)
    keepers = [kind]
    others = [(other, run) for other in other_runtimes(kind, machine)]
    if machine.manager and (former := former_place(journal)):
        others.append(("systemd", former / "deploy" / "run"))
    for other, place in others:
        earlier: Runtime = adapter(RUNTIMES, other, "")(place, warn)
        if _keeps_something(earlier) or any(map(earlier.trace, names)):
            from substitute.runtimes.handover import RuntimeHandover  # noqa: PLC0415  # few roots change theirs

            found = RuntimeHandover(found, earlier)
            keepers.append(other)
    keeper = "systemd" if "systemd" in keepers else "supervisord"
    if keeper != (journal.fact(KEEPER) or "supervisord"):
        journal.remember(KEEPER, keeper)
    return found


def with_engine(engine: str, beside: Runtime, kind: str, root: Path, journal: Journal) -> Runtime:
    """The runtime `beside`, of that `kind`, and what runs containers.

    That is the engine that is configured, and each that was before, and may run some yet.
    """
    found, before = beside, (journal.fact(ENGINE_FACT) or "").split()
    engines = [*(one for one in before if one != engine), *([engine] if engine else [])]
    if engines:
        _have_engines_variables(journal)
    former = former_place(journal) if engines else None
    for one in engines:
        connect = adapter(ENGINES, one, "runtime.kind")
        make = partial(connect, settings=_settings(journal)) if one == CLUSTER else connect
        if former:  # containers are called after the place of their root
            found = make(found, former, in_unit=kind == "systemd")
        found = make(found, root, in_unit=kind == "systemd")
    if engines != before:
        journal.remember(ENGINE_FACT, " ".join(engines))
    return found


def remember_cluster(journal: Journal, config: Config, root: Path) -> None:
    """Have the journal know which cluster `config` means, and which namespace of it.

    A guardian, a cron and a boot have no KUBECONFIG, and a context of today may be another one tomorrow: so what was
    meant stays meant until the configuration says something else. Raises ConfigError where it does so while versions
    run where it was: nobody would know of them any more.
    """
    if config.runtime.kind != CLUSTER:
        return
    from substitute.runtimes.kubernetes.access import Settings, resolved  # noqa: PLC0415  # few roots have one

    written, _, meant = (journal.fact(CLUSTER) or "").partition("\n")
    in_use = any(
        slot.clustered and slot.started
        for name in journal.names()
        for slot in journal.app(name).slots.values()
    )
    cluster, known = config.cluster, Settings.load(meant) if meant else None
    # Of several files the first one is that of kubectl, too, where they say the same.
    here = os.environ.get("KUBECONFIG", "").split(":")[0]
    usual = str(Path.home() / ".kube" / "config")
    stays = known is not None and (in_use or not here)
    file = cluster.kubeconfig or (known.kubeconfig if known and stays else here) or usual
    settings = Settings(
        str(root / Path(file).expanduser()),
        cluster.context or "",
        cluster.namespace or "",
        cluster.claim or "",
    )
    if settings.dump() == written:
        return
    try:
        now = resolved(settings)
    except SubstituteError:  # who asks the cluster is told why that can't be
        now = settings
    if known and in_use and (known.context, known.namespace) != (now.context, now.namespace):
        raise ConfigError(
            "The cluster or its namespace cannot be changed while versions run there.",
            problems=(
                f"They run in namespace {known.namespace} of context {known.context}.",
                f"substitute.toml now means namespace {now.namespace} of context {now.context}.",
            ),
            cure="Write what was there, and type `substitute down` first; then change it, and type `substitute up`.",
        )
    journal.remember(CLUSTER, f"{settings.dump()}\n{now.dump()}")


def _settings(journal: Journal) -> str:
    """How the cluster of the root is reached; empty where it never had one."""
    return (journal.fact(CLUSTER) or "").rpartition("\n")[2]


def instances_of(here: Instances, journal: Journal, root: Path, base: Runtime) -> Instances:
    """What is asked of instances, where a cluster has or had some; else those of this machine alone."""
    settings = _settings(journal)
    if not settings:
        return here
    from substitute.runtimes.kubernetes.access import Settings  # noqa: PLC0415  # as above
    from substitute.runtimes.kubernetes.instances import ClusterInstances  # noqa: PLC0415
    from substitute.runtimes.kubernetes.runtime import Kubernetes  # noqa: PLC0415

    return ClusterInstances(here, Kubernetes(base, root, Settings.load(settings)))


def edges_of(config: Config, root: Path, journal: Journal) -> Edges | None:
    """What the edges of a cluster tell each other; None where this machine is the only one. Raises ConfigError."""
    if config.runtime.kind != CLUSTER or not config.cluster.edges:
        return None
    from substitute.runtimes.kubernetes.edges import ClusterEdges  # noqa: PLC0415  # as above

    name = socket.gethostname().partition(".")[0].lower()
    if name not in config.cluster.edges:
        raise ConfigError(
            f"This machine is called {name}, and is none of cluster.edges.",
            problems=(f"These are {', '.join(config.cluster.edges)}.",),
            cure="Write it there, on each of them.",
        )
    return ClusterEdges(root, _settings(journal), name)


def engine_of(name: str, root: Path, journal: Journal, *, builder: str = "") -> Engine:
    """What runs containers: the engine of that name. `builder` builds for a cluster; empty: what is found does."""
    if name == CLUSTER:
        from substitute.runtimes.kubernetes.engine import connect  # noqa: PLC0415  # as above

        return connect(root, _settings(journal), builder=builder)
    from substitute.linux.engine import CommandEngine  # noqa: PLC0415  # few roots have containers

    return CommandEngine(name, root)


def _have_engines_variables(journal: Journal) -> None:
    """Have the engine be the same for all: a guardian, a cron and the machine's boot have no variable of a shell."""
    for name in _REMEMBERED:
        known, now = journal.fact(name), os.environ.get(name)
        if now and now != known:
            journal.remember(name, now)
        elif known and not now:
            os.environ[name] = known


def balancer_of(
    config: Config, root: Path, runtime: Runtime, journal: Journal, warn: Callable[[str], None]
) -> Balancer:
    """That of the configuration, and those that were used before it and may still lead requests here.

    The journal keeps how each was set up: the configuration speaks of one.
    """
    settings = config.balancer
    now, fact = vars(settings), journal.fact(IN_USE)
    # An earlier version of substitute noted none. For all that is known, whatever it used had what is configured now.
    known: dict[str, Any] = (
        json.loads(fact) if fact else {kind: {**now, "binary": None, "file": None} for kind in BALANCERS}
    )
    all_settings = {**known, settings.kind: now}

    def made(kind: str, settings: object) -> Leaving:
        found: Leaving = adapter(BALANCERS, kind, "balancer.kind")(root, runtime, settings, warn)
        return found

    return BalancerHandover(
        settings.kind,
        made(settings.kind, settings),
        {
            kind: made(kind, SimpleNamespace(**there))
            for kind, there in known.items()
            if kind != settings.kind and kind in BALANCERS
        },
        lambda kinds: journal.remember(IN_USE, json.dumps({kind: all_settings[kind] for kind in kinds})),
        certain=fact is not None,
    )


def other_runtimes(kind: str, machine: Machine) -> list[str]:
    """Those that can be here beside one of `kind`."""
    return [other for other in RUNTIMES if other != kind and (other != "systemd" or machine.manager)]


def _keeps_something(runtime: Runtime) -> bool:
    """Whether it keeps something of the root, or does not tell."""
    try:
        return bool(runtime.kept())
    except RuntimeFailedError:
        return True
