"""The lines that teach an app to obey SIGTERM, by what it runs on. ``docs/sigterm.md`` explains each."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from substitute.core.ports import Member

DOCUMENT = "docs/sigterm.md"


class Platform(StrEnum):
    """What is told apart."""

    NODE = "node"
    GUNICORN = "gunicorn"
    UVICORN = "uvicorn"
    PUMA = "puma"
    GO = "go"
    JAVA = "java"


@dataclass(frozen=True)
class _Lines:
    obey: str
    """What makes it refuse new connections, finish its requests and exit."""
    limit: str
    """What bounds the time that it takes."""


_LINES = {
    Platform.NODE: _Lines(
        obey="process.on('SIGTERM', () => { server.close(() => process.exit(0)); server.closeIdleConnections() })",
        limit="setTimeout(() => process.exit(1), 25000).unref() in the handler of SIGTERM",
    ),
    Platform.GUNICORN: _Lines(
        obey="leave SIGTERM to gunicorn (no signal.signal() of the app's own), version 26 or later",
        limit="gunicorn --graceful-timeout 25",
    ),
    Platform.UVICORN: _Lines(
        obey="leave SIGTERM to uvicorn: no signal.signal() of the app's own",
        limit="uvicorn --timeout-graceful-shutdown 25",
    ),
    Platform.PUMA: _Lines(
        obey="leave SIGTERM to puma: no trap('TERM') of the app's own",
        limit="force_shutdown_after 25 in config/puma.rb",
    ),
    Platform.GO: _Lines(
        obey="signal.NotifyContext(ctx, syscall.SIGTERM), then srv.Shutdown(...), and main waits until it returns",
        limit="srv.Shutdown with a context.WithTimeout of 25 s",
    ),
    Platform.JAVA: _Lines(
        obey="server.shutdown=graceful in application.properties (Spring Boot; the default since 3.4)",
        limit="spring.lifecycle.timeout-per-shutdown-phase=25s in application.properties",
    ),
}

_SHELLS = frozenset({"sh", "ash", "dash", "bash", "zsh", "ksh"})
_SCRIPT_RUNNERS = frozenset({"npm", "npx", "yarn", "pnpm", "bun"})


def to_obey(platform: str) -> str:
    """The line after which an app on `platform` does on SIGTERM what it should."""
    return _line(platform, "obey")


def to_end_in_time(platform: str) -> str:
    """The line that bounds how long its end may take."""
    return _line(platform, "limit")


def to_be_reached(wrapper: Member, app: Member) -> str:
    """What brings the signal to `app`, which `wrapper` keeps it from."""
    if wrapper.name in _SHELLS:
        how = (
            f"let the last command of the line begin with `exec`, so that {app.name} replaces {wrapper.name}"
        )
    elif wrapper.name in _SCRIPT_RUNNERS:
        how = (
            f"let `start` run what the script in package.json does (`{app.name} ...`), without {wrapper.name}"
        )
    else:
        how = f"let `start` run {app.name} itself, or {wrapper.name} pass SIGTERM on"
    return f"{how}; see {DOCUMENT}"


def for_children() -> str:
    """What keeps children from outliving the app."""
    return f"pass SIGTERM on to every child, and wait for it before the exit; see {DOCUMENT}"


def _line(platform: str, kind: str) -> str:
    if platform not in _LINES:
        return f"see {DOCUMENT}"
    line: str = getattr(_LINES[Platform(platform)], kind)
    return f"{line}; see {DOCUMENT}"
