"""What is asked of a cluster's API server, and what becomes of its answers: over real connections, without a cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from substitute.runtimes.kubernetes import logs
from substitute.runtimes.kubernetes.api import api_of
from tests.unit.api_server import ApiServer, served

if TYPE_CHECKING:
    from collections.abc import Iterator
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
    its._close()  # noqa: SLF001  # it is open until its process ends


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


@pytest.mark.parametrize("zone", ["+08:00", "-05:00", "Z"])
def test_lines_of_a_node_with_a_zone_of_its_own_are_told_once_and_none_is_lost(
    api: Api, server: ApiServer, zone: str
) -> None:
    hour = {"+08:00": "01T08", "-05:00": "28T19", "Z": "01T00"}[zone]
    month = "02" if zone == "-05:00" else "03"
    server.log = EAST.replace("2026-03-01T08", f"2026-{month}-{hour}").replace("+08:00", zone)
    if zone != "+08:00":
        server.log = server.log.partition("\n")[2]
    written = logs.Written(api, lambda: [running("shop-a-1")], logs.moment(MIDNIGHT))
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
