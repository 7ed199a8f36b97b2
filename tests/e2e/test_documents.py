"""The tutorial and the how-tos are followed: every command is typed, every file saved, what they print compared.

How-tos are followed as root of a machine of their own, which has nothing but what a server has.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.documents import DOCS, Reader
from tests.e2e.servers import committed, server_with
from tests.e2e.site import Repository
from tests.machines import USER, Machine
from tests.ports import free_port
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

EXAMPLE = DOCS.parent / "examples" / "node"
NGINX = """\
server {
    listen 80;
    server_name shop.example.com;
    location / { proxy_pass http://127.0.0.1:3000; }
}
"""
UNIT = """\
[Service]
WorkingDirectory=/srv/live
Environment=PORT=3000
ExecStart=/usr/bin/node www.js
Restart=always
"""
ANYWHERE = {f"https://git.example.com/{app}.git": f"/srv/git/{app}" for app in ("shop", "blog")}
"""The repositories, where it does not matter how they are reached."""
BRIEF = {"substitute drill deploy": "substitute drill deploy --before 0.5s --after 0.5s"}
SYSTEMCTL = """\
#!/bin/sh
# nginx reloads after `systemctl reload` has returned: what a reader types next comes later than that.
workers=$(pgrep -P "$(cat /run/nginx.pid 2>/dev/null)" 2>/dev/null)
/usr/bin/systemctl "$@" || exit
[ "$*" = "reload nginx" ] || exit 0
while kill -0 $workers 2>/dev/null; do sleep 0.02; done
"""


def test_the_tutorial(tmp_path: Path) -> None:
    ports = {port: str(free_port()) for port in ("8080", "3001", "3002")}
    with Reader(tmp_path, replace=ports | BRIEF) as reader:
        reader.follow(DOCS / "tutorial.md")


@pytest.fixture
def server() -> Iterator[Machine]:
    """A machine with substitute installed, and the repositories of two apps."""
    with server_with(_prepare) as machine:
        yield machine


def _prepare() -> None:
    systemctl = Path("/usr/local/bin/systemctl")
    systemctl.write_text(SYSTEMCTL)
    systemctl.chmod(0o755)
    Path("/srv/git").mkdir()
    for app, answer in {"shop": "node", "blog": "the blog"}.items():
        repository = Repository(Path("/srv/git") / app)
        text = (EXAMPLE / "www.js").read_text()
        (repository.directory / "www.js").write_text(text.replace("hello from node", f"hello from {answer}"))
        repository.commit("1")


def follow(
    server: Machine,
    page: str,
    *sections: str,
    before: Callable[[], object] = lambda: None,
    user: str | None = None,
    replace: Mapping[str, str] = ANYWHERE,
) -> None:
    """Do what a page says, or some sections of it, where root has done `before`."""

    def inside() -> None:
        home = Path.home()
        with Reader(home / "reader", home=home, replace={**replace, **BRIEF}) as reader:
            for section in sections or (None,):
                reader.follow(DOCS / page, only=section)

    server.call(before)
    server.call(inside, user=user)


def an_app_runs_behind_nginx() -> None:
    """As many do: a clone, a unit of systemd's, a file of nginx's."""
    subprocess.run(["git", "clone", "--quiet", "/srv/git/shop", "/srv/live"], check=True)
    Path("/etc/systemd/system/shop.service").write_text(UNIT)
    Path("/etc/nginx/conf.d/shop.conf").write_text(NGINX)
    subprocess.run(["systemctl", "start", "shop", "nginx"], check=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    "way", ["Your nginx stays as it is", "Put HAProxy between nginx and the app"], ids=["passive", "haproxy"]
)
def test_how_to_take_over_a_running_app(server: Machine, way: str) -> None:
    follow(server, "howto/adopt.md", way, before=an_app_runs_behind_nginx)


def the_app_is_deployed() -> None:
    """Behind HAProxy at 127.0.0.1:8080, in /srv/shop, by the example's configuration."""
    root = Path("/srv/shop")
    root.mkdir()
    text = (EXAMPLE / "substitute.toml").read_text()
    (root / "substitute.toml").write_text(text.replace("ssh://git@YOUR-HOST/YOUR-APP.git", "/srv/git/shop"))
    subprocess.run(["substitute", "deploy"], cwd=root, check=True)


@pytest.mark.slow
def test_how_to_serve_an_app_over_https_with_nginx(server: Machine) -> None:
    def before() -> None:
        the_app_is_deployed()
        subprocess.run(["systemctl", "start", "nginx"], check=True)

    follow(server, "howto/nginx-tls.md", before=before)
    server.call(the_app_answers_with_the_headers_that_it_got)
    websocket = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ]
    headers = [part for header in websocket for part in ("--header", header)]
    url = "https://shop.example.com/"
    got = json.loads(server.run("curl", "--insecure", "--http1.1", "--silent", *headers, url).stdout)
    assert got["host"] == "shop.example.com"
    assert (got["x-forwarded-for"], got["x-forwarded-proto"]) == ("127.0.0.1", "https")
    assert (got["connection"], got["upgrade"]) == ("upgrade", "websocket")


