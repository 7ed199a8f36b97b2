"""A page of the version before still finds its scripts after a deployment."""

from __future__ import annotations

import signal
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.error import HTTPError

import pytest

from tests.e2e.site import Site, fetch, killed
from tests.e2e.traffic import flowing, under_load
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

APP = """
const version = require('fs').readFileSync('version.txt', 'utf8').trim()
const answers = { '/': `version ${version}`, [`/assets/app-${version}.js`]: `script ${version}` }
require('http').createServer((request, response) => {
  const chunks = []
  request.on('data', chunk => chunks.push(chunk))
  request.on('end', () => {
    const body = request.method === 'POST' ? Buffer.concat(chunks) : answers[request.url]
    response.writeHead(body && (request.method === 'GET' || request.url === '/') ? 200 : 404, { 'X-Version': version })
    response.end(body || `nothing there, says ${version}`)
  })
}).listen(process.env.PORT, process.env.HOST)
process.on('SIGTERM', () => process.exit())
"""
KEEP = '[app.shop.standby]\nkeep = "10m"\n'


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    made.configure(more='assets = ["/assets/"]\n' + KEEP, start="node app.py")
    made.repository.commit("1", app=APP)
    made.run("deploy")
    made.repository.commit("2", app=APP)
    yield made
    made.close()


def asked(site: Site, version: str, *, method: str = "GET") -> tuple[int, str]:
    """Status and body of the script of `version`."""
    request = urllib.request.Request(f"{site.url}assets/app-{version}.js", method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


@contextmanager
def page_of_version_1(site: Site) -> Iterator[None]:
    """It asks for its script again and again meanwhile, and always finds it."""
    with flowing(f"{site.url}assets/app-1.js") as loading:
        yield
        loading.wait_for(50)
    assert loading.so_far.failures == []


NOWHERE = (404, "nothing there, says 2")


def test_an_open_page_finds_its_script_until_the_version_before_has_crashed_or_ended(site: Site) -> None:
    with page_of_version_1(site):
        assert under_load(site, lambda: site.run("deploy")) == {"1", "2"}
        assert asked(site, "2") == (200, "script 2")
    assert asked(site, "1") == (200, "script 1")
    assert asked(site, "1", method="POST")[0] == 404
    assert asked(site, "0") == NOWHERE
    killed(site.app()["slots"]["a"]["pid"])
    while (answer := asked(site, "1")) == NOWHERE:  # until its runtime has started it again
        pass
    assert answer == (200, "script 1")
    under_load(site, lambda: site.run("standby", "end"))
    assert asked(site, "1") == NOWHERE
    site.assert_only_serves("b")


@pytest.mark.long
def test_it_finds_it_throughout_a_rollback_too(site: Site) -> None:
    site.run("deploy")
    with page_of_version_1(site):
        assert under_load(site, lambda: site.run("rollback")) == {"1", "2"}
    assert fetch(site.url) == "version 1"


@pytest.mark.parametrize("shared", ['verify]\nfor = "10m"\nshare = 50', 'canary]\nsteps = ["50% 10m"]'])
def test_a_page_and_its_script_come_from_one_version_while_both_have_clients(
    tmp_path: Path, shared: str
) -> None:
    """No `assets` here: whoever asked the other version for a script would not find it."""
    site = Site(tmp_path)
    try:
        site.configure(start="node app.py")
        site.repository.commit("1", app=APP)
        site.run("deploy")
        site.configure(more=f"[app.shop.{shared}\n", start="node app.py")
        site.repository.commit("2", app=APP)
        with site.popen("deploy") as process:
            phase = shared.partition("]")[0]
            eventually(lambda: (site.app()["deployment"] or {}).get("phase") == phase, "both have clients")
            seen = {viewed(site) for _ in range(100)}
            process.send_signal(signal.SIGINT)
        assert seen == {("version 1", "script 1"), ("version 2", "script 2")}
        site.assert_only_serves("a")
    finally:
        site.close()


def viewed(site: Site) -> tuple[str, str]:
    """What a browser that was never here gets: the page, and the script that this names."""
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor())
    with browser.open(site.url, timeout=60) as answer:
        page = answer.read().decode()
    try:
        with browser.open(f"{site.url}assets/app-{page.split()[-1]}.js", timeout=60) as answer:
            return page, answer.read().decode()
    except HTTPError as error:
        return page, error.read().decode()


def test_where_assets_can_not_be_asked_for_it_is_said(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.balancer = 'kind = "nginx"'
    site.configure(more='assets = ["/assets/"]\n' + KEEP)
    told = site.run("deploy", exit_status=2).stderr
    assert "nginx has no use for app.shop.assets" in told
    assert 'balancer.kind = "haproxy"' in told
