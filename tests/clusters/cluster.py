"""A real Kubernetes of the tests' own: API server, scheduler and controllers, and nodes whose containers really run."""

from __future__ import annotations

import http.client
import io
import json
import shutil
import ssl
import subprocess
import tarfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.clusters import settings
from tests.clusters.certificates import Authority
from tests.clusters.images import write_pause
from tests.clusters.watches import enough_watches
from tests.machines import UNAVAILABLE, Machine
from tests.networks import Network
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_BUILD = Path(__file__).parents[2] / "tools" / "kubernetes" / "build"
_PATIENCE = 120.0
"""Seconds for whatever is waited for. Some seconds are enough where nothing else runs."""
_CONTROL = 2
"""The number of the control plane's machine on the network; those of the nodes follow FIRST."""
_FIRST = 20
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Cluster:
    """Kubernetes on machines of its own, from `start_cluster` to the end of its block.

    This machine is on their network: it reaches `server`, and each NodePort at the address of every node. The nodes
    reach it at `here`. Pods reach each other, services by their addresses (there is no DNS), and `here`.

    It has an engine of the nodes' own (containerd) and no registry: images are brought by `load_image`, or fetched
    from a registry that `trust_registry` named.
    """

    def __init__(self, directory: Path, nodes: int, *, grace: int, eviction: int) -> None:
        self.directory = directory
        self._grace, self._eviction = grace, eviction
        self._program = _program()
        self._network = Network()
        self._numbers = {f"node{number}": number for number in range(1, nodes + 1)}
        shows = (self._program.parent,)
        self._control = Machine(shows=shows)
        self._machines = {name: Machine(engine=True, shows=shows) for name in self._numbers}
        self._stack = ExitStack()

    # What a test needs to know.

    @property
    def server(self) -> str:
        """The URL of the API server."""
        return f"https://{self._network.address(_CONTROL)}:{settings.API_PORT}"

    @property
    def ca_file(self) -> Path:
        """By which its certificate is verified."""
        return self.directory / "pki" / "ca.crt"

    @property
    def here(self) -> str:
        """This machine's address, as nodes and pods reach it."""
        return self._network.here

    @property
    def kubeconfig(self) -> Path:
        """For the administrator, who has a client certificate."""
        return self.directory / "admin.kubeconfig"

    @property
    def nodes(self) -> Mapping[str, str]:
        """The address of each node by its name, from node1 on."""
        return {name: self._network.address(_FIRST + number) for name, number in self._numbers.items()}

    # Who else may come.

    def token(
        self, account: str = "deployer", *, role: str = "cluster-admin", namespace: str = "default"
    ) -> str:
        """A bearer token of a service account, which is made where there is none, and has the cluster role `role`."""
        for kind in (
            {
                "apiVersion": "v1",
                "kind": "ServiceAccount",
                "metadata": {"name": account, "namespace": namespace},
            },
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": f"{namespace}-{account}"},
                "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
                "subjects": [{"kind": "ServiceAccount", "name": account, "namespace": namespace}],
            },
        ):
            self.apply(kind)
        return self.kubectl("create", "token", account, "--namespace", namespace, "--duration", "10h").strip()

    def token_kubeconfig(self, token: str, name: str = "token") -> Path:
        """For who has that bearer token."""
        return self._write_kubeconfig(name, {"token": token})

    def plugin_kubeconfig(self, token: str, name: str = "plugin") -> Path:
        """For who gets that token from a program, as the clouds have it.

        The program reads it anew from the file NAME.token each time, and adds a line to NAME.calls; both lie beside
        the kubeconfig.
        """
        plugin = self.directory / f"{name}-plugin"
        secret, calls = self.directory / f"{name}.token", self.directory / f"{name}.calls"
        secret.write_text(token)
        calls.write_text("")
        api = "client.authentication.k8s.io/v1"
        credential = json.dumps({"apiVersion": api, "kind": "ExecCredential", "status": {"token": "%s"}})
        plugin.write_text(f"#!/bin/sh\necho asked >>'{calls}'\nprintf '{credential}' \"$(cat '{secret}')\"\n")
        plugin.chmod(0o755)
        command = {
            "apiVersion": api,
            "command": str(plugin),
            "interactiveMode": "Never",
        }
        return self._write_kubeconfig(name, {"exec": command})

    def _write_kubeconfig(self, name: str, user: dict[str, object]) -> Path:
        path = self.directory / f"{name}.kubeconfig"
        path.write_text(settings.kubeconfig(self.server, self.ca_file, user))
        path.chmod(0o600)
        return path

    # What can be asked of it.

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """What kubectl says as the administrator."""
        done = subprocess.run(
            self.kubectl_command(*arguments),
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE + 60,
            env={"PATH": _PATH, "HOME": str(self.directory)},  # neither somebody's ~/.kube nor his proxy
        )
        assert not check or done.returncode == 0, f"kubectl {arguments}: {done.stderr}"
        return done.stdout

    def kubectl_command(self, *arguments: str) -> list[str]:
        """What runs kubectl, for who wants to start it himself."""
        return [str(self._program), "kubectl", "--kubeconfig", str(self.kubeconfig), *arguments]

    def apply(self, *manifests: Mapping[str, object]) -> None:
        """Have these objects."""
        self.kubectl("apply", "-f", "-", stdin="\n---\n".join(json.dumps(one) for one in manifests))

    def get(self, path: str) -> Any:
        """What the API answers to a GET, as the administrator: ``/api/v1/nodes``. Quicker than kubectl by far."""
        host = self._network.address(_CONTROL)
        connection = http.client.HTTPSConnection(host, settings.API_PORT, context=self._context, timeout=10.0)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        assert answer.status == http.client.OK, f"{path}: {answer.status} {text}"
        return json.loads(text) if text.startswith("{") else text

    def ready(self) -> set[str]:
        """The names of the nodes that are ready, as the API server knows it."""
        return {
            node["metadata"]["name"]
            for node in self.get("/api/v1/nodes")["items"]
            for condition in node["status"].get("conditions", [])
            if condition["type"] == "Ready" and condition["status"] == "True"
        }

    def machine(self, node: str) -> Machine:
        """The machine of a node, or ``control``."""
        return self._control if node == "control" else self._machines[node]

    # What can be done to it.

    def load_image(self, tar: Path) -> None:
        """Have every node hold the images of an OCI or Docker archive."""
        with ThreadPoolExecutor(len(self._machines)) as pool:
            list(pool.map(lambda name: self._load(name, tar), self._machines))

    def _load(self, node: str, tar: Path) -> None:
        with tar.open("rb") as file:
            done = subprocess.run(
                self._machines[node].command("ctr", "--namespace", "k8s.io", "images", "import", "-"),
                stdin=file,
                capture_output=True,
                text=True,
                check=False,
                timeout=_PATIENCE,
            )
        assert done.returncode == 0, f"{tar} on {node}: {done.stderr}"

    def trust_registry(self, address: str) -> None:
        """Have every node ask the registry at HOST:PORT without TLS."""
        text = f'server = "http://{address}"\n[host."http://{address}"]\n'
        for machine in self._machines.values():
            put(machine, {f"{settings.REGISTRIES}/{address}/hosts.toml": text.encode()})

    def power_off(self, node: str) -> None:
        """Have a node, or ``control``, be gone from one moment to the next, without a word to anybody."""
        self._network.pull(self._number(node))
        self.machine(node).power_off()

    def power_on(self, node: str) -> None:
        """Have it back, and return when it is ready. Its disk is as it was."""
        self.machine(node).power_on()
        if node == "control":
            self._start_control()
            self._await_api()
        else:
            self._start_node(node)
            self._await_nodes({node})

    def address(self, number: int) -> str:
        """The address of another machine on its network, from 3 to 19, or above those of the nodes."""
        return self._network.address(number)

    def plug(self, machine: Machine, number: int) -> None:
        """Have another machine be on its network, after each boot."""
        self._network.plug(machine, number)

    def pull(self, number: int) -> None:
        """Cut the cable of one."""
        self._network.pull(number)

    def cordon(self, node: str) -> None:
        """Have no new pods on a node."""
        self.kubectl("cordon", node)

    def drain(self, node: str) -> None:
        """Have its pods leave, and no new ones come."""
        self.kubectl(
            "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=100s"
        )

    def uncordon(self, node: str) -> None:
        """Let new pods come again."""
        self.kubectl("uncordon", node)

    # How it begins and ends.

    def start(self) -> None:
        """Boot all machines, and return when all nodes are ready."""
        self._stack.enter_context(enough_watches())
        self._stack.enter_context(self._network)
        for machine in (self._control, *self._machines.values()):
            self._stack.callback(machine.down)
            machine.switch_on()
        self._authority = Authority(self.directory / "pki")
        certificate, key = self._authority.issue("admin", "admin", group="system:masters")
        self._write_kubeconfig("admin", {"client-certificate": str(certificate), "client-key": str(key)})
        self._control.await_boot(0)
        self._install_control()
        self._start_control()
        pause = self.directory / "pause.tar"
        with pause.open("wb") as file:
            write_pause(file, settings.PAUSE)
        for name, machine in self._machines.items():
            machine.await_boot(0)
            self._install_node(name)
        self._await_api()
        for name in self._machines:
            self._start_node(name)
        self.load_image(pause)
        self._await_nodes(set(self._machines))

    def stop(self) -> None:
        """Switch all off, and leave nothing behind but the files of `directory`."""
        self._stack.close()

    @cached_property
    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.ca_file))
        context.load_cert_chain(self.directory / "pki" / "admin.crt", self.directory / "pki" / "admin.key")
        return context

    def _number(self, node: str) -> int:
        return _CONTROL if node == "control" else _FIRST + self._numbers[node]

    def _routes(self, node: str) -> list[str]:
        """How the pods of the other nodes are reached."""
        others = {name: number for name, number in self._numbers.items() if name != node}
        return [
            part for name, number in others.items() for part in (settings.pods_of(number), self.nodes[name])
        ]

    def _install_control(self) -> None:
        address = self._network.address(_CONTROL)
        self._authority.issue(
            "server", "kube-apiserver", group="system:masters", addresses=(address, settings.FIRST_SERVICE)
        )
        clients = ("kube-controller-manager", "kube-scheduler")
        files = self._identities({name: (f"system:{name}", "") for name in clients})
        pki = self.directory / "pki"
        for name in ("server.crt", "server.key", "service-accounts.key", "service-accounts.pub"):
            files[f"{settings.PKI}/{name}"] = (pki / name).read_bytes()
        units = settings.control_units(self._program, address, grace=self._grace, eviction=self._eviction)
        put(self._control, files | _unit_files(units))

    def _start_control(self) -> None:
        self._network.plug(self._control, _CONTROL)
        for pods, address in zip(*[iter(self._routes("control"))] * 2, strict=True):
            self._control.run("ip", "route", "replace", pods, "via", address)
        self._control.run("systemctl", "start", "--no-block", *settings.CONTROL)

    def _install_node(self, name: str) -> None:
        number, address = self._numbers[name], self.nodes[name]
        # Each node has its own name, and the right to speak of itself only.
        who = {"kubelet": (f"system:node:{name}", "system:nodes"), "kube-proxy": ("system:kube-proxy", "")}
        files = self._identities(who, prefix=f"{name}-")
        for path, text in settings.node_files(number, name, grace=self._grace).items():
            files[path] = text.encode()
        put(self._machines[name], files | _unit_files(settings.node_units(self._program, name, address)))

    def _start_node(self, name: str) -> None:
        machine = self._machines[name]
        self._network.plug(machine, self._number(name))
        machine.run("sh", f"{settings.PKI}/start-node", *self._routes(name))
        machine.run("systemctl", "start", *settings.NODE)
        eventually(
            lambda: machine.run("ctr", "version", check=False).returncode == 0,
            "containerd answers",
            patience=_PATIENCE,
        )

    def _identities(self, who: Mapping[str, tuple[str, str]], prefix: str = "") -> dict[str, bytes]:
        """Certificates and kubeconfigs of programs, by the paths that they have in their machine."""
        files = {f"{settings.PKI}/ca.crt": self.ca_file.read_bytes()}
        for program, (user, group) in who.items():
            certificate, key = self._authority.issue(prefix + program, user, group=group)
            there = f"{settings.PKI}/{program}"
            files |= {f"{there}.crt": certificate.read_bytes(), f"{there}.key": key.read_bytes()}
            identity: dict[str, object] = {"client-certificate": f"{there}.crt", "client-key": f"{there}.key"}
            text = settings.kubeconfig(self.server, f"{settings.PKI}/ca.crt", identity)
            files[f"{there}.kubeconfig"] = text.encode()
        return files

    def _await_api(self) -> None:
        def answers() -> bool:
            try:
                return bool(self.get("/readyz") == "ok")
            except (OSError, AssertionError, http.client.HTTPException):
                return False

        try:
            eventually(answers, "the API server is ready", patience=_PATIENCE)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.logs('control', 'kube-apiserver')}") from None

    def _await_nodes(self, names: set[str]) -> None:
        try:
            eventually(lambda: names <= self.ready(), f"{names} are ready", patience=_PATIENCE)
        except AssertionError as error:
            told = "".join(self.logs(name, "kubelet") for name in names - self.ready())
            raise AssertionError(f"{error}\n{told}") from None

    def logs(self, node: str, program: str, lines: int = 40) -> str:
        """The last that a program of a node, or of ``control``, wrote, by its name: kubelet, kube-apiserver."""
        return (
            self.machine(node)
            .run("journalctl", "--no-pager", "--output", "cat", "--lines", str(lines), "--unit", program)
            .stdout
        )


