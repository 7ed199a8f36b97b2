"""What HAProxy must reload for hurts no other app of the root, and is told."""

from __future__ import annotations

import json
import socket
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e import traffic_app
from tests.e2e.traffic import STREAMS
from tests.ports import free_port

if TYPE_CHECKING:
    from tests.e2e.site import Site

API = """
[app.api]
repo = "{repository}"
build = ["{build}"]
start = {start}
ports = [{ports[0]}, {ports[1]}]
user = {user}
domains = ["api.example.com"]
"""


@pytest.fixture
def shop(site: Site) -> Site:
    """An app that waits for nobody's stream."""
    site.repository.commit("1", app=Path(traffic_app.__file__).read_text(encoding="utf-8"))
    site.configure(more='[app.shop.drain]\ntimeout = "100ms"\n')
    site.run("deploy")
    return site


def phases(events: list[dict[str, Any]]) -> list[str]:
    return [event["phase"] for event in events if event["event"] == "phase"]


def test_another_app_and_another_address_cut_no_stream_of_a_live_app(shop: Site) -> None:
    before = (shop.root / "substitute.toml").read_text()
    written = json.loads(shop.run("config", "--json").stdout)["app"]["shop"]
    api = {
        "repository": shop.repository.directory,
        "start": json.dumps(written["start"]),
        "ports": [free_port(), free_port()],
        "user": json.dumps(written["user"]) if written["user"] else '"root"',
    }
    with ExitStack() as stack:
        streams = [stack.enter_context(closing(begin(shop.port))) for begin in STREAMS.values()]

        def configured(build: str, *, listen: int = shop.port) -> None:
            text = before.replace(f":{shop.port}", f":{listen}") + API.format(build=build, **api)
            (shop.root / "substitute.toml").write_text(text)

        configured("false")
        assert "reload" not in phases(shop.events("deploy", "-a", "api", exit_status=4))
        configured("true")
        done = phases(shop.events("deploy", "-a", "api"))
        assert done[done.index("ready") :][:3] == ["ready", "reload", "admit"]
        for stream in streams:
            stream.go_on()
        with socket.create_server(("127.0.0.1", 0)) as holder:
            configured("true", listen=holder.getsockname()[1])
            failed = shop.run("deploy", "-a", "api", exit_status=1)
            assert "is held by python" in failed.stderr
            assert "still serves" in failed.stderr
            failed = shop.run("up", exit_status=1)
            assert "is held by python" in failed.stderr
        moved = free_port()
        configured("true", listen=moved)
        told = shop.run("status").stdout
        assert f"balancer: haproxy on 127.0.0.1:{shop.port}, running" in told
        assert f"substitute.toml says 127.0.0.1:{moved}: `substitute up`" in told
        shop.run("up")
        assert shop.status()["balancer"]["listens"] == [f"127.0.0.1:{moved}", f"127.0.0.1:{shop.port}"]
        for stream in streams:
            stream.go_on()
        # Only the drain of the app that they are of ends them, though old workers have them.
        assert shop.events("deploy", "-a", "shop")[-1]["drained"]["cut"] == len(streams)
