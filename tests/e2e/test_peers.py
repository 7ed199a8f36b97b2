"""The pages for those who come from another tool are followed on the real tool, with requests flowing."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.demo.load import Load
from tests.documents import DOCS, Reader
from tests.e2e.servers import committed, published, run, server_with
from tests.e2e.site import fetch
from tests.e2e.test_documents import BRIEF, EXAMPLE, NGINX, SYSTEMCTL
from tests.machines import UNAVAILABLE, Machine
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
REPOSITORY, WORK = Path("/srv/git/shop.git"), Path("/srv/work/shop")


def follow(page: str, *, replace: Mapping[str, str] | None = None) -> None:
    """Do what a page says, as root, beginning in a checkout."""
    words = {"https://git.example.com/shop.git": REPOSITORY, **BRIEF, **(replace or {})}
    with Reader(Path("/root/reader"), home=Path("/root"), replace=words) as reader:
        reader.type(f"cd {WORK}")
        reader.follow(DOCS / page)


@pytest.fixture
def server() -> Iterator[Machine]:
    """A machine with substitute, nginx, and the repository of the example."""
    with server_with(prepared) as machine:
        yield machine


def prepared() -> None:
    Path("/usr/local/bin/systemctl").write_text(SYSTEMCTL)
    Path("/usr/local/bin/systemctl").chmod(0o755)
    Path("/etc/nginx/conf.d/shop.conf").write_text(NGINX)
    WORK.mkdir(parents=True)
    shutil.copy(EXAMPLE / "www.js", WORK)
    published(WORK, REPOSITORY)


@pytest.fixture(scope="module")
def pm2() -> Iterator[Path]:
    """The program, of npm's, where a machine sees it."""
    if UNAVAILABLE or not shutil.which("npm"):
        pytest.skip(UNAVAILABLE or "needs npm")
    place = Path(tempfile.mkdtemp(prefix="pm2-", dir="/var/tmp"))
    place.chmod(0o755)
    run("npm", "install", "--silent", "--prefix", place, "pm2@6")
    yield place / "node_modules" / ".bin" / "pm2"
    shutil.rmtree(place)


ECOSYSTEM = """\
module.exports = {
  apps: [{ name: 'shop', script: 'www.js', env: { NODE_ENV: 'production', PORT: 3000, HOST: '127.0.0.1' } }]
}
"""


def test_how_to_move_from_pm2(pm2: Path, server: Machine) -> None:
    def inside() -> None:
        Path("/usr/local/bin/pm2").symlink_to(pm2)
        run("useradd", "--create-home", "--shell", "/bin/bash", "shop")
        live = Path("/home/shop/live")
        run("git", "clone", "--quiet", REPOSITORY, live, user="shop")
        (live / "ecosystem.config.js").write_text(ECOSYSTEM)
        run("pm2", "start", "ecosystem.config.js", cwd=live, user="shop", env={"HOME": "/home/shop"})
        eventually(lambda: run("ss", "-Hltn", "sport", "=", "3000") != "", "PM2's process listens")
        run("systemctl", "start", "nginx")
        follow("howto/from-pm2.md")
        assert json.loads(Path("/home/shop/.pm2/dump.pm2").read_text()) == []
        all_processors_answer_and_stop()

    server.call(inside)


def all_processors_answer_and_stop() -> None:
    """The page's cluster.js is where the reader was told to save it; `check` is satisfied with it."""
    run("mv", "/srv/shop/cluster.js", WORK)
    committed(WORK)
    run("git", "push", "--quiet", "origin", "main", cwd=WORK)
    configuration = Path("/srv/shop/substitute.toml")
    configuration.write_text(configuration.read_text().replace("node www.js", "node cluster.js"))
    run("substitute", "check", cwd=configuration.parent)
    run("substitute", "drill", "deploy", "--url", "http://shop.example.com/", cwd=configuration.parent)


CAPISTRANO = {
    "Capfile": """\
require "capistrano/setup"
require "capistrano/deploy"
require "capistrano/scm/git"
install_plugin Capistrano::SCM::Git
Dir.glob("lib/capistrano/tasks/*.rake").each { |file| import file }
""",
    "config/deploy.rb": f"""\
set :application, "shop"
set :repo_url, "{REPOSITORY}"
set :branch, "main"
append :linked_dirs, "public/uploads"
""",
    "config/deploy/production.rb": 'server "server.example.com", user: "deploy", roles: %w[app]\n',
}
UNIT = """\
[Service]
User=deploy
WorkingDirectory=/var/www/shop/current
Environment=PORT=3000
Environment=HOST=127.0.0.1
ExecStart=/usr/bin/node www.js
[Install]
WantedBy=multi-user.target
"""


