"""Two machines in front of one cluster, each with HAProxy and a root at the same path; their power can be cut."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.clusters import settings
from tests.clusters.cluster import put
from tests.clusters.images import PORT
from tests.machines import Machine

if TYPE_CHECKING:
    from tests.clusters.cluster import Cluster
    from tests.e2e.registries import Registry

ROOT = "/srv/shop"
LISTENS = 8080
_FIRST = 10
"""The number of the first one on the cluster's network."""


class Edge:
    """One of them; `run` is the real command, typed there."""

    def __init__(self, cluster: Cluster, number: int) -> None:
        self.cluster = cluster
        self.name = f"edge{number}"
        self.machine = Machine()
        self._number = _FIRST + number
        self.url = f"http://{cluster.address(self._number)}:{LISTENS}/"

    def switch_on(self, files: dict[str, bytes]) -> None:
        """Boot it the first time, with these files."""
        self.machine.switch_on()
        self.machine.await_boot(0)
        put(self.machine, files)
        self._begin()

    def power_off(self) -> None:
        """Have it be gone from one moment to the next."""
        self.cluster.pull(self._number)
        self.machine.power_off()

    def power_on(self) -> None:
        """Have it back, with what is on its disk."""
        self.machine.power_on()
        self._begin()

    def _begin(self) -> None:
        self.machine.run("hostname", self.name)
        self.cluster.plug(self.machine, self._number)

    def popen(self, *arguments: str) -> subprocess.Popen[str]:
        """Type it."""
        command = self.machine.command(sys.executable, "-m", "substitute", "-C", ROOT, *arguments)
        piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
        return subprocess.Popen(command, text=True, **piped)  # type: ignore[call-overload,no-any-return]

    def run(self, *arguments: str, exit_status: int = 0) -> subprocess.CompletedProcess[str]:
        """What it wrote; it has to end with that status."""
        with self.popen(*arguments) as process:
            out, err = process.communicate(timeout=180)
        assert process.returncode == exit_status, f"{self.name}: exit {process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def interrupt(self, command: str) -> None:
        """Type Ctrl-C where that command runs."""
        self.machine.run("pkill", "-INT", "-f", f"substitute -C {ROOT} {command}")

    def app(self) -> dict[str, Any]:
        """What `status` says of the app."""
        found: dict[str, Any] = json.loads(self.run("status", "--json").stdout)["apps"][0]
        return found

    def configure(self, files: dict[str, bytes]) -> None:
        """Write these files."""
        put(self.machine, files)

    def log(self) -> str:
        """What its follower wrote, for a test that fails."""
        return self.machine.run("sh", "-c", f"cat {ROOT}/deploy/run/log/*.log", check=False).stdout


def files_of(
    cluster: Cluster,
    registry: Registry,
    namespace: str,
    ports: tuple[int, int],
    *,
    names: tuple[str, ...],
    more: str = "",
) -> dict[str, bytes]:
    """What both have alike: substitute.toml, a kubeconfig, and that the registry is asked without TLS."""
    nodes, edges = json.dumps(list(cluster.nodes.values())), json.dumps(names)
    text = (
        f'[balancer]\nlisten = "0.0.0.0:{LISTENS}"\n[runtime]\nkind = "kubernetes"\n'
        f'[cluster]\nnodes = {nodes}\nnamespace = "{namespace}"\nkubeconfig = "kubeconfig"\nedges = {edges}\n'
        f'[app.shop]\nsource = "image"\nimage = "{registry.address}/shop"\ncontainer_port = {PORT}\n'
        f"replicas = 2\nports = [{ports[0]}, {ports[1]}]\n{more or SICK_LATE}"
    )
    token = cluster.token()
    return {
        f"{ROOT}/substitute.toml": text.encode(),
        f"{ROOT}/kubeconfig": settings.kubeconfig(
            cluster.server, Path(f"{ROOT}/ca.crt"), {"token": token}
        ).encode(),
        f"{ROOT}/ca.crt": cluster.ca_file.read_bytes(),
        "/root/.config/containers/registries.conf": (
            f'[[registry]]\nlocation = "{registry.address}"\ninsecure = true\n'
        ).encode(),
    }


SICK_LATE = 'health = { path = "/healthz", timeout = "120s" }\n'
"""What is never ready is waited for, so that a deployment can be met in its middle."""
