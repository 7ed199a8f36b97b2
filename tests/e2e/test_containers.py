"""Versions that are images, on a real engine: what holds for an app on the machine holds for one in a container."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from tests.e2e.containers import BASE, ENGINES, ContainerSite, fill
from tests.e2e.site import fetch, killed
from tests.e2e.traffic import under_load
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.e2e.containers import Engine

pytestmark = [pytest.mark.containers, pytest.mark.timeout(300)]


@pytest.fixture(params=ENGINES)
def site(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[ContainerSite]:
    engine: Engine = request.getfixturevalue(request.param)
    fill(engine)
    made = ContainerSite(tmp_path, engine, request.param)
    yield made
    made.close()


def pid(site: ContainerSite, slot: str) -> int:
    found: int = site.app()["slots"][slot]["pid"]
    return found


def assert_only_runs(site: ContainerSite, *names: str) -> None:
    """Of this root's containers nothing else runs. Only an instance's stays when it has ended, for its log."""
    eventually(lambda: set(site.containers()) == set(names), f"only {names}")
    ended = site.containers(ended=True).keys() - set(names)
    assert ended <= {"shop_a", "shop_b"}


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


WAITS = "echo waiting; trap '' TERM INT; while :; do sleep 0.1; done"


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
    """All containers of the engine that run, of builds too."""
    return set(site.engine("ps", "--quiet", "--no-trunc").split())


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
