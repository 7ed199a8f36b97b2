"""Deployments behind the user's own nginx, which the real command reloads. No new connection may fail."""

from __future__ import annotations

import signal
import urllib.error
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

from substitute.core.model.slots import Endpoint
from substitute.demo.load import Load
from substitute.linux.processes import identify, is_alive, signal_process
from tests.contracts import nginxes
from tests.e2e.site import fetch
from tests.e2e.traffic import ENOUGH, PAUSE
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.contracts.nginxes import UsersNginx
    from tests.e2e.site import Site

pytestmark = pytest.mark.slow


@pytest.fixture
def nginx(site: Site, tmp_path: Path) -> Iterator[UsersNginx]:
    """Configured for the root, whose file it includes; neither runs yet."""
    binary, *_ = nginxes.binaries().values()  # the contract suite runs on each of them
    file = site.root / "deploy" / "run" / "nginx.conf"
    made = nginxes.UsersNginx(tmp_path / "nginx", file, Endpoint("127.0.0.1", site.port), binary)
    site.balancer = f'kind = "nginx"\nbinary = "{binary}"\nconfig = "{made.config}"'
    site.configure()
    yield made
    made.end()


@pytest.fixture
def served(site: Site, nginx: UsersNginx) -> Site:
    """Version 1 in slot a, behind nginx."""
    # The first deployment writes what nginx cannot start without.
    assert "nginx does not run" in site.run("deploy", exit_status=4).stderr
    nginx.start()
    site.run("deploy")
    site.assert_only_serves("a")
    return site


def under_new_connections(site: Site, *operations: Callable[[], object]) -> set[str]:
    """Run `operations` while GET and POST flow, each on a connection of its own; the versions that answered."""
    with ExitStack() as stack:
        loads = [
            stack.enter_context(Load(site.url, method=method, keepalive=False, connections=2, pause=PAUSE))
            for method in ("GET", "POST")
        ]
        for operation in (lambda: None, *operations):
            operation()
            for load in loads:
                load.wait_for(ENOUGH)
        reports = [load.stop() for load in loads]
    assert [failure for report in reports for failure in report.failures] == []
    return {version for report in reports for version in report.versions}


def test_deploy_rollback_and_restart_fail_no_request_on_a_new_connection(served: Site) -> None:
    served.repository.commit("2")
    events: list[dict[str, Any]] = []
    versions = under_new_connections(
        served,
        lambda: events.extend(served.events("deploy")),
        lambda: served.run("rollback"),
        lambda: served.run("restart"),
    )
    assert versions == {"1", "2"}
    served.assert_only_serves("b")
    assert fetch(served.url) == "version 1\n"
    assert [
        "keepalive_min_timeout" in event["message"] for event in events if event["event"] == "warning"
    ] == [True]


@pytest.mark.long
def test_a_deployment_while_nginx_is_stopped_fails_and_the_old_instance_runs_on(
    served: Site, nginx: UsersNginx
) -> None:
    before = identify(served.app()["slots"]["a"]["pid"])
    nginx.end()
    served.repository.commit("2")
    said = served.run("deploy", exit_status=1).stderr
    assert "nginx does not run" in said
    assert "Slot a" in said
    assert before
    assert is_alive(before)
    assert fetch(f"http://127.0.0.1:{served.ports[0]}/") == "version 1\n"

    nginx.start()
    assert fetch(served.url) == "version 1\n"
    served.run("deploy")
    served.assert_only_serves("b")
    assert fetch(served.url) == "version 2\n"


def test_a_deployment_that_the_configuration_of_nginx_forbids_leaves_the_old_version_serving(
    served: Site, nginx: UsersNginx
) -> None:
    served.repository.commit("2")
    nginx.configure(more="nonsense;")

    def fail() -> None:
        said = served.run("deploy", exit_status=1).stderr
        assert 'unknown directive "nonsense"' in said

    assert under_new_connections(served, fail) == {"1"}
    served.assert_only_serves("a")


def test_after_a_reboot_the_apps_may_come_up_before_nginx(served: Site, nginx: UsersNginx) -> None:
    nginx.end()
    processes = [process for pid in served.pids() if (process := identify(pid))]
    for process in processes:
        signal_process(process, signal.SIGKILL)
    eventually(lambda: not any(map(is_alive, processes)), "all that ran is gone")
    served.run("up")
    assert fetch(f"http://127.0.0.1:{served.ports[0]}/") == "version 1\n"
    nginx.start()
    assert fetch(served.url) == "version 1\n"


def test_down_takes_the_traffic_away_and_up_brings_it_back(served: Site, nginx: UsersNginx) -> None:
    served.run("down")
    with pytest.raises(urllib.error.HTTPError, match="502"):
        fetch(served.url)
    assert nginx.master
    served.run("up")
    assert fetch(served.url) == "version 1\n"
