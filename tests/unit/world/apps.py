"""The three apps of the model, as they are configured."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.core.model.app_settings import Build, Drain, Release, Secrets, Verify, Waves
from substitute.core.model.apps import App, Order, ProcessType
from substitute.core.model.crons import Cron
from substitute.core.model.health import Health
from substitute.core.model.programs import Limits
from substitute.core.model.secrets import SecretSource
from substitute.core.model.slots import Endpoint, Slot, SlotName

if TYPE_CHECKING:
    from pathlib import Path

PORTS = {"shop": (3001, 3002), "blog": (4001, 4002), "mall": (6001, 6011)}
WORKERS = {"worker": Order.START_FIRST, "clock": Order.STOP_FIRST}
"""Processes of mall's, which has two web instances besides."""
CRONS = {"mall": {"digest": Cron("* * * * *", "work", 60.0), "tidy": Cron("*/2 * * * *", "work", 60.0)}}
HEALTHY = "healthy "
"""The command of a health check begins so, and then comes the page."""
SECRETS = {"shop": "of shop alone", "mall": "of mall alone"}
GUEST, GUEST_PORT = "worker", 5001
STOP_LIMIT, DRAIN_LIMIT = 4.0, 0.2
"""Seconds: both timeouts."""
WAVES = Waves(0.25, 0.1)
"""They begin later than a drain without them ends."""


def make_app(root: Path, name: str) -> App:
    return App(
        name=name,
        root=root,
        repo="repo",
        branch=None,
        build=Build(("make",)),
        clean=False,
        start="serve /",
        slots={
            slot: Slot(slot, root / f"{name}_{slot}", endpoints_of(name, port))
            for slot, port in zip(SlotName, PORTS[name], strict=True)
        },
        domains=(f"{name}.example.com",),
        env={},
        health=Health("http", "/", None, timeout=1.0, interval=0.1, successes=2),
        drain=Drain(DRAIN_LIMIT),
        stop_timeout=STOP_LIMIT,
        verify=Verify(0.2),
        hooks_timeout=60.0,
        release=Release(("migrate",)),
        secrets=Secrets(sources={"KEY": SecretSource(name)} if name in SECRETS else {}),
        processes=_processes() if name == "mall" else {},
        crons=CRONS.get(name, {}),
    )


def endpoints_of(app: str, port: int) -> tuple[Endpoint, ...]:
    return tuple(Endpoint("127.0.0.1", port + number) for number in range(2 if app == "mall" else 1))


def _processes() -> dict[str, ProcessType]:
    runs = Health("runs", "", None, timeout=1.0, interval=0.1, successes=1)
    return {
        name: ProcessType(
            *("work", 1, order, runs, STOP_LIMIT),
            user=None,
            limits=Limits(),
            env={},
            stop_signal="SIGUSR1",
            background=order is Order.START_FIRST,
        )
        for name, order in WORKERS.items()
    }


def write_hook(app: App, name: str) -> None:
    hooks = app.state_directory / "hooks"
    hooks.mkdir(parents=True, exist_ok=True)
    (hooks / name).write_text("#!/bin/sh\n")
    (hooks / name).chmod(0o755)
