"""The lines that teach an app to obey its stop signal, by what it runs on. ``docs/sigterm.md`` explains each."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from substitute.core.model.programs import SIGTERM
from substitute.values import dataclass

if TYPE_CHECKING:
    from substitute.core.ports.observer import Member

DOCUMENT = "docs/sigterm.md"


class Platform(StrEnum):
    """What is told apart."""

    NODE = "node"
    GUNICORN = "gunicorn"
    UVICORN = "uvicorn"
    PUMA = "puma"
    GO = "go"
    JAVA = "java"
    UNICORN = "unicorn"
    PHP_FPM = "php-fpm"


@dataclass(frozen=True)
class _Lines:
    obey: str
    """What makes it finish its requests and exit."""
    limit: str
    """What bounds the time that it takes; 25 s, for the stop.timeout is 30 s by default."""
    refuse: str = ""
    """What makes it refuse new connections at once, where that is something else."""
    signals: tuple[str, ...] = ()
    """Those on which it finishes its requests; empty where the app itself decides."""


_LINES = {
    Platform.NODE: _Lines(
        "process.on('SIGTERM', () => { server.close(() => process.exit(0)); server.closeIdleConnections() })",
        "setTimeout(() => process.exit(1), 25000).unref(), when SIGTERM comes",
    ),
    Platform.GUNICORN: _Lines(
        "leave SIGTERM to gunicorn: no signal.signal() of the app's own",
        "gunicorn --graceful-timeout 25",
        refuse="gunicorn -k gevent, or for ASGI -k uvicorn_worker.UvicornWorker: these close the socket at once",
        signals=(SIGTERM,),
    ),
    Platform.UVICORN: _Lines(
        "leave SIGTERM to uvicorn: no signal.signal() of the app's own",
        "uvicorn --timeout-graceful-shutdown 25",
        refuse="uvicorn without --workers: with it, the parent keeps the socket until the last request is done",
        signals=(SIGTERM, "SIGINT"),
    ),
    Platform.PUMA: _Lines(
        "leave SIGTERM to puma: no trap('TERM') of the app's own",
        "force_shutdown_after 25, in config/puma.rb",
        signals=(SIGTERM, "SIGINT"),
    ),
    Platform.GO: _Lines(
        "wait for signal.NotifyContext(ctx, syscall.SIGTERM), then for srv.Shutdown(ctx) to return, then exit",
        "srv.Shutdown with a context.WithTimeout of 25 s",
    ),
    Platform.JAVA: _Lines(
        "server.shutdown=graceful in application.properties (Spring Boot; from 3.4 on it is the default)",
        "spring.lifecycle.timeout-per-shutdown-phase=25s in application.properties",
        signals=(SIGTERM, "SIGINT", "SIGHUP"),
    ),
    Platform.UNICORN: _Lines(
        "leave SIGQUIT to unicorn: no trap('QUIT') of the app's own",
        "timeout 25, in the file that unicorn -c reads",
        refuse="unicorn keeps its socket until the last request is done, which does no harm behind a balancer",
        signals=("SIGQUIT",),
    ),
    Platform.PHP_FPM: _Lines(
        "process_control_timeout = 25s in php-fpm.conf: without it running requests are cut",
        "process_control_timeout = 25s in php-fpm.conf",
        signals=("SIGQUIT",),
    ),
}

SHELLS = frozenset({"sh", "ash", "dash", "bash", "zsh", "ksh"})
SCRIPT_RUNNERS = frozenset({"npm", "npx", "yarn", "pnpm", "bun"})
"""Programs that run a script of package.json in a shell."""


def to_obey(app: str, platform: str, signal: str) -> str:
    """The line after which `app`, on `platform`, does on `signal` what it should."""
    return _line(app, platform, signal, "obey")


def to_refuse(app: str, platform: str, signal: str) -> str:
    """The line after which it refuses new connections as soon as `signal` comes."""
    other = platform in _LINES and _LINES[Platform(platform)].refuse
    return _line(app, platform, signal, "refuse" if other else "obey")


def to_end_in_time(app: str, platform: str, signal: str) -> str:
    """The line that bounds how long its end may take."""
    return _line(app, platform, signal, "limit")


def to_be_reached(main: Member, keeper: Member, signal: str) -> str:
    """What brings `signal`, which `main` gets, past `keeper`. What listens is not named: its name may be a title."""
    if main.name in SCRIPT_RUNNERS:
        how = (
            f"write the command of that script into `start`, without {main.name}, "
            "or let the script in package.json begin with `exec`"
        )
    elif keeper.name in SHELLS:
        how = f"let the last command that {keeper.name} runs begin with `exec`: it then takes the place of the shell"
    else:
        how = f"let `start` run the app itself, or have {keeper.name} pass {signal} on"
    return f"{how}; see {DOCUMENT}"


def for_slow_requests() -> str:
    """What lets a request that came whole be answered."""
    return f"answer it before databases and the like are closed, and before the server's own limit; see {DOCUMENT}"


def for_large_answers(app: str, platform: str, signal: str) -> str:
    """What lets an answer that is read slowly be sent to its end."""
    if platform == Platform.NODE:
        return (
            "close idle connections only while no answer is under way: server.close() of Node cuts off an answer that "
            f'its client has not read yet; see "Large answers" in {DOCUMENT}'
        )
    return to_obey(app, platform, signal)


def to_prove(app: str) -> str:
    """What shows whether a running request is finished, where the usual requests do not."""
    return (
        "name a path whose answer takes a second or more: `substitute check --slow /PATH`, "
        f'or slow = "/PATH" in [app.{app}.check]; see {DOCUMENT}'
    )


def to_speak_http(app: str) -> str:
    """What lets connections be tested."""
    return f'kind = "http" in [app.{app}.health], if the app speaks HTTP; see {DOCUMENT}'


def for_children(signal: str) -> str:
    """What keeps children from outliving the app."""
    return f"pass {signal} on to every child, and wait for it before the exit; see {DOCUMENT}"


def _line(app: str, platform: str, signal: str, kind: str) -> str:
    if platform not in _LINES:
        return f"see {DOCUMENT}"
    lines = _LINES[Platform(platform)]
    if lines.signals and signal not in lines.signals:
        asked = f'signal = "{lines.signals[0]}" in [app.{app}.stop]'
        return f"write {asked}: by that {platform} finishes its requests; see {DOCUMENT}"
    line: str = getattr(lines, kind)
    return f"{line.replace(SIGTERM, signal)}; see {DOCUMENT}"
