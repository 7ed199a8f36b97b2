"""Remotes that let nobody in, on real programs: what is said helps, when it is typed."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.core.model.errors import SourceError
from substitute.linux.users import account
from substitute.sources.git.remotes import shown
from substitute.sources.git.source import Git
from tests.contracts.repositories import IDENTITY, Place
from tests.machines import USER
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

_PATIENCE = 20


@contextmanager
def sshd(directory: Path, port: int, *more: str) -> Iterator[None]:
    """Serve SSH on `port` with a key of its own, for users who show a key."""
    Path("/run/sshd").mkdir(exist_ok=True)
    key = directory / "host_key"
    if not key.exists():
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    command = ["/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", "-p", str(port), "-h", str(key)]
    options = [
        "ListenAddress=127.0.0.1",
        "PasswordAuthentication=no",
        "KbdInteractiveAuthentication=no",
        "PidFile=none",
        "UsePAM=no",
        *more,
    ]
    settings = [part for option in options for part in ("-o", option)]
    daemon = subprocess.Popen([*command, *settings], stderr=subprocess.PIPE, text=True)
    assert daemon.stderr
    said = ""
    while "Server listening" not in said:
        said = daemon.stderr.readline()
        assert said, "sshd has ended"
    try:
        yield
    finally:
        daemon.terminate()
        daemon.wait()
        daemon.stderr.close()


def typed(command: str, *, answer: str = "") -> str:
    """Type `command` at a terminal, and `answer` what it asks; return what was shown."""
    pid, terminal = pty.fork()
    if not pid:
        os.execvp("/bin/sh", ["/bin/sh", "-c", command])  # noqa: S606
    shown, deadline = "", time.monotonic() + _PATIENCE
    while True:
        assert time.monotonic() < deadline, shown
        if not select.select([terminal], [], [], 0.1)[0]:
            continue
        try:
            part = os.read(terminal, 4096).decode()
        except OSError:  # it has ended
            break
        if not part:
            break
        shown += part
        if answer and "(yes/no" in shown:
            os.write(terminal, f"{answer}\n".encode())
            answer = ""
    os.close(terminal)
    os.waitpid(pid, 0)
    return shown


def commands_in(cure: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cure)


@pytest.mark.machine
def test_each_thing_that_ssh_asks_for_is_told_with_commands_that_mend_it(tmp_path: Path) -> None:
    """As root, for an app with a user of its own: first an unknown host, then no key, then a host with another key."""
    tmp_path.chmod(0o755)
    tmp_path.parent.chmod(0o755)
    place = Place(tmp_path)
    become, port = account(USER), free_port()
    assert become
    subprocess.run(["chown", "-R", USER, place.repository.directory], check=True)
    url = f"ssh://{USER}@127.0.0.1:{port}{place.repository.directory}"
    subprocess.run(["usermod", "--password", "*", USER], check=True)  # else sshd takes the account for locked
    place.root.chmod(0o777)
    said = (place.notices.append, place.warnings.append)
    source = Git(url, None, lambda: [place.a, place.b], IDENTITY, *said, become=become)

    def refused() -> SourceError:
        with pytest.raises(SourceError) as caught:
            source.resolve(place.a, None)
        assert f"ssh://{USER}@127.0.0.1" in caught.value.what  # with its user: another could have no key
        assert f"{USER}@" in caught.value.cure or "deploy keys" in caught.value.cure
        return caught.value

    with sshd(tmp_path, port):
        error = refused()
        assert "not yet known to the user deployer" in error.fact
        typed(commands_in(error.cure)[0], answer="yes")

        error = refused()
        assert "Permission denied (publickey)" in error.fact
        make, enter = commands_in(error.cure)
        typed(make)
        (public,) = re.findall(r"add (\S+\.pub)", error.cure)
        assert f"Add {public} to the deploy keys" in refused().cure  # it is there now, and not made again
        (Path(become.home) / ".ssh" / "authorized_keys").write_text(Path(public).read_text())
        assert "Permission denied" not in typed(f"{enter} true")
        assert source.resolve(place.a, None).commit == place.first
    (tmp_path / "host_key").unlink()
    with sshd(tmp_path, port):
        error = refused()
        assert "not the one that is known" in error.fact
        forget, trust, *_ = commands_in(error.cure)
        typed(forget)
        typed(f"{trust} true", answer="yes")
        assert source.resolve(place.a, None).commit == place.first


class _Closed(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(401)
        self.send_header("WWW-Authenticate", 'Basic realm="x"')
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.mark.parametrize(
    ("login", "cure"),
    [("", "credential.helper store"), ("me:secret@", "Check the user and the password or token in `repo`")],
)
def test_a_repository_that_asks_for_a_password_is_told_what_to_give_it(
    place: Place, login: str, cure: str
) -> None:
    with HTTPServer(("127.0.0.1", 0), _Closed) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://{login}127.0.0.1:{server.server_port}/x.git"
        with pytest.raises(SourceError, match="cannot be cloned") as caught:
            place.source(repo=url).resolve(place.a, None)
        server.shutdown()
    assert cure in caught.value.cure
    assert "secret" not in str(caught.value) + str(place.notices)


def test_a_url_is_shown_with_its_user_and_without_a_secret() -> None:
    for repo in ("ssh://git@host:22/x", "git@host:x.git", "/srv/x.git", "https://host/x"):
        assert shown(repo) == repo
    assert shown("https://me:se@cret@host/x") == shown("https://token@host/x") == "https://***@host/x"
    assert shown("ssh://git:secret@host/x") == "ssh://git@host/x"
