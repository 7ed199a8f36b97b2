"""Versions that are images, on a real engine: what holds for an app on the machine holds for one in a container."""

from __future__ import annotations

import ast
import json
import os
import secrets
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.linux import processes
from tests.e2e.containers import BASE, DOCKERFILE, ENGINES, ContainerSite, container_site, fill
from tests.e2e.site import fetch, killed
from tests.e2e.traffic import under_load
from tests.images import PYTHON
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.contracts.dockerd import Dockerd

pytestmark = [pytest.mark.containers, pytest.mark.timeout(300)]


@pytest.fixture(params=ENGINES)
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ContainerSite]:
    yield from container_site(tmp_path, request)


def pid(site: ContainerSite, slot: str) -> int:
    found: int = site.app()["slots"][slot]["pid"]
    return found


def assert_only_runs(site: ContainerSite, *names: str) -> None:
    """Of this root's containers nothing else runs. Only an instance's stays when it has ended, for its log."""
    eventually(lambda: set(site.containers()) == set(names), f"only {names}")
    ended = site.containers(ended=True).keys() - set(names)
    assert not [name for name in ended if not name.startswith(("shop_a", "shop_b"))]


def test_versions_are_built_switched_and_gone_back_to_and_no_request_fails(site: ContainerSite) -> None:
    site.run("deploy")
    site.repository.commit("2")
    told: list[str] = []
    assert under_load(site, lambda: site.run("deploy")) == {"1", "2"}
    site.assert_only_serves("b")
    assert_only_runs(site, "shop_b")
    assert len(site.images()) == 2
    assert under_load(site, lambda: told.append(site.run("rollback").stdout)) == {"1", "2"}
    assert "build" not in told[0]
    site.assert_only_serves("a")
    assert under_load(site, lambda: site.run("restart")) == {"1"}
    assert fetch(site.url) == "version 1\n"


def test_a_rollback_to_an_image_that_somebody_has_removed_builds_it_again(site: ContainerSite) -> None:
    site.run("deploy")
    before = set(site.images())
    site.repository.commit("2")
    site.run("deploy")
    for name in site.containers(ended=True).keys() - site.containers().keys():
        site.engine("rm", f"{site.prefix}-{name}")
    site.engine("image", "rm", "--force", *(f"localhost/{site.prefix}/shop:{tag}" for tag in before))
    told: list[str] = []
    assert under_load(site, lambda: told.append(site.run("rollback").stdout)) == {"1", "2"}
    assert "is not here any more: it is fetched and built again" in told[0]
    site.assert_only_serves("a")


def test_what_does_not_build_or_start_leaves_the_old_one_as_it_was(site: ContainerSite) -> None:
    site.run("deploy")
    images = site.images()

    def break_it() -> None:
        site.write_dockerfile(f"FROM {BASE}\nRUN echo it is here; exit 3\n")
        site.repository.commit("2")
        told = site.run("deploy", exit_status=1)
        assert "it is here" in told.stdout + told.stderr
        assert "returned a non-zero code: 3" in told.stderr or "exit status 3" in told.stderr, told.stderr

    def crash_it() -> None:
        site.write_dockerfile(f'FROM {BASE}\nCMD ["sh", "-c", "echo no such table >&2; exit 7"]\n')
        site.repository.commit("3")
        told = site.run("deploy", exit_status=1)
        assert "no such table" in told.stderr
        assert "exit status 7" in told.stderr, told.stderr

    assert under_load(site, break_it, crash_it) == {"1"}
    site.assert_only_serves("a")
    assert_only_runs(site, "shop_a")
    site.write_dockerfile()
    site.repository.commit("4")
    site.run("deploy")
    assert fetch(site.url) == "version 4\n"
    assert set(images) < set(site.images())
    assert len(site.images()) == 2


