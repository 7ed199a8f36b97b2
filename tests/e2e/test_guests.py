"""Guests on the real programs: as whom they run, and that they come back."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.core.model.slots import Endpoint
from substitute.probing.endpoints import Sockets
from tests.e2e.site import Site, fetch
from tests.machines import USER
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow


@pytest.fixture
def site(tmp_path: Path, runtime: str) -> Iterator[Site]:
    made = Site(tmp_path)
    made.runtime = runtime
    for directory in (tmp_path.parent, tmp_path, made.root, made.repository.directory):
        directory.chmod(0o755)
    yield made
    made.close()


def status_of(port: int) -> dict[str, str]:
    holder = Sockets().holder(Endpoint("127.0.0.1", port))
    assert holder
    text = Path("/proc", holder.partition("pid ")[2].rstrip(")"), "status").read_text()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in text.splitlines())}


@pytest.mark.machine
@pytest.mark.parametrize("runtime", [pytest.param("supervisord", marks=pytest.mark.slow), "systemd"])
def test_a_guest_runs_as_the_apps_user_in_its_sandbox_and_is_back_after_down_and_up(site: Site) -> None:
    site.configure(more=f'user = "{USER}"\n')
    site.run("deploy")
    port = free_port()
    site.run("start", "shop", str(site.root / "shop_a"), str(port))
    for _ in range(2):
        assert fetch(f"http://127.0.0.1:{port}/") == "version 1\n"
        seen = status_of(port)
        assert seen["Uid"].split() == [str((site.root / "shop_a").stat().st_uid)] * 4
        assert seen["NoNewPrivs"] == str(int(site.runtime == "systemd"))
        site.run("down")
        assert Sockets().holder(Endpoint("127.0.0.1", port)) is None
        site.run("up")
    site.run("stop", "shop")
    site.run("up")
    assert Sockets().holder(Endpoint("127.0.0.1", port)) is None
