"""Secrets on the real thing: who gets them, and where their values are found afterwards."""

from __future__ import annotations

import getpass
import os
import re
import stat
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.contracts.git.test_remotes import sshd
from tests.e2e.site import fetch, kill_all_in
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.e2e.site import Site

APP = """
import http.server, os

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        names = ("KEY", "URL", "SSH_AUTH_SOCK")
        self.wfile.write(repr([os.environ.get(name) for name in names]).encode())

    def log_message(self, *_):
        pass

print("I was started with", os.environ["KEY"], flush=True)
http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Page).serve_forever()
"""


def found_in(root: Path, value: str) -> list[str]:
    """Every file below `root` that holds `value`."""
    files = [place for place in root.rglob("*") if place.is_file() and not place.is_symlink()]
    return sorted(str(file.relative_to(root)) for file in files if value.encode() in file.read_bytes())


def test_a_value_reaches_the_app_and_is_found_nowhere_else(site: Site, tmp_path: Path) -> None:
    manager, url = tmp_path / "manager", tmp_path / "url"
    manager.write_text("#!/bin/sh\necho looking up >&2\necho s3cret-$1\n")
    manager.chmod(0o755)
    url.write_text("postgres://s3cret-url\n")
    secrets = f'secrets = {{ KEY = {{ command = "{manager} key" }}, URL = {{ file = "{url}" }} }}\n'
    site.configure(more=secrets)
    build = "echo $KEY; tr '\\\\0' '\\\\n' </proc/$PPID/cmdline\n"
    site.repository.commit("2", app=APP, build=build)
    shown = site.run("deploy", "--json").stdout
    assert fetch(site.url) == repr(["s3cret-key", "postgres://s3cret-url", None])
    assert "s3cret" not in shown
    assert '"line": "***"' in shown
    assert "I was started with ***" in shown
    assert "s3cret" not in "".join(site.run(command).stdout for command in ("config", "status", "history"))
    for pid in site.pids():
        assert b"s3cret" not in Path(f"/proc/{pid}/cmdline").read_bytes()
    holding = [one for one in found_in(site.root, "s3cret-key") if "/log/a.log" not in one]
    assert all(stat.S_IMODE((site.root / one).stat().st_mode) & 0o077 == 0 for one in holding)
    assert [re.sub(r".*/", "", one) for one in holding] == ["shop_a.secrets", "shop_a.sh"]

    manager.write_text("#!/bin/sh\necho not signed in >&2\nexit 7\n")
    url.unlink()
    kill_all_in(site.root)  # as a reboot does
    site.run("up")
    assert fetch(site.url) == repr(["s3cret-key", "postgres://s3cret-url", None])
    site.repository.commit("3", app=APP)
    failed = site.run("deploy", exit_status=1)
    assert (
        f"The secret KEY of shop cannot be read: `{manager} key` failed with exit status 7." in failed.stderr
    )
    assert "| not signed in" in failed.stderr
    site.configure(more=secrets.replace(f"{manager} key", "cat"))
    assert "had not ended" not in site.run("deploy", exit_status=1).stderr  # it has no input to wait for
    site.configure(
        more=secrets.replace(f"{manager} key", "sleep 60").replace(" }, URL", ", timeout = 0.2 }, URL")
    )
    assert "`sleep 60` had not ended after 0.2s" in site.run("deploy", exit_status=1).stderr
    site.assert_only_serves("a")


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An agent that alone has a key, and the variables that lead to it."""
    socket, key = tmp_path / "agent", tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    (tmp_path / "authorized").write_text((tmp_path / "key.pub").read_text())
    daemon = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL)
    try:
        while not socket.exists():
            assert daemon.poll() is None
        environment = {**os.environ, "SSH_AUTH_SOCK": str(socket)}
        subprocess.run(["ssh-add", "-q", key], env=environment, check=True)
        key.unlink()
        hosts = f"-o UserKnownHostsFile={tmp_path}/hosts -o StrictHostKeyChecking=accept-new"
        command = f"ssh -F /dev/null -o BatchMode=yes -o IdentityFile=none {hosts}"
        yield {**environment, "GIT_SSH_COMMAND": command}
    finally:
        daemon.terminate()
        daemon.wait()


def test_git_and_a_build_use_the_agent_of_who_deploys_and_the_app_does_not(
    site: Site, tmp_path: Path, agent: dict[str, str]
) -> None:
    port = free_port()
    url = f"ssh://{getpass.getuser()}@127.0.0.1:{port}{site.repository.directory}"
    site.configure(more='pass_env = ["SSH_AUTH_SOCK", "GIT_SSH_COMMAND"]\nenv.KEY = "k"\n')
    file = site.root / "substitute.toml"
    file.write_text(file.read_text().replace(f'"{site.repository.directory}"', f'"{url}"'))
    site.repository.commit("2", app=APP, build=f"git ls-remote {url} HEAD >seen.txt\n")
    options = (f"AuthorizedKeysFile={tmp_path}/authorized", "StrictModes=no", "PermitRootLogin=yes")
    with sshd(tmp_path, port, *options):
        with site.popen("deploy", env=agent) as deploying:
            out, err = deploying.communicate(timeout=120)
        assert deploying.returncode == 0, out + err
        assert (site.root / "shop_a" / "seen.txt").read_text().startswith(site.repository.head())
        assert fetch(site.url) == repr(["k", None, None])
        without = {**agent, "SSH_AUTH_SOCK": "/nonexistent"}
        with site.popen("deploy", env=without) as refused:
            _, err = refused.communicate(timeout=120)
        assert refused.returncode == 1
        assert "Permission denied (publickey)" in err