def test_an_instance_that_is_killed_is_back_by_itself(site: ContainerSite) -> None:
    site.run("deploy")
    before = pid(site, "a")
    killed(before)
    assert fetch(site.url) == "version 1\n", "the request waited"
    assert pid(site, "a") not in {None, before}
    site.run("up")
    site.assert_only_serves("a")


@pytest.mark.parametrize("site", ["docker"], indirect=True)
def test_what_dockerd_has_given_up_is_told_and_started_again_by_up(site: ContainerSite) -> None:
    """It tries once more to start what has ended, and never again where that fails."""
    site.configure(more='shared = ["media"]\n')
    site.run("deploy")
    media = site.root / "deploy/shop/shared/media"
    media.rename(media.with_name("away"))
    killed(pid(site, "a"))
    given_up = ("inspect", "--format={{.State.Status}} {{.RestartCount}}", f"{site.prefix}-shop_a")
    eventually(lambda: site.engine(*given_up) == "exited 1", "dockerd gives up")
    media.with_name("away").rename(media)
    assert site.app()["slots"]["a"]["state"] == "failed"
    told = site.run("up").stdout
    assert "should be live and does not run: starting it" in told
    assert fetch(site.url) == "version 1\n"
    site.assert_only_serves("a")


WAITS = f"echo waiting; trap '' TERM INT; while :; do sleep 0.1; done; : {secrets.token_hex(8)}"
"""By its end it is told from that of another run beside this one."""


def left_of_builds(site: ContainerSite) -> list[str]:
    """The containers that builds of this root have left in Podman, which lists them as anybody's."""
    if site.kind != "podman":
        return []
    place = site.engine("info", "--format", "{{.Store.GraphRoot}}")
    notes = Path(place).glob("*-containers/*/userdata/buildah.json")
    return [note.parent.parent.name for note in notes if site.prefix in note.read_text()]


def waiting_in(site: ContainerSite, where: str) -> None:
    """Commit a version that comes to `where`, and goes no further."""
    if where == "build":
        site.write_dockerfile(f"FROM {BASE}\nRUN {WAITS}\n")
    if where == "ready":
        site.write_dockerfile(f"FROM {BASE}\nCMD {json.dumps(['sh', '-c', WAITS])}\n")
    release = f"release = {json.dumps([WAITS])}\n" if where == "release" else ""
    site.configure(more=f'{release}[app.shop.stop]\ntimeout = "2s"\n')
    site.repository.commit("2")


def works_on(site: ContainerSite) -> set[str]:
    """All containers of the engine that run, and of builds, which Podman does not list, what waits in them."""
    waiting = {str(pid) for pid in processes.every() if WAITS in processes.command_line(pid)}
    # Docker is a test's own, and Podman the whole machine's.
    ours = [] if site.kind == "docker" else ["--filter", f"name={site.prefix}"]
    return waiting | set(site.engine("ps", "--quiet", "--no-trunc", *ours).split())


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT], ids=["SIGKILL", "Ctrl-C"])
@pytest.mark.parametrize("where", ["build", "release", "ready"])
def test_whoever_is_stopped_in_the_middle_leaves_nothing(
    site: ContainerSite, where: str, by: signal.Signals
) -> None:
    site.run("deploy")
    waiting_in(site, where)
    before = works_on(site)

    def stop() -> None:
        with site.popen("deploy", "--json") as deployer:
            assert deployer.stdout
            for line in deployer.stdout:
                if json.loads(line).get("line") == "waiting":
                    break
            assert works_on(site) > before
            deployer.send_signal(by)
            deployer.communicate(timeout=120)
        assert deployer.returncode != 0
        # The guardian is nobody's child: what it knows of the engine, the journal has told it.
        eventually(
            lambda: where == "build" or set(site.containers()) == {"shop_a"}, "the guardian has settled"
        )

    assert under_load(site, stop, lambda: site.run("up")) == {"1"}
    eventually(lambda: works_on(site) == before, "nothing of it runs")
    assert not left_of_builds(site)
    site.assert_only_serves("a")
    assert_only_runs(site, "shop_a")
    site.write_dockerfile()
    site.configure()
    site.repository.commit("3")
    site.run("deploy")
    assert fetch(site.url) == "version 3\n"