@contextmanager
def start_cluster(
    directory: Path, nodes: int = 3, *, grace: int = 16, eviction: int = 300
) -> Iterator[Cluster]:
    """Have a cluster whose nodes are ready, until the block ends. Skips where there can be none.

    `directory` gets its certificates and kubeconfigs. A node is called not ready when nothing was heard of it for
    `grace` seconds (Kubernetes itself waits for 50), and its pods are replaced after `eviction` more, where they do
    not say otherwise.
    """
    if UNAVAILABLE:
        pytest.skip(UNAVAILABLE)
    missing = [
        name
        for name in ("containerd", "runc", "openssl", "nft", "sysctl")
        if not shutil.which(name, path=_PATH)
    ]
    missing += [] if Path("/usr/lib/cni/bridge").exists() else ["containernetworking-plugins"]
    if missing or not _program().exists():
        pytest.skip(f"`make test-kubernetes` installs and builds what is missing: {missing or 'Kubernetes'}")
    cluster = Cluster(directory, nodes, grace=grace, eviction=eviction)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@cache
def _program() -> Path:
    """Where the programs of Kubernetes are, or would be."""
    return Path(subprocess.run([_BUILD, "where"], check=True, capture_output=True, text=True).stdout.strip())


def _unit_files(units: Mapping[str, str]) -> dict[str, bytes]:
    return {f"/etc/systemd/system/{name}.service": text.encode() for name, text in units.items()}


def put(machine: Machine, files: Mapping[str, bytes]) -> None:
    """Write files on the disk of a machine."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for path, content in files.items():
            entry = tarfile.TarInfo(path.lstrip("/"))
            entry.size, entry.mode = len(content), 0o600
            tar.addfile(entry, io.BytesIO(content))
    unpack = machine.command("tar", "--extract", "--directory", "/")
    subprocess.run(unpack, input=packed.getvalue(), check=True)
    machine.run("systemctl", "daemon-reload")
