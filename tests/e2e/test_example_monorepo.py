"""The example of a monorepo: a commit deploys the apps that it touches, while requests flow to both."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from substitute.demo.load import Load
from tests.e2e.test_examples import EXAMPLES
from tests.e2e.traffic import ENOUGH, PAUSE
from tests.ports import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.site import Site

EXAMPLE = EXAMPLES / "monorepo"
WEB, SHARED = "apps/web/www.js", "packages/messages/messages.json"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_commit_deploys_the_apps_that_it_touches_and_no_request_to_either_fails(site: Site) -> None:
    shutil.copytree(EXAMPLE, site.repository.directory, dirs_exist_ok=True)
    first = site.repository.commit_all("example")
    configure(site)
    assert deploy(site) == ["web", "api"]

    # With pauses, or the builds beside them would starve.
    with ExitStack() as stack:
        loads = {
            app: [
                stack.enter_context(Load(site.url, method=method, connections=1, pause=PAUSE, host=host))
                for method in ("GET", "POST")
            ]
            for app, host in {"web": "www.example.com", "api": "api.example.com"}.items()
        }

        def flow() -> None:
            for load in [*loads["web"], *loads["api"]]:
                load.wait_for(ENOUGH)

        flow()
        second = change(site, WEB, "from web", "from the web")
        assert deploy(site) == ["web"]
        assert lives(site) == {"web": second, "api": first}
        flow()
        third = change(site, SHARED, "hello", "good morning")
        assert deploy(site) == ["web", "api"]
        assert lives(site) == {"web": third, "api": third}
        flow()
        change(site, "README.md", "monorepo", "the monorepo")
        assert deploy(site) == []
        site.run("rollback", "-a", "api")
        site.run("rollback", "-a", "web")
        assert lives(site) == {"web": second, "api": first}
        flow()
        reports = {app: [load.stop() for load in those] for app, those in loads.items()}

    every = [report for those in reports.values() for report in those]
    assert [failure for report in every for failure in report.failures] == []
    for report in reports["web"]:
        assert set(report.versions) == {first, second, third}
    for report in reports["api"]:
        assert set(report.versions) == {first, third}


def configure(site: Site) -> None:
    """Write the example's substitute.toml, for this machine: with the gunicorn of the tests, which is there."""
    text = (EXAMPLE / "substitute.toml").read_text()
    for old, new in {
        "ssh://git@YOUR-HOST/YOUR-APP.git": str(site.repository.directory),
        "8080": str(site.port),
        "[3001, 3002]": str(list(site.ports)),
        "[3003, 3004]": str([free_port(), free_port()]),
        "python3 -m venv .venv": f"ln -sfn {sys.prefix} .venv",
        ".venv/bin/pip install --quiet --requirement requirements.txt": "test -f requirements.txt",
    }.items():
        assert old in text
        text = text.replace(old, new)
    (site.root / "substitute.toml").write_text(f'[runtime]\nkind = "{site.runtime}"\n{text}')


def change(site: Site, file: str, old: str, new: str) -> str:
    """Commit another text in a file."""
    path: Path = site.repository.directory / file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    return site.repository.commit_all(f"Change {file}")


def deploy(site: Site) -> list[str]:
    """The apps that `deploy` without a name said it would deploy, and did."""
    events = [json.loads(line) for line in site.run("deploy", "--json").stdout.splitlines()]
    (announced,) = [event["apps"] for event in events if event["event"] == "announced"]
    assert [event["app"] for event in events if event["event"] == "succeeded"] == announced
    return list(announced)


def lives(site: Site) -> dict[str, str]:
    """The commit of each app, which is live with all requests, and nothing of the other slot runs."""
    found = {}
    for app in site.status()["apps"]:
        live = app["slots"].pop(app["live"])
        (other,) = app["slots"].values()
        assert (live["state"], live["share"], other["state"], other["pid"]) == ("live", 100, "idle", None)
        found[app["name"]] = live["commit"]
    return found