def test_a_release_that_takes_too_long_is_ended_in_its_container_too(site: ContainerSite) -> None:
    site.configure(more=f'release = {json.dumps([WAITS])}\nrelease_timeout = "1s"\n')
    told = site.run("deploy", exit_status=4).stderr
    assert "had not ended after 1s" in told
    assert "had left" not in told
    assert_only_runs(site)


SEEN = """
import http.server, os, signal, sys, threading

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        names = ("KEY", "FILED", "COLOR", "PORT", "HOST", "HOME")
        told = {name: os.environ.get(name) for name in names}
        told["env"] = open(".env").read()
        told["media"] = sorted(os.listdir("media"))
        self.wfile.write(repr(told).encode())

    def log_message(self, *_):
        pass

server = http.server.ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Page)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
open("media/" + open("version.txt").read().strip(), "w").close()
server.serve_forever()
"""


def test_what_is_configured_and_shared_is_there_inside_and_on_no_command_line(site: ContainerSite) -> None:
    (site.root / "shop.env").write_text("FILED=s3cret-file\n")
    (site.root / "key").write_text("s3cret-key\n")
    site.configure(
        more='shared = ["media", ".env"]\nenv = { COLOR = "red" }\nenv_file = "shop.env"\n'
        'secrets = { KEY = { file = "key" } }\n'
    )
    site.repository.commit("1", app=SEEN)
    told = site.run("deploy").stdout
    assert "deploy/shop/shared/.env is new, and empty" in told
    (site.root / "deploy/shop/shared/.env").write_text("typed=1\n")
    found = ast.literal_eval(fetch(site.url))
    assert (found["KEY"], found["FILED"], found["COLOR"]) == ("s3cret-key", "s3cret-file", "red")
    assert (found["PORT"], found["HOST"]) == (str(site.ports[0]), "127.0.0.1")
    assert found["HOME"] != str(Path.home()) or os.geteuid() == 0
    assert (found["env"], found["media"]) == ("typed=1\n", ["1"])
    site.repository.commit("2", app=SEEN)
    site.run("deploy")
    assert ast.literal_eval(fetch(site.url))["media"] == ["1", "2"]
    shown = site.run("run", "--", "sh", "-c", "echo $KEY $FILED; cat .env; ls media").stdout
    assert shown.split() == ["s3cret-key", "s3cret-file", "typed=1", "1", "2"]
    with site.popen("run", "--", "sh", "-c", "cat", stdin=subprocess.PIPE) as running:
        eventually(lambda: len(site.containers()) == 2, "it runs in a container of its own")
        lines = [entry.read_bytes() for entry in command_lines()]
        assert any(f"{site.prefix}-run-2".encode() in line for line in lines)
        assert not [line for line in lines if b"s3cret" in line]
        assert running.stdin
        running.stdin.close()
        running.wait(timeout=60)


def test_a_build_has_its_arguments(site: ContainerSite) -> None:
    site.write_dockerfile(f"FROM {BASE}\nARG COLOR\nRUN echo it is $COLOR, | cat\n{rest()}")
    site.configure(more='build_args = { COLOR = "dark red" }\n')
    site.repository.commit("1")
    assert "it is dark red," in site.run("deploy").stdout
    assert fetch(site.url) == "version 1\n"


