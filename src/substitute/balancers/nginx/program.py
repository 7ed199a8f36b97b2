"""nginx as a program: which one, what it says of its configuration, and where it keeps its pid."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from substitute.core.model.errors import UnmovedError
from substitute.linux.subprocesses import capture
from substitute.values import dataclass

_ELSEWHERE = "/usr/local/sbin:/usr/sbin:/sbin:/opt/nginx/sbin:/usr/local/nginx/sbin"
"""Where it is installed, but which is not on every user's PATH."""
_CURE = "Install nginx, or set balancer.binary in substitute.toml."
_PATIENCE = 60.0
"""Seconds for `nginx -T`, which asks the DNS for every server that is a name."""
_KEEPS_CLIENTS_FROM = (1, 27, 4)
_SERIOUS = re.compile(r"\[(?:emerg|alert|crit)\] (?:\d+#\d+: )?(.+)")
_FILE = re.compile(r"^# configuration file (.+):$", re.MULTILINE)


class RefusedError(UnmovedError):
    """nginx can't use its configuration."""


@dataclass(frozen=True)
class Setup:
    """What nginx says of itself and of the configuration that it would start with."""

    version: tuple[int, ...]
    """As ``(1, 22, 1)``; empty where it does not tell."""
    main: Path
    """The file that includes all others."""
    files: frozenset[Path]
    """All that are read, without links."""
    pid_file: Path
    error_log: Path | None
    """Where its master complains; None where that is no file."""
    patient: bool
    """``keepalive_min_timeout`` is set, and known to this version: idle clients are not cut off by a reload."""


def choose(configured: str | None) -> str:
    """The program: `configured`, else the one that is installed. Raises UnmovedError."""
    if configured:
        found = shutil.which(configured)
        if not found:
            raise UnmovedError(f"balancer.binary = {configured!r} is no program.", cure=_CURE)
        return found
    installed = shutil.which("nginx") or shutil.which("nginx", path=_ELSEWHERE)
    if not installed:
        raise UnmovedError("There is no nginx on this machine.", cure=_CURE)
    return installed


def inspect(binary: str, config: Path | None) -> Setup:
    """Have nginx read its configuration without serving by it. Raises UnmovedError with what it says."""
    told = ["-c", str(config)] if config else []
    try:
        about = capture([binary, "-V"], timeout=_PATIENCE)
        checked = capture([binary, "-T", *told], timeout=_PATIENCE)
    except OSError as error:
        raise UnmovedError(
            f"{binary} cannot be run.", fact=error.strerror or str(error), cure=_CURE
        ) from error
    if checked.status:
        fact = complaint(checked.err)
        checks = f"`{' '.join([binary, '-t', *told])}` checks it."
        raise RefusedError(
            "nginx refuses its configuration, and serves as before.",
            fact=fact,
            cure=f"Run substitute as nginx's master does. {checks}"
            if "Permission denied" in fact
            else checks,
        )
    return understand(about.err + about.out, checked.out)


def understand(about: str, dump: str) -> Setup:
    """What ``nginx -V`` and ``nginx -T`` mean."""
    version = re.search(r"version: \S+?/(\d+)\.(\d+)\.(\d+)", about)
    numbers = tuple(map(int, version.groups())) if version else ()
    files = [Path(found[1]) for found in _FILE.finditer(dump)]
    prefix = _compiled(about, "prefix") or "/usr/local/nginx"
    pid_file = _directive(dump, "pid") or _compiled(about, "pid-path") or "logs/nginx.pid"
    error_log = _directive(dump, "error_log") or _compiled(about, "error-log-path") or "logs/error.log"
    patient = numbers >= _KEEPS_CLIENTS_FROM and _directive(dump, "keepalive_min_timeout") not in (
        "",
        "0",
        "0s",
    )
    return Setup(
        version=numbers,
        main=files[0] if files else Path(),
        files=frozenset(file.resolve() for file in files),
        pid_file=Path(prefix, pid_file),
        error_log=None if error_log.startswith(("stderr", "syslog:", "memory:")) else Path(prefix, error_log),
        patient=patient,
    )


def complaint(text: str) -> str:
    """The lines of nginx's output, or of its log, that say what is wrong; each one once."""
    lines = [line.strip() for line in text.splitlines()]
    serious = [found[1] for line in lines if (found := _SERIOUS.search(line))]
    return "\n".join(list(dict.fromkeys(serious))[:4] or lines[-4:])


def _directive(dump: str, name: str) -> str:
    """The first argument of the first directive called `name`, or empty."""
    found = re.search(
        rf"(?:^|[;{{}}])\s*{name}\s+([\"']?)(?P<value>[^;]+?)\1(?:\s[^;]*)?;", _bare(dump), re.MULTILINE
    )
    return found["value"] if found else ""


def _bare(dump: str) -> str:
    return re.sub(r"(?:^|(?<=[\s;{}]))#.*$", "", dump, flags=re.MULTILINE)


def _compiled(about: str, name: str) -> str:
    found = re.search(rf"--{name}=(\S+)", about)
    return found[1] if found else ""
