"""Compares substitute with what people would use instead, and writes docs/benchmarks.md and its picture.

    python -m bench.comparison [DEPLOYMENTS [ROLLBACKS]] [--only NAME]…

With --only, rows that have NAME in theirs are measured and printed, and nothing is written.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from functools import partial
from pathlib import Path

from bench.comparison.measurement import Figures, measure, own_start
from bench.comparison.page import table_row, write
from bench.comparison.procedures import Row, Script, Substitute, embedded, passive, pm2, reloaded, traefik
from bench.comparison.repository import Repository

_ONE = "server 127.0.0.1:1;"
_GUNICORN = (
    f"{Path(sys.executable).with_name('gunicorn')} --bind $BIND:$PORT --workers 2 --threads 8 --keep-alive 75"
)


def rows(npm: Path) -> list[Row]:
    """All procedures, in the page's order; `npm` is where PM2 may be installed."""
    return [
        Row("substitute, embedded HAProxy", partial(Substitute, front=embedded), ours=True),
        Row("substitute, `passive` behind the user's nginx", partial(Substitute, front=passive), ours=True),
        Row("substitute, `traefik`", partial(Substitute, front=traefik), ours=True),
        Row("substitute, `nginx`", partial(Substitute, front=reloaded), ours=True),
        Row("blue-green script, `nginx -s reload`", partial(_script, "nginx_blue_green.sh", "{a}", "ab")),
        Row("two slots, static nginx, SIGTERM first", partial(_script, "origin.sh", "{a} {b}", "ab")),
        Row("stop, then start, behind nginx", partial(_script, "stop_then_start.sh", "{a}", "a")),
        Row("PM2 reload", partial(_pm2, npm, "")),
        Row("PM2 reload, behind nginx", partial(_pm2, npm, "{a}")),
        Row("gunicorn HUP", partial(_script, "gunicorn_hup.sh", "", "a"), gunicorn=True),
        Row("gunicorn HUP, behind nginx", partial(_script, "gunicorn_hup.sh", "{a}", "a"), gunicorn=True),
        Row(
            "substitute, embedded HAProxy, gunicorn",
            partial(Substitute, front=embedded, start=f"{_GUNICORN} app:application"),
            ours=True,
            gunicorn=True,
        ),
    ]


def main(deployments: int, rollbacks: int, chosen: list[str]) -> None:
    """Measure the rows, print each, and write the page where all were measured."""
    found: list[tuple[Row, Figures]] = []
    with tempfile.TemporaryDirectory(prefix="substitute-bench-") as temporary:
        place = Path(temporary)
        app = Repository(place / "app").directory
        boots = {False: own_start(["node", "www.js"], app), True: own_start(_command(), app)}
        for number, row in enumerate(rows(place / "npm")):
            if chosen and not any(part in row.name for part in chosen):
                continue
            home = place / str(number)
            home.mkdir()
            procedure = row.make(home)
            try:
                figures = measure(procedure, deployments=deployments, rollbacks=rollbacks, directory=home)
            finally:
                procedure.end()
            found.append((row, figures))
            print(table_row(row, figures, boots[row.gunicorn]), flush=True)  # noqa: T201
        package = place / "npm" / "node_modules" / "pm2" / "package.json"
        version = json.loads(package.read_text())["version"] if package.exists() else ""
    if not chosen:
        write(found, boots, rollbacks=rollbacks, pm2=version)


def _script(script: str, servers: str, clones: str, place: Path) -> Script:
    upstream = " ".join(f"server {server};" for server in servers.split())
    return Script(place, script, upstream=upstream, clones=clones)


def _pm2(npm: Path, server: str, place: Path) -> Script:
    upstream = f"server {server};" if server else ""
    return Script(place, "pm2_reload.sh", upstream=upstream, pm2=pm2(npm))


def _command() -> list[str]:
    return ["/bin/sh", "-c", f"BIND=127.0.0.1; exec {_GUNICORN} app:application"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("deployments", nargs="?", type=int, default=5)
    parser.add_argument("rollbacks", nargs="?", type=int, default=3)
    parser.add_argument(
        "--only", action="append", default=[], metavar="NAME", help="rows with this in their name"
    )
    typed = parser.parse_args()
    main(typed.deployments, typed.rollbacks, typed.only)
