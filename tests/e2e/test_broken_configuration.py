"""substitute.toml with an error, at night: what runs is looked after by what the journal knows, and it is said."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest

from tests.e2e.site import Site, fetch
from tests.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NO_TOML = "[app.shop\n"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    yield made
    made.close()


def with_a_blog(site: Site, *, more: str = "") -> str:
    """Configure a second app; where it is asked is returned."""
    ports = (free_port(), free_port())
    user = 'user = "root"\n' if 'user = "root"' in (site.root / "substitute.toml").read_text() else ""
    site.configure(
        more=f'{user}[app.blog]\nrepo = "{site.repository.directory}"\nports = [{ports[0]}, {ports[1]}]\n'
        f'domains = ["blog.test"]\nstart = "{sys.executable} -S -E app.py"\n{user}{more}'
    )
    return f"http://127.0.0.1:{ports[0]}/"


def test_with_a_substitute_toml_that_is_none_all_but_new_versions_works_from_the_journal(site: Site) -> None:
    file = site.root / "substitute.toml"
    site.run("deploy")
    site.repository.commit("2")
    site.run("deploy")
    site.run("start", "shop", str(site.root / "shop_a"), str(free_port()))
    right = file.read_text()
    for wrong in (right.replace("[balancer]", "[balancr]"), None):
        file.unlink() if wrong is None else file.write_text(wrong)
        told = site.run("status", "--json")
        assert json.loads(told.stdout)["apps"][0]["slots"]["b"]["state"] == "live"
        assert json.loads(told.stdout)["configuration"]["problems"]
        assert "`substitute config` lists what is wrong" in json.loads(told.stderr)["message"]
    assert "There is no" in site.run("deploy", exit_status=2).stderr
    file.write_text(NO_TOML)
    assert "substitute.toml:1" in site.run("config", exit_status=2).stderr
    for command in ("history", "logs"):
        assert "what the journal knows of shop" in site.run(command).stderr
    assert "version 1 listens" in site.run("logs", "shop").stdout
    assert "There is a, b, shop." in site.run("logs", "c", exit_status=2).stderr
    assert "guest: shop on port" in site.run("status").stdout
    site.close()  # as a power cut does
    assert "what the journal knows of shop" in site.run("up").stdout
    assert fetch(site.url) == "version 2\n"
    site.run("rollback")
    assert fetch(site.url) == "version 1\n"
    site.run("down")
    assert site.pids() == set()
    site.run("up")
    assert fetch(site.url) == "version 1\n"
    site.run("stop", "shop_a", "--force")
    site.run("start", "shop_a", str(site.root / "shop_a"), str(site.ports[0]))
    file.write_text(right)
    assert "journal" not in site.run("deploy").stdout
    site.assert_only_serves("b")


def test_an_env_file_that_is_missing_keeps_no_other_app_down_and_no_command_from_looking(site: Site) -> None:
    blog = with_a_blog(site, more='env_file = "blog.env"\n')
    secrets = site.root / "blog.env"
    secrets.write_text("SECRET=1\n")
    site.run("deploy", "-a", "shop")
    site.run("deploy", "-a", "blog")
    secrets.unlink()
    for command in (["status"], ["history"], ["logs", "-a", "blog"]):
        assert "blog cannot be started" in site.run(*command).stderr
    assert "does not concern shop" in site.run("deploy", "-a", "shop").stdout
    assert "there is no such file" in site.run("deploy", "-a", "blog", exit_status=2).stderr
    assert fetch(blog)
    site.close()  # as a power cut does
    failed = site.run("up", exit_status=4)
    assert "shop: slot b serves" in failed.stdout
    assert "blog.env cannot be used: there is no such file" in failed.stderr
    secrets.write_text("SECRET=1\n")
    site.run("up")
    assert fetch(blog)
    secrets.unlink()
    site.run("down")
    assert site.pids() == set()


def test_an_app_that_was_removed_from_the_file_is_shown_and_comes_back_until_it_is_taken_down(
    site: Site,
) -> None:
    blog = with_a_blog(site)
    site.run("deploy", "-a", "shop")
    site.run("deploy", "-a", "blog")
    site.configure()
    names = [app["name"] for app in site.status()["apps"]]
    assert names == ["shop", "blog"]
    assert "`substitute down -a blog` stops it for good" in site.run("status").stdout
    site.run("deploy")
    site.run("down")
    site.run("up")
    assert fetch(blog) == "version 1\n"
    site.run("logs", "-a", "blog")
    assert "No app is called 'blog'" in site.run("deploy", "-a", "blog", exit_status=2).stderr
    site.run("down", "-a", "blog")
    site.run("up")
    assert [app["name"] for app in site.status()["apps"]] == ["shop"]
    assert "adopt" not in site.run("history", "-a", "blog").stdout
    assert fetch(site.url) == "version 1\n"
