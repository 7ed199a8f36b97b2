"""The real command with the user's own Traefik in front, and requests flowing. Not one may fail."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from substitute.core.model.slots import Endpoint
from tests.contracts.traefiks import Program, program_at
from tests.e2e.site import Site, fetch
from tests.e2e.traffic import under_load
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    made = program_at(tmp_path / "traefik", Endpoint("127.0.0.1", free_port()))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def site(tmp_path: Path, program: Program) -> Iterator[Site]:
    made = Site(tmp_path)
    made.port = program.listen.port
    made.url = f"http://{program.listen}/"
    configure(made, program)
    yield made
    made.close()


def configure(site: Site, program: Program, *, api: str = "", more: str = "") -> None:
    """Write substitute.toml for the user's Traefik."""
    site.balancer = f'kind = "traefik"\nfile = "{program.file}"\napi = "{api or program.url}"'
    site.configure(more=more)


def own_answer(site: Site, slot: str) -> str:
    """What the slot's instance says on its own port."""
    return fetch(f"http://127.0.0.1:{site.ports['ab'.index(slot)]}/")


def test_deploy_and_rollback_fail_no_request(site: Site) -> None:
    site.run("deploy")
    site.repository.commit("2")
    assert under_load(site, lambda: site.run("deploy"), lambda: site.run("rollback")) == {"1", "2"}
    site.assert_only_serves("a")
    assert fetch(site.url) == "version 1\n"
    assert site.status()["balancer"] == {"kind": "traefik", "listen": None, "running": True}


@pytest.mark.long
def test_with_traefik_stopped_a_deployment_fails_and_the_old_instance_runs_on(
    site: Site, program: Program
) -> None:
    site.run("deploy")
    before = site.app()["slots"]["a"]["pid"]
    site.repository.commit("2")
    program.stop()
    failed = site.run("deploy", exit_status=1)
    assert program.url in failed.stderr
    assert "Connection refused" in failed.stderr
    assert own_answer(site, "a") == "version 1\n"
    assert site.app()["slots"]["a"]["pid"] == before

    program.start()
    site.run("deploy")
    site.assert_only_serves("b")
    assert fetch(site.url) == "version 2\n"


def test_where_the_api_is_not_to_be_asked_the_old_version_serves_on(site: Site, program: Program) -> None:
    site.run("deploy")
    site.repository.commit("2")
    configure(site, program, api=f"http://127.0.0.1:{free_port()}")
    assert under_load(site, lambda: site.run("deploy", exit_status=1)) == {"1"}
    configure(site, program)
    site.assert_only_serves("a")