@pytest.mark.parametrize("site", ["podman"], indirect=True)
def test_a_step_of_a_build_may_read_a_secret_that_is_in_no_image_and_on_no_command_line(
    site: ContainerSite,
) -> None:
    """Docker needs its buildx for that."""
    shown = "RUN --mount=type=secret,id=TOKEN test $(cat /run/secrets/TOKEN) = s3cret-$(cat /app/word)"
    site.write_dockerfile(f"FROM {BASE}\nRUN echo token >/app/word\n{shown}\n{rest()}")
    (site.root / "key").write_text("s3cret-token\n")
    site.configure(more='build_secrets = ["TOKEN"]\nsecrets = { TOKEN = { file = "key" } }\n')
    site.repository.commit("1")
    told = site.run("deploy").stdout
    (line,) = [line for line in told.splitlines() if "$ podman" in line]
    assert "--secret=id=TOKEN,env=TOKEN" in line
    assert "s3cret-token" not in told
    assert fetch(site.url) == "version 1\n"
    (image,) = set(site.images().values())
    assert "s3cret" not in site.engine("history", "--no-trunc", image).replace("s3cret-$(cat", "")
    assert site.engine("run", "--rm", image, "sh", "-c", "cat /run/secrets/*; true") == ""


@pytest.mark.parametrize("site", ["podman"], indirect=True)
def test_a_build_secret_that_is_nowhere_is_told(site: ContainerSite) -> None:
    site.configure(more='build_secrets = ["TOKEN"]\n')
    told = site.run("deploy", exit_status=4).stderr
    assert "The build secret TOKEN has no value." in told


def rest() -> str:
    """What an app's Dockerfile says after its first line."""
    return DOCKERFILE.partition("\n")[2]


def command_lines() -> Iterator[Path]:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            entry.read_bytes()
            yield entry


def test_a_database_that_is_a_file_is_not_shared_by_itself(site: ContainerSite) -> None:
    site.configure(more='shared = ["db.sqlite3"]\n')
    told = site.run("deploy", exit_status=2).stderr
    assert "db.sqlite3" in told
    assert "share the directory" in told


