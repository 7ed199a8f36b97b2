"""Config → the core's App: every path absolute, nothing left to look up."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from substitute.config.values import parse_memory, parse_processors
from substitute.core.model.apps import App, Health, Trials
from substitute.core.model.programs import Limits, Protection
from substitute.core.model.slots import Endpoint, Slot, SlotName

if TYPE_CHECKING:
    from substitute.config.envfile import EnvFile
    from substitute.config.models import AppConfig, Config, LimitsConfig


def apps(config: Config, root: Path) -> dict[str, App]:
    """The apps of `config` by name; `root` is absolute."""
    return {name: _app(name, app, root) for name, app in config.app.items()}


def _app(name: str, app: AppConfig, root: Path) -> App:
    return App(
        name=name,
        root=root,
        repo=resolve_repo(app.repo, root),
        branch=app.branch,
        build=app.build,
        build_timeout=app.build_timeout,
        clean=app.clean,
        start=app.start,
        slots={slot: Slot(slot, root / f"{name}_{slot}", _endpoints(app, slot)) for slot in SlotName},
        domains=app.domains,
        env=app.env,
        health=Health(
            kind=app.health.kind,
            path=app.health.path,
            host=app.health.host,
            timeout=app.health.timeout,
            interval=app.health.interval,
            successes=app.health.successes,
        ),
        drain_timeout=app.drain.timeout,
        stop_timeout=app.stop.timeout,
        verify_for=app.verify.duration,
        verify_share=app.verify.share,
        hooks_timeout=app.hooks.timeout,
        user=app.user,
        trials=Trials(app.check.slow, app.check.large, app.check.upload),
        notifies=app.notify,
        limits=_limits(app.limits),
        env_file=app.env_file.path if app.env_file else None,
        secrets=app.env_file.values if app.env_file else {},
        env_file_problem=_problem(app.env_file),
        protections=frozenset(one for one in Protection if getattr(app.sandbox, one)),
    )


def _problem(env_file: EnvFile | None) -> str:
    return f"{env_file.path} cannot be used: {env_file.problem}." if env_file and env_file.problem else ""


def _limits(limits: LimitsConfig) -> Limits:
    return Limits(
        memory=parse_memory(limits.memory) if limits.memory else None,
        cpu=parse_processors(limits.cpu) if limits.cpu else None,
        tasks=limits.tasks,
        nofile=limits.nofile,
    )


def _endpoints(app: AppConfig, slot: SlotName) -> tuple[Endpoint, ...]:
    # The one place to change when a slot may have several ports.
    return (Endpoint(app.host, app.ports[list(SlotName).index(slot)]),)


def resolve_repo(repo: str, root: Path) -> str:
    """Make a path absolute, against the root; a URL or ``host:path`` stays as it is."""
    if repo.startswith("~/"):
        return str(Path.home() / repo[2:])
    if not repo.startswith("/") and (repo.startswith(".") or (root / repo).exists()):
        return str((root / repo).resolve())
    return repo
