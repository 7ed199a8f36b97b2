"""What a cluster's API server is asked, and what becomes of its answers: over real connections, without a cluster."""

from __future__ import annotations

import os
import signal
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from substitute.core.model.errors import RemainsError
from substitute.core.model.programs import Container, Limits, Program
from substitute.core.model.slots import Endpoint
from substitute.core.polling import wait_until
from substitute.linux.root_names import prefix_of
from substitute.runtimes.kubernetes import command, logs, objects, pods
from substitute.runtimes.kubernetes.api import api_of
from substitute.runtimes.kubernetes.engine import ClusterEngine
from substitute.runtimes.kubernetes.failures import Refused, Silent
from substitute.runtimes.kubernetes.runtime import Kubernetes
from tests.unit.api_server import ApiServer, served
from tests.unit.fakes.runtime import FakeRuntime
from tests.unit.fakes.world import World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from substitute.runtimes.kubernetes.access import Settings
    from substitute.runtimes.kubernetes.api import Api
    from substitute.runtimes.kubernetes.pods import Pod


@pytest.fixture
def server() -> ApiServer:
    return ApiServer()


@pytest.fixture
def settings(tmp_path: Path, server: ApiServer) -> Iterator[Settings]:
    with served(tmp_path, server) as its:
        yield its


@pytest.fixture
def api(settings: Settings) -> Iterator[Api]:
    its = api_of(settings)
    yield its
    its._close()  # it is open until its process ends


# -- logs ---------------------------------------------------------------------------------------------


def running(name: str) -> Pod:
    return {
        "metadata": {"name": name},
        "status": {"containerStatuses": [{"state": {"running": {}}, "restartCount": 0}]},
    }


EAST = (
    "2026-03-01T07:59:59.999999999+08:00 before\n"
    "2026-03-01T08:00:00.000000001+08:00 first\n"
    "2026-03-01T08:00:00.5+08:00 second\n"
)
MIDNIGHT = "2026-03-01T00:00:00Z"
SINCE = logs.moment(MIDNIGHT) or 0


@pytest.mark.parametrize("zone", ["+08:00", "-05:00", "Z"])
def test_lines_of_a_node_with_a_zone_of_its_own_are_told_once_and_none_is_lost(
    api: Api, server: ApiServer, zone: str
) -> None:
    hour = {"+08:00": "01T08", "-05:00": "28T19", "Z": "01T00"}[zone]
    month = "02" if zone == "-05:00" else "03"
    server.log = EAST.replace("2026-03-01T08", f"2026-{month}-{hour}").replace("+08:00", zone)
    if zone != "+08:00":
        server.log = server.log.partition("\n")[2]
    written = logs.Written(api, lambda: [running("shop-a-1")], SINCE)
    assert written.lines(ended=True) == ["first", "second"]
    assert written.lines(ended=True) == []
    server.log += f"2026-{month}-{hour}:00:01.25{zone} third\n"
    assert written.lines(ended=True) == ["third"]
    assert [query["sinceTime"] for _, _, query in server.asked] == [MIDNIGHT] * 3


def test_lines_of_nodes_in_several_zones_come_in_the_order_of_time(api: Api, server: ApiServer) -> None:
    east, west = "2026-03-01T08:00:01+08:00 east\n", "2026-02-28T19:00:02-05:00 west\n"
    server.log = f"{east}{west}2026-03-01T00:00:03Z here\n"
    assert logs.last(api, [running("shop-a-1"), running("shop-a-2")], 6) == [
        *("east", "east", "west", "west", "here", "here"),
    ]


def test_a_line_without_a_time_is_none(api: Api, server: ApiServer) -> None:
    server.log = "unable to retrieve container logs\n2026-03-01T00:00:03Z here\n2026-13-41T00:00:03Z never\n"
    assert logs.last(api, [running("shop-a-1")], 6) == ["here"]


# -- a server that is busy, or says no ------------------------------------------------------------------

BUSY = (429, {"Retry-After": "0"})