def test_commands_run_in_containers_of_their_own(site: ContainerSite) -> None:
    worker = "sh -c 'trap \\\"exit 0\\\" TERM; while :; do sleep 0.05; done'"
    site.configure(
        more='release = ["echo released $SUBSTITUTE_COMMIT; cat version.txt"]\n'
        f'[app.shop.health]\ncommand = "cat version.txt && test $PORT"\n[app.shop.process.worker]\nstart = "{worker}"\n'
        '[app.shop.cron.job]\nat = "* * * * *"\ncommand = "echo a cron of $(cat version.txt) in $PWD"\n'
    )
    told = site.run("deploy").stdout
    assert "released " in told
    assert_only_runs(site, "shop_a", "shop_a_worker_1")
    command = site.command("run", "--", "sh", "-c", "cat; exit 7")
    done = subprocess.run(command, input="typed\n", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (7, "typed\n"), done.stderr
    site.run("run", "--", "nothing-of-that-name", exit_status=127)
    assert "a cron of 1 in /app" in site.run("cron", "run", "job").stdout
    detached = site.run(
        "run", "--detach", "--", "sh", "-c", "trap '' TERM; echo begun; while :; do sleep 0.1; done"
    )
    name = detached.stdout.strip()
    log = site.root / f"deploy/shop/log/{name}.log"
    eventually(lambda: "begun" in log.read_text(), "it has begun")
    eventually(lambda: "a cron of 1 in /app" in site.run("logs", "cron-job").stdout, "the cron was run")
    site.configure(more='[app.shop.stop]\ntimeout = "2s"\n')
    site.run("stop", name)
    eventually(lambda: set(site.containers()) == {"shop_a", "shop_a_worker_1"}, "its container ended with it")
    site.repository.commit("2")
    assert under_load(site, lambda: site.run("deploy")) == {"1", "2"}
    assert_only_runs(site, "shop_b")


def test_commands_in_containers_are_held_to_the_limits_of_the_app(site: ContainerSite) -> None:
    shows = "cat /sys/fs/cgroup/memory.max /sys/fs/cgroup/memory/memory.limit_in_bytes; ulimit -n"
    files = (
        "nofile = 333\n" if site.kind == "docker" else ""
    )  # Podman would raise others, which no root here may
    held = [str(64 << 20), *(["333"] if files else [])]
    site.configure(
        more=f'release = ["{shows}"]\n[app.shop.limits]\nmemory = "64M"\n{files}'
        f'[app.shop.cron.job]\nat = "@yearly"\ncommand = "{shows}"\n'
    )
    for told in (
        site.run("deploy").stdout,
        site.run("run", "--", "sh", "-c", shows).stdout,
        site.run("cron", "run", "job").stdout,
    ):
        assert [line for line in held if line not in told] == [], told


def test_a_port_inside_is_published_on_that_of_the_slot(site: ContainerSite) -> None:
    site.image += "container_port = 8080\n"
    site.configure()
    site.run("deploy")
    for version in ("2", "3"):
        site.repository.commit(version)
        assert under_load(site, lambda: site.run("deploy")) == {str(int(version) - 1), version}
    assert under_load(site, lambda: site.run("rollback")) == {"2", "3"}


def test_a_version_that_stands_by_or_is_held_is_a_container_that_runs(site: ContainerSite) -> None:
    site.configure(more='[app.shop.standby]\nkeep = "10m"\n')
    site.run("deploy")
    site.repository.commit("2")
    assert under_load(site, lambda: site.run("deploy")) == {"1", "2"}
    stands_by = site.containers()["shop_a"]
    assert under_load(site, lambda: site.run("rollback")) == {"1", "2"}
    assert site.containers()["shop_a"] == stands_by, "nothing was started"
    site.repository.commit("3")
    assert under_load(site, lambda: site.run("deploy", "--hold")) == {"1"}
    held = site.containers()["shop_b"]
    assert under_load(site, lambda: site.run("promote")) == {"1", "3"}
    assert site.containers()["shop_b"] == held


def test_it_is_checked_drilled_taken_down_and_brought_up(site: ContainerSite) -> None:
    site.run("deploy")
    site.repository.commit("2")
    assert under_load(site, lambda: site.run("check")) == {"1"}
    told = site.run("drill").stdout
    assert "0 failed" in told or "no request failed" in told.lower(), told
    site.run("down")
    assert_only_runs(site)
    site.run("up")
    site.assert_only_serves()


def test_what_serves_moves_into_containers_and_out_again(site: ContainerSite) -> None:
    """A root that has programs of supervisord's gets a Dockerfile, and loses it."""
    image = site.image

    def plain() -> None:
        site.runtime, site.image = "supervisord", f'user = "{"root" if os.geteuid() == 0 else ""}"\n'
        site.configure(start=f"{PYTHON} -S -E app.py")

    def contained() -> None:
        site.runtime, site.image = site.kind, image
        site.configure()

    plain()
    site.run("deploy")
    assert not site.containers()
    site.repository.commit("2")
    contained()
    assert under_load(site, lambda: site.run("deploy")) == {"1", "2"}
    assert_only_runs(site, "shop_b")
    assert under_load(site, lambda: site.run("rollback"), lambda: site.run("rollback")) == {"1", "2"}
    site.repository.commit("3")
    plain()
    assert under_load(site, lambda: site.run("deploy")) == {"2", "3"}
    assert_only_runs(site)
    site.assert_only_serves()


def test_when_dockerd_was_killed_and_started_again_everything_is_as_it_was(
    tmp_path: Path, docker: Dockerd
) -> None:
    fill(docker)
    site = ContainerSite(tmp_path, docker, "docker")
    try:
        site.run("deploy")
        docker.end(signal.SIGKILL)
        docker.start()
        site.run("up")
        assert fetch(site.url) == "version 1\n"
        site.assert_only_serves("a")
        site.repository.commit("2")
        assert under_load(site, lambda: site.run("deploy")) == {"1", "2"}
        assert_only_runs(site, "shop_b")
    finally:
        site.close()
