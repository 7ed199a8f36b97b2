"""Several machines, each with a real sshd, reached by the real ssh; connections can be cut, and the power too."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest

from tests.e2e.site import Repository
from tests.machines import UNAVAILABLE, USER, Machine
from tests.waiting import eventually

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterator

RELAY = """\
import os, select, socket, sys
there = socket.create_connection(("127.0.0.1", 22))
ways = {0: there.fileno(), there.fileno(): 1}
while True:
    for ready in select.select(list(ways), [], [])[0]:
        data = os.read(ready, 65536)
        if not data:
            os._exit(0)
        while data:
            data = data[os.write(ways[ready], data):]
"""
"""Between ssh and a machine's sshd, in the network of the machine: killed, it is a connection that breaks; stopped, one
that is silent."""
GIT = 'repo = "/srv/git/shop.git"\nbuild = ["sh build.sh"]'
CONFIGURATION = """\
[balancer]
listen = "127.0.0.1:8080"
[hosts]
{hosts}
root = "shop"
ssh_config = "ssh_config"
{more_of_hosts}
[app.shop]
{source}
start = "{python} -S -E app.py"
ports = [3001, 3002]
{more}
"""


class Fleet:
    """Machines called web1, web2 …, and a root here that names them; `run` is the real command."""

    def __init__(self, count: int) -> None:
        self.place = Path(tempfile.mkdtemp(prefix="fleet-"))
        self._maker = os.getpid()
        self.root = self.place / "root"
        self.root.mkdir()
        self.names = [f"web{number}" for number in range(1, count + 1)]
        self.machines = {name: Machine() for name in self.names}
        self.repository = Repository(self.place / "repository")
        self.everywhere: str | None = None
        """The commit that is live on each, where a fixture has seen to that before the test."""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if UNAVAILABLE:
            pytest.skip(UNAVAILABLE)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.place / "key"], check=True)
        (self.place / "relay.py").write_text(RELAY)
        try:
            for machine in self.machines.values():
                self._stack.enter_context(machine)
                self._prepare(machine)
        except BaseException:
            self.__exit__()
            raise
        keys = Path("/etc/ssh/ssh_host_ed25519_key.pub").read_text().split()[:2]
        (self.place / "known_hosts").write_text("".join(f"{name} {' '.join(keys)}\n" for name in self.names))
        self.configure()
        self.publish()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
        if os.getpid() == self._maker:  # as in `Machine.down`
            shutil.rmtree(self.place, ignore_errors=True)

    def _prepare(self, machine: Machine) -> None:
        public = (self.place / "key.pub").read_text()

        def prepare() -> None:
            Path("/usr/local/bin/substitute").symlink_to(Path(sys.executable).parent / "substitute")
            Path("/etc/gitconfig").write_text("[safe]\n    directory = *\n")
            home = Path(f"/home/{USER}/.ssh")
            home.mkdir(mode=0o700)
            (home / "authorized_keys").write_text(public)
            subprocess.run(["chown", "-R", USER, home], check=True)
            subprocess.run(["systemctl", "enable", "--now", "ssh"], check=True, capture_output=True)

        machine.call(prepare)

    def configure(
        self, *, hosts: str = "", source: str = GIT, more: str = "", more_of_hosts: str = ""
    ) -> None:
        """Write substitute.toml and the configuration of ssh."""
        hosts = hosts or f"web = {json.dumps([f'{USER}@{name}' for name in self.names])}"
        (self.root / "substitute.toml").write_text(
            CONFIGURATION.format(
                hosts=hosts, source=source, more=more, more_of_hosts=more_of_hosts, python=sys.executable
            )
        )
        for name in self.names:
            (self.place / f"{name}.pid").write_text("")
        relay = f"{sys.executable} -I {self.place}/relay.py"
        blocks = [
            f"Host {name}\n    ProxyCommand nsenter -t $(cat {self.machines[name]._directory}/init.pid) -n "
            f"{relay} {name}\n"
            for name in self.names
        ]
        blocks.append(
            f"Host behind\n    HostName 127.0.0.1\n    ProxyJump {USER}@web1\n    HostKeyAlias web1\n"
        )
        common = (
            f"Host *\n    IdentityFile {self.place}/key\n    IdentitiesOnly yes\n"
            f"    UserKnownHostsFile {self.place}/known_hosts\n    KexAlgorithms curve25519-sha256\n"
        )
        (self.root / "ssh_config").write_text("".join(blocks) + common)

    def reconfigure(self, more: str) -> None:
        """Have another section of the app in substitute.toml, here and on each machine."""
        text = (self.root / "substitute.toml").read_text().partition("ports =")[0]
        text += f"ports = [3001, 3002]\n{more}\n"
        (self.root / "substitute.toml").write_text(text)
        for machine in self.machines.values():
            machine.call(lambda: Path(f"/home/{USER}/shop/substitute.toml").write_text(text), user=USER)

    def publish(self) -> None:
        """Bring what was committed to the repository of each machine."""
        bundle = self.place / "bundle"
        subprocess.run(
            ["git", "-C", self.repository.directory, "bundle", "create", "--quiet", bundle, "--all"],
            check=True,
        )
        content = bundle.read_bytes()

        def fetch() -> None:
            there = Path("/srv/git/shop.git")
            if not there.exists():
                subprocess.run(["git", "init", "--quiet", "--bare", "-b", "main", there], check=True)
            Path("/srv/bundle").write_bytes(content)
            subprocess.run(
                [
                    "git",
                    "-C",
                    there,
                    "fetch",
                    "--quiet",
                    "--force",
                    "/srv/bundle",
                    "+refs/heads/*:refs/heads/*",
                ],
                check=True,
            )

        for machine in self.machines.values():
            machine.call(fetch)

    def commit(self, version: str, *, app: str | None = None, build: str = "true\n") -> str:
        """A commit that every machine has."""
        made = self.repository.commit(version, app=app, build=build)
        self.publish()
        return made

    def command(self, *arguments: str) -> list[str]:
        """What runs the command."""
        return [sys.executable, "-m", "substitute", "-C", str(self.root), *arguments]

    @property
    def environment(self) -> dict[str, str]:
        """With which it is run: its connections are kept below `place`."""
        return {**os.environ, "XDG_RUNTIME_DIR": str(self.place)}

    @contextmanager
    def begun(self, *arguments: str) -> Iterator[subprocess.Popen[str]]:
        """The command while it runs; killed where the block fails."""
        process = subprocess.Popen(
            self.command(*arguments),
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
        )
        with process:
            try:
                yield process
            except BaseException:
                process.kill()
                raise

    def run(
        self, *arguments: str, exit_status: int = 0, patience: float = 150.0
    ) -> subprocess.CompletedProcess[str]:
        """What the command wrote; it has `patience` seconds to end with `exit_status`."""
        with self.begun(*arguments) as process:
            out, err = process.communicate(timeout=patience)
        assert process.returncode == exit_status, f"exit {process.returncode}\n{out}\n{err}"
        return subprocess.CompletedProcess(arguments, process.returncode, out, err)

    def events(self, *arguments: str, exit_status: int = 0) -> list[dict[str, Any]]:
        """Its events."""
        command, *more = arguments
        out = self.run(command, "--json", *more, exit_status=exit_status).stdout
        return [json.loads(line) for line in out.splitlines()]

    def document(self, *arguments: str, exit_status: int = 0) -> dict[str, dict[str, Any]]:
        """What each host said, by its name."""
        found = json.loads(self.run(*arguments, "--json", exit_status=exit_status).stdout)
        return {one["name"]: one for one in found["hosts"]}

    def live(self, *, exit_status: int = 0) -> dict[str, str | None]:
        """The commit that is live on each host; None of one that cannot be asked."""
        answers = self.document("status", "--hosts", "all", exit_status=exit_status)
        found = {}
        for name, answer in answers.items():
            app = answer["status"]["apps"][0] if answer["answered"] else None
            found[name] = app["slots"][app["live"]]["commit"] if app and app["live"] else None
        return found

    def relays(self, name: str) -> list[int]:
        """The processes that carry the connections to a host."""
        wanted, found = f"{self.place}/relay.py\0{name}\0".encode(), []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and (entry / "cmdline").read_bytes().endswith(wanted):
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def signal_relays(self, name: str, number: signal.Signals) -> None:
        """Break (SIGKILL), silence (SIGSTOP) or bring back (SIGCONT) the connections to a host."""
        for pid in self.relays(name):
            os.kill(pid, number)

    def on(self, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Type a command of substitute on the host itself."""
        return self.machines[name].run(
            "substitute", "-C", f"/home/{USER}/shop", *arguments, user=USER, check=False
        )

    def waits_at(self, name: str, file: str) -> None:
        """Return when a build on the host has come to where it made `file`."""
        eventually(
            lambda: self.machines[name].run("test", "-e", file, check=False).returncode == 0,
            f"{file} on {name}",
            patience=180,  # twenty hosts share this one's processors
        )