def test_a_server_that_is_busy_is_asked_again_before_it_counts_as_silent(api: Api, server: ApiServer) -> None:
    server.refusals["GET", "pods"] = [BUSY, (503, {"Retry-After": "0"}), (0, {})]
    assert api.get("Pod", "it") is None
    server.refusals["GET", "pods"] = [(503, {"Retry-After": "0"})]
    with pytest.raises(Silent, match=r"does not answer. not now \(status 503\)"):
        api.get("Pod", "it")
    assert len(server.asked) == 6


def test_what_is_no_matter_of_being_busy_is_asked_once(api: Api, server: ApiServer) -> None:
    server.refusals["GET", "pods"] = [(500, {})]
    with pytest.raises(Silent):
        api.get("Pod", "it")
    server.refusals["GET", "pods"] = [(403, {})]
    with pytest.raises(Refused):
        api.get("Pod", "it")
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("status", "said", "helps"),
    [
        (401, "Unauthorized", "get a new one"),
        (
            403,
            'secrets is forbidden: User "me" cannot list resource "secrets"',
            "docs/kubernetes.md has the Role",
        ),
        (403, 'pods "it" is forbidden: exceeded quota: all', "Raise the ResourceQuota"),
        (
            422,
            "spec.ports[0].nodePort: Invalid value: 30001: provided port is already allocated",
            "shows which",
        ),
        (
            422,
            "provided port is not in the valid range. The range is 30000-32767",
            "Write `ports` from that range.",
        ),
    ],
)
def test_a_refusal_says_what_helps(api: Api, server: ApiServer, status: int, said: str, helps: str) -> None:
    server.refusals["GET", "pods"] = [(status, {})]
    server.says = said
    with pytest.raises(Refused) as caught:
        api.get("Pod", "it")
    assert said in caught.value.fact
    assert helps in caught.value.cure


# -- a command in its pod -----------------------------------------------------------------------------

ENDED = {
    "phase": "Succeeded",
    "containerStatuses": [{"state": {"terminated": {"exitCode": 7}}, "restartCount": 0}],
}


RUNS = {"phase": "Running", "containerStatuses": [{"state": {"running": {}}, "restartCount": 0}]}


@pytest.fixture
def run(api: Api, settings: Settings, tmp_path: Path) -> Iterator[Callable[[], int]]:
    """Runs the program of a command in this process; its exit status."""
    del api
    container, limits = Container("r/shop@sha256:1"), Limits(memory=1 << 20, cpu=0.5)
    engine = ClusterEngine(tmp_path / "root", settings)
    program = engine.running(["migrate"], container, name="shop_release", variables=(), limits=limits)
    arguments = program[program.index(command.__name__) + 1 :]
    heeded = [signal.SIGTERM, signal.SIGINT]
    earlier = [signal.getsignal(number) for number in heeded]
    yield lambda: command.main(arguments)
    for number, handler in zip(heeded, earlier, strict=True):
        signal.signal(number, handler)


def test_a_command_ends_as_its_pod_does_and_leaves_nothing(run: Callable[[], int], server: ApiServer) -> None:
    server.status = ENDED
    assert run() == 7
    assert server.objects == {}


def test_a_command_may_use_what_an_instance_may(run: Callable[[], int], server: ApiServer) -> None:
    server.status = ENDED
    server.refusals["DELETE", "pods"] = [(403, {})]
    run()
    (pod,) = (one for one in server.objects.values() if one["kind"] == "Pod")
    may = {"memory": "1048576", "cpu": "500m"}
    assert pod["spec"]["containers"][0]["resources"] == {"limits": may, "requests": may}


def test_how_a_command_ended_is_told_though_its_pod_cannot_be_removed(
    run: Callable[[], int], server: ApiServer, capfd: pytest.CaptureFixture[str]
) -> None:
    server.status = ENDED
    server.refusals["DELETE", "pods"] = [BUSY]
    assert run() == 7
    (name,) = server.names("pods")
    assert (
        f"`kubectl --namespace shop delete pod/{name} secret/{name}` removes them." in capfd.readouterr().err
    )