@pytest.mark.skipif(not shutil.which("cap"), reason="needs Debian's capistrano")
def test_how_to_move_from_capistrano(server: Machine) -> None:
    def inside() -> None:
        deployed_by_capistrano()
        with Load("http://shop.example.com/", keepalive=False, connections=2, pause=0.01) as load:
            load.wait_for(20)
            follow("howto/from-capistrano.md")
            load.wait_for(20)
            assert load.stop().failures == []
        assert fetch("http://shop.example.com/") == "of shared"
        root = "/srv/shop"
        assert len(json.loads(run("substitute", "-C", root, "history", "--json"))["deployments"]) == 2

    server.call(inside)


def deployed_by_capistrano() -> None:
    """Its releases, its link, its shared directory, behind nginx; what it shares is what the app answers."""
    for name, text in CAPISTRANO.items():
        (WORK / name).parent.mkdir(parents=True, exist_ok=True)
        (WORK / name).write_text(text)
    (WORK / "lib/capistrano/tasks").mkdir(parents=True)
    app = WORK / "www.js"
    app.write_text(
        app.read_text().replace(
            "'hello from node\\n'", "require('fs').readFileSync('public/uploads/greeting')"
        )
    )
    committed(WORK)
    run("git", "push", "--quiet", "origin", "main", cwd=WORK)

    run("useradd", "--create-home", "--shell", "/bin/bash", "deploy")
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/.ssh/id_ed25519")
    run("install", "-D", "--owner=deploy", "/root/.ssh/id_ed25519.pub", "/home/deploy/.ssh/authorized_keys")
    run("install", "--directory", "--owner=deploy", "/var/www/shop")
    run("systemctl", "start", "ssh")
    run("cap", "production", "deploy", cwd=WORK)
    Path("/var/www/shop/shared/public/uploads/greeting").write_text("of shared")
    Path("/etc/systemd/system/shop.service").write_text(UNIT)
    run("systemctl", "enable", "--now", "shop")
    run("systemctl", "start", "nginx")
    eventually(lambda: run("ss", "-Hltn", "sport", "=", "3000") != "", "the app listens")


@pytest.mark.skipif(
    not shutil.which("kamal-proxy") or not shutil.which("dockerd"), reason="needs Docker and kamal-proxy"
)
def test_how_to_move_from_kamal(server: Machine) -> None:
    """kamal-proxy is in no registry: put the program, built without cgo, on PATH."""
    program = Path(str(shutil.which("kamal-proxy"))).read_bytes()

    def inside() -> None:
        deployed_by_kamal(program)
        with Load("http://shop.example.com/", connections=2, pause=0.01) as load:
            load.wait_for(20)
            follow("howto/from-kamal.md")
            load.wait_for(20)
            assert load.stop().failures == []
        run("docker", "kill", "kamal-proxy")
        run("systemctl", "stop", "docker-of-the-test")

    server.call(inside)


def deployed_by_kamal(program: bytes) -> None:
    """What Kamal 2 leaves: its network, its proxy, a container with its labels, and the route to that."""
    daemon = ["/usr/sbin/dockerd", "--iptables=false", "--ip6tables=false", "--storage-driver=vfs"]
    run(
        "systemd-run",
        "--unit=docker-of-the-test",
        "--property=KillMode=mixed",
        "--property=Delegate=yes",
        *daemon,
    )
    eventually(
        lambda: subprocess.run(["docker", "info"], check=False, capture_output=True).returncode == 0, "Docker"
    )
    image = Path("/srv/image")
    (image / "tmp").mkdir(parents=True)
    (image / "usr/local/bin").mkdir(parents=True)
    (image / "usr/local/bin/kamal-proxy").write_bytes(program)
    (image / "usr/local/bin/kamal-proxy").chmod(0o755)
    run("tar", "--create", "--file=/srv/image.tar", "--directory", image, ".")
    run("docker", "import", "/srv/image.tar", "localhost/kamal-proxy")
    run("docker", "network", "create", "kamal")
    limits = ["--ulimit=nofile=20000:20000", "--ulimit=nproc=20000:20000"]
    proxy = ["--name=kamal-proxy", "--publish=80:80", "--env=HOME=/tmp", "--env=PATH=/usr/local/bin"]
    run(
        "docker",
        "run",
        "--detach",
        "--network=kamal",
        *limits,
        *proxy,
        "localhost/kamal-proxy",
        "kamal-proxy",
        "run",
    )

    labels = ["--label=service=shop", "--label=role=web", "--name=shop-web-1", "--restart=unless-stopped"]
    shown = [f"--volume={place}:{place}:ro" for place in ("/usr", "/bin", "/lib", "/lib64")]
    app = ["--env=PORT=80", "--env=HOST=0.0.0.0", f"--volume={WORK}:/rails:ro", "--workdir=/rails"]
    node = ["localhost/kamal-proxy", "/usr/bin/node", "www.js"]
    run("docker", "run", "--detach", "--network=kamal", *limits, *labels, *shown, *app, *node)
    route = ["kamal-proxy", "deploy", "shop-web", "--target=shop-web-1:80", "--host=shop.example.com"]
    run("docker", "exec", "kamal-proxy", *route)
