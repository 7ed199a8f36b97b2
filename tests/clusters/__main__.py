"""A cluster to try things with: it stays until it is told to go, and lies in one directory.

python -m tests.clusters up [NODES] [DIRECTORY]
python -m tests.clusters down [DIRECTORY]
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.clusters.cluster import start_cluster
from tests.clusters.images import write_app
from tests.waiting import eventually

_USUAL = Path(tempfile.gettempdir()) / "substitute-cluster"


def main(arguments: list[str]) -> None:
    """Do what the command line says."""
    match arguments:
        case ["up", *more] if len(more) <= 2:
            _up(int(more[0]) if more else 1, Path(more[1]) if len(more) == 2 else _USUAL)
        case ["down", *more] if len(more) <= 1:
            _down(Path(more[0]) if more else _USUAL)
        case ["keep", nodes, directory]:
            _keep(int(nodes), Path(directory))
        case _:
            sys.exit(__doc__)


def _up(nodes: int, directory: Path) -> None:
    """Have another process keep the cluster: its machines end with who started them."""
    directory.mkdir(parents=True)
    with (directory / "log").open("wb") as log:
        keeper = subprocess.Popen(
            [sys.executable, "-m", "tests.clusters", "keep", str(nodes), str(directory)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    (directory / "pid").write_text(str(keeper.pid))
    told = directory / "told"
    eventually(lambda: told.exists() or keeper.poll() is not None, "the cluster is there", patience=300)
    if not told.exists():
        sys.exit((directory / "log").read_text())
    sys.stdout.write(told.read_text())


def _keep(nodes: int, directory: Path) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    with start_cluster(directory, nodes) as cluster:
        for version in ("v1", "v2"):
            tar = directory / f"shop-{version}.tar"
            with tar.open("wb") as out:
                write_app(out, f"localhost/shop:{version}", version)
            cluster.load_image(tar)
        lines = [
            f"nodes: {dict(cluster.nodes)}",
            f"here: {cluster.here}",
            "images on every node: localhost/shop:v1 localhost/shop:v2 (port 8080)",
            f"alias kubectl='{' '.join(cluster.kubectl_command())}'",
        ]
        new = directory / "told.new"
        new.write_text("\n".join(lines) + "\n")
        new.rename(directory / "told")
        while True:
            signal.pause()


def _down(directory: Path) -> None:
    pid = int((directory / "pid").read_text())
    if _keeps(pid, directory):
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: not _keeps(pid, directory), "the cluster is gone")
    shutil.rmtree(directory)


def _keeps(pid: int, directory: Path) -> bool:
    """Whether that process runs, and is the one of that directory."""
    try:
        return str(directory) in Path(f"/proc/{pid}/cmdline").read_text()
    except FileNotFoundError:
        return False


if __name__ == "__main__":
    main(sys.argv[1:])
