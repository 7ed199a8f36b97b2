"""Config → the core's App: every path absolute, nothing left to look up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from substitute.config.values import parse_memory, parse_processors
from substitute.core.model.app_settings import (
    AppImage,
    Build,
    Drain,
    Release,
    Secrets,
    Standby,
    Trials,
    Verify,
    Waves,
)
from substitute.core.model.apps import App, Order, ProcessType
from substitute.core.model.crons import Cron
from substitute.core.model.health import RUNS
from substitute.core.model.programs import BuildLimits, Limits, Protection
from substitute.core.model.secrets import SecretSource
from substitute.core.model.slots import Endpoint, Slot, SlotName
from substitute.values import replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from substitute.config.models import Config
    from substitute.config.models.app import AppConfig
    from substitute.config.models.cron import CronConfig
    from substitute.config.models.limits import BuildLimitsConfig, LimitsConfig
    from substitute.config.models.process import ProcessConfig


def apps(config: Config, root: Path) -> dict[str, App]:
    """The apps of `config` by name; `root` is absolute."""
    nodes = config.cluster.nodes if config.runtime.kind == "kubernetes" else ()
    return {name: _app(name, app, root, config.runtime.engine, nodes) for name, app in config.app.items()}


def _app(name: str, app: AppConfig, root: Path, engine: str, nodes: Sequence[str]) -> App:
    return App(
        name=name,
        root=root,
        repo=resolve_repo(app.repo, root) if app.repo else "",
        branch=app.branch,
        build=Build(app.build, app.build_timeout, _build_limits(app.build_limits)),
        release=Release(app.release, app.release_timeout),
        clean=app.clean,
        shared=app.shared,
        start=app.start or "",
        slots={slot: _slot(name, app, slot, root, nodes) for slot in SlotName},
        domains=app.domains,
        env=app.env,
        health=app.health.resolved(),
        drain=Drain(app.drain.timeout, app.drain.background, _waves(app)),
        standby=Standby(app.standby.keep, app.standby.freeze),
        replay=app.replay.resolved(),
        canary=app.canary.resolved(),
        assets=app.assets,
        stop_timeout=app.stop.timeout,
        stop_signal=app.stop.signal,
        verify=Verify(app.verify.duration, app.verify.share),
        hooks_timeout=app.hooks.timeout,
        order=Order(app.order),
        hold=app.hold,
        directory=app.directory or "",
        secrets=_secrets(app),
        pass_env=app.pass_env,
        watch=app.watch,
        user=app.user,
        trials=Trials(app.check.slow, app.check.large, app.check.upload),
        notifies=app.notify,
        limits=_limits(app.limits),
        source=app.source,
        image=_image(app, engine),
        replicas=app.replicas,
        releases=app.releases,
        processes={process: _process(own, app) for process, own in app.process.items()},
        crons={cron: _cron(own) for cron, own in app.cron.items()},
        protections=frozenset(one for one in Protection if getattr(app.sandbox, one)),
    )


def _image(app: AppConfig, engine: str) -> AppImage:
    return AppImage(
        name=app.image or "",
        dockerfile=app.dockerfile or "",
        build_args=app.build_args or {},
        build_secrets=app.build_secrets or (),
        port=app.container_port,
        engine=engine if _is_contained(app) else "",
    )


def _secrets(app: AppConfig) -> Secrets:
    sources = {name: SecretSource(**source) for name, source in app.secrets.items()}
    if (file := app.env_file) is None:
        return Secrets(sources=sources)
    problem = f"{file.path} cannot be used: {file.problem}." if file.problem else ""
    return Secrets(file.path, file.values, problem, sources)


def _waves(app: AppConfig) -> Waves | None:
    streams = app.drain.streams
    return Waves(streams.after, streams.over) if streams else None


def _limits(limits: LimitsConfig) -> Limits:
    return Limits(
        memory=parse_memory(limits.memory) if limits.memory else None,
        cpu=parse_processors(limits.cpu) if limits.cpu else None,
        tasks=limits.tasks,
        nofile=limits.nofile,
    )


def _build_limits(limits: BuildLimitsConfig) -> BuildLimits:
    return BuildLimits(
        nice=limits.nice,
        cpu_weight=limits.cpu_weight,
        io_weight=limits.io_weight,
        memory=parse_memory(limits.memory) if limits.memory else None,
        cpu=parse_processors(limits.cpu) if limits.cpu else None,
    )


def _is_contained(app: AppConfig) -> bool:
    return bool(app.image or app.dockerfile)


def _slot(name: str, app: AppConfig, slot: SlotName, root: Path, nodes: Sequence[str]) -> Slot:
    """Its instances, or where a cluster keeps them each of its `nodes`: there the port leads to wherever they are."""
    first, directory = app.ports[list(SlotName).index(slot)], root / f"{name}_{slot}"
    if nodes and _is_contained(app):
        return Slot(slot, directory, tuple(Endpoint(node, first) for node in nodes), clustered=True)
    return Slot(slot, directory, tuple(Endpoint(app.host, first + number) for number in range(app.instances)))


def _process(own: ProcessConfig, app: AppConfig) -> ProcessType:
    return ProcessType(
        start=own.start or "",
        instances=own.instances,
        order=Order(own.order),
        health=replace(RUNS, timeout=own.health.timeout, command=own.health.command or ""),
        stop_timeout=own.stop.timeout,
        user=own.user or app.user,
        limits=_limits(own.limits),
        env={**app.env, **own.env},
        stop_signal=own.stop.signal,
        background=own.background,
    )


def _cron(own: CronConfig) -> Cron:
    return Cron(
        at=own.at,
        command=own.command,
        timeout=own.timeout,
        overlap=own.overlap,
        timezone=own.timezone or "",
    )


def resolve_repo(repo: str, root: Path) -> str:
    """Make a path absolute, against the root; a URL or ``host:path`` stays as it is."""
    if repo.startswith("~/"):
        return str(Path.home() / repo[2:])
    if not repo.startswith("/") and (repo.startswith(".") or (root / repo).exists()):
        return str((root / repo).resolve())
    return repo