def test_a_pod_that_is_refused_leaves_no_secret(
    run: Callable[[], int], server: ApiServer, capfd: pytest.CaptureFixture[str]
) -> None:
    server.refusals["POST", "pods"] = [(403, {})]
    assert run() == 126
    assert "The cluster refuses. not now (status 403)" in capfd.readouterr().err
    assert server.objects == {}


def test_the_pod_of_another_command_of_that_name_stays(
    run: Callable[[], int], server: ApiServer, capfd: pytest.CaptureFixture[str]
) -> None:
    server.status = ENDED
    server.refusals["DELETE", "pods"] = [(403, {})]
    server.refusals["DELETE", "secrets"] = [(403, {})]
    run()
    server.refusals.clear()
    before = set(server.objects)
    assert run() == 126
    assert "already exists" in capfd.readouterr().err
    assert set(server.objects) == before
    assert len(before) == 2


def test_a_command_that_finds_no_node_fails_with_what_the_scheduler_says(
    run: Callable[[], int],
    server: ApiServer,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nowhere = {"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available: no memory."}
    server.status = {"phase": "Pending", "conditions": [nowhere]}
    monkeypatch.setattr(pods, "PLACING", 0.1)
    assert run() == 126
    assert "The cluster cannot run it. 0/3 nodes are available: no memory." in capfd.readouterr().err
    assert server.objects == {}


@pytest.mark.parametrize("status", [401, 403])
def test_a_command_whose_user_may_not_see_its_pod_any_more_fails(
    run: Callable[[], int], server: ApiServer, capfd: pytest.CaptureFixture[str], status: int
) -> None:
    server.status = RUNS
    server.refusals["GET", "pods"] = [(0, {}), (status, {})]
    assert run() == 126
    assert f"The cluster refuses. not now (status {status})" in capfd.readouterr().err


@pytest.mark.parametrize("seen", [(0, {}), BUSY])
def test_a_signal_ends_a_command_while_the_server_is_silent(
    run: Callable[[], int],
    server: ApiServer,
    capfd: pytest.CaptureFixture[str],
    seen: tuple[int, dict[str, str]],
) -> None:
    server.status = RUNS

    def interrupt() -> None:
        wait_until(lambda: len(server.asked) > 8, 30, 0.01)
        os.kill(os.getpid(), signal.SIGINT)

    server.refusals["GET", "pods"] = [(0, {}), seen]
    server.refusals["DELETE", "pods"] = [BUSY]
    Thread(target=interrupt, daemon=True).start()
    assert run() == 128 + signal.SIGINT
    assert "Its pod and its Secret may be left in the cluster." in capfd.readouterr().err


# -- what `down` leaves -------------------------------------------------------------------------------


@pytest.fixture
def runtime(api: Api, settings: Settings, tmp_path: Path) -> Kubernetes:
    """With a slot that nothing runs in."""
    of = prefix_of(tmp_path)
    its = Container("r/shop@sha256:1", (), {Endpoint("10.0.0.1", 30001): 8080})
    program = Program("shop_a", "", tmp_path, {"A": "1"}, tmp_path / "log", 1.0, container=its, replicas=0)
    api.apply(objects.secret("shop_a", of, program.environment))
    api.apply(objects.service(program, its, of))
    api.apply(objects.deployment(program, its, prefix=of, root=tmp_path, started="1", claim=""))
    return Kubernetes(FakeRuntime(World()), tmp_path, settings)


def test_down_gives_back_what_a_slot_had(runtime: Kubernetes, server: ApiServer) -> None:
    assert len(server.objects) == 3
    runtime.shutdown()
    assert server.objects == {}


@pytest.mark.parametrize("kind", ["services", "secrets", "deployments"])
def test_what_down_could_not_remove_is_told_and_found_again(
    runtime: Kubernetes, server: ApiServer, kind: str
) -> None:
    server.refusals["DELETE", kind] = [(403, {})]
    with pytest.raises(RemainsError) as caught:
        runtime.shutdown()
    assert "The cluster refuses. not now (status 403)" in caught.value.reason
    assert "`kubectl --namespace shop delete services,secrets,deployments --selector" in caught.value.cure
    server.refusals.clear()
    runtime.shutdown()
    assert server.objects == {}