def the_app_answers_with_the_headers_that_it_got() -> None:
    """Deployed as another version."""
    app = Path("/srv/git/shop/www.js")
    app.write_text(app.read_text().replace("'hello from node\\n'", "JSON.stringify(request.headers)"))
    committed(app.parent, "2")
    subprocess.run(["substitute", "-C", "/srv/shop", "deploy"], check=True)


@pytest.mark.slow
def test_how_to_deploy_from_ci_over_ssh(server: Machine) -> None:
    follow(server, "howto/ci.md", before=lambda: subprocess.run(["systemctl", "start", "ssh"], check=True))
    server.call(jobs_fail_wait_and_are_cancelled_as_the_page_says)


def jobs_fail_wait_and_are_cancelled_as_the_page_says() -> None:
    job = ["./ci-deploy.sh", "main"]
    configuration, gate = Path("/srv/shop/substitute.toml"), Path("/srv/shop/gate")
    text = configuration.read_text()
    configuration.write_text(text + 'build = ["false"]\n')
    assert subprocess.run(job, cwd="/root", check=False).returncode == 1

    os.mkfifo(gate)
    configuration.write_text(text + f'build = ["cat {gate}"]\n')
    with subprocess.Popen(job, cwd="/root", start_new_session=True) as cancelled:
        with gate.open("w"):  # opens as soon as the build reads
            assert subprocess.run(job, cwd="/root", check=False).returncode == 3
            os.killpg(cancelled.pid, signal.SIGKILL)
        cancelled.wait()
    eventually(lambda: latest() == "succeeded", "the deployment goes on without its job")

    keys, script = Path("/home/deploy/.ssh/authorized_keys"), Path("/root/ci-deploy.sh")
    keys.write_text(keys.read_text().replace("restrict,command", "restrict,pty,command"))
    script.write_text(script.read_text().replace("ssh -i", "ssh -tt -i"))
    with subprocess.Popen(job, cwd="/root", start_new_session=True) as cancelled:
        with gate.open("w"):
            os.killpg(cancelled.pid, signal.SIGKILL)
            eventually(lambda: latest() == "interrupted", "with a terminal it is interrupted")
        cancelled.wait()


def latest() -> object:
    """How the latest deployment in /srv/shop ended."""
    command = ["substitute", "-C", "/srv/shop", "history", "-n", "1", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)["deployments"][0]["outcome"]


GIT_HOST = """\
server {
    listen 80;
    server_name git.example.com;
    root /home/git;
    auth_basic git;
    auth_basic_user_file /etc/nginx/tokens;
}
"""


def a_host_of_private_repositories(keys: str) -> None:
    """It takes those deploy keys that match `keys`, and for HTTP the token."""
    subprocess.run(["useradd", "--create-home", "--shell", "/usr/bin/git-shell", "git"], check=True)
    Path("/home/git").chmod(0o755)
    bare = "/home/git/shop.git"
    subprocess.run(["git", "clone", "--quiet", "--bare", "/srv/git/shop", bare], check=True)
    subprocess.run(["git", "update-server-info"], cwd=bare, check=True)
    subprocess.run(["chown", "-R", "git", bare], check=True)
    taken = Path("/usr/local/bin/taken-keys")
    taken.write_text(f"#!/bin/sh\ncat {keys}\n")
    taken.chmod(0o755)
    Path("/etc/ssh/sshd_config.d/git.conf").write_text(
        f"Match User git\n    AuthorizedKeysCommand {taken}\n    AuthorizedKeysCommandUser root\n"
    )
    Path("/etc/nginx/conf.d/git.conf").write_text(GIT_HOST)
    Path("/etc/nginx/tokens").write_text("deploy:{PLAIN}TOKEN\n")
    subprocess.run(["systemctl", "start", "ssh", "nginx"], check=True)


PRIVATE = "howto/private-repositories.md"


@pytest.mark.slow
def test_how_to_deploy_from_a_private_repository_as_the_user_who_deploys(server: Machine) -> None:
    sections = "A key of the user who deploys", "One key for each repository", "HTTPS with a token"
    follow(
        server,
        PRIVATE,
        *sections,
        before=lambda: a_host_of_private_repositories(f"/home/{USER}/.ssh/*.pub"),
        user=USER,
        replace={"https": "http"},
    )


@pytest.mark.slow
def test_how_to_deploy_from_a_private_repository_as_the_apps_user(server: Machine) -> None:
    """No key but that user's own is taken."""

    def before() -> None:
        a_host_of_private_repositories("/home/shop/.ssh/id_ed25519.pub")
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/.ssh/id_ed25519"], check=True
        )

    follow(server, PRIVATE, "A key of the app's user", before=before, replace={})


@pytest.mark.slow
def test_how_to_run_several_apps(server: Machine) -> None:
    follow(server, "howto/several-apps.md")


@pytest.mark.slow
def test_how_to_upgrade_and_uninstall(server: Machine) -> None:
    def before() -> None:
        the_app_is_deployed()
        subprocess.run(["substitute", "-C", "/srv/shop", "install"], check=True)

    follow(server, "howto/upgrade.md", before=before)
    units = Path("/etc/systemd/system"), Path("/run/systemd/system")
    left = server.call(lambda: [path.name for place in units for path in place.rglob("substitute*")])
    assert left == []
    assert "substitute" not in server.run("systemctl", "list-units", "--all", "--plain", "*.service").stdout
