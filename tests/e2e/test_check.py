"""`substitute check` on real apps: one with good manners, and one for each way to have bad ones."""

from __future__ import annotations

import json
import shutil
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from substitute.linux.processes import identify
from tests.e2e.badly_mannered import badly_mannered
from tests.e2e.traffic import flowing
from tests.waiting import eventually

if TYPE_CHECKING:
    import subprocess

    from tests.e2e.site import Site

NODE = Path(__file__).parents[2] / "examples" / "node"
SIGTERM = Path(__file__).parents[2] / "docs" / "sigterm.md"
SHORT = '[app.shop.stop]\ntimeout = "4s"\n'


def checked(site: Site, *arguments: str, exit_status: int = 0) -> dict[str, Any]:
    """The one document of ``check --json``."""
    found: dict[str, Any] = json.loads(
        site.run("check", *arguments, "--json", exit_status=exit_status).stdout
    )
    return found


def by_name(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in document["checks"]}


def wrong(document: dict[str, Any]) -> set[str]:
    return {name for name, one in by_name(document).items() if one["passed"] is False}


def commit_node(site: Site) -> None:
    for name in ("www.js", "package.json"):
        shutil.copy(NODE / name, site.repository.directory / name)
    site.repository.commit("node")


def assert_gone(site: Site, slot: str) -> None:
    found = site.app()["slots"][slot]
    assert (found["state"], found["pid"]) == ("idle", None)


# -- apps -----------------------------------------------------------------------------------------


def test_a_well_mannered_python_app_passes(site: Site) -> None:
    site.run("deploy")
    document = checked(site)
    assert document["passed"], document
    assert {one["passed"] for one in document["checks"]} == {True}
    assert (document["slot"], document["live"]) == ("b", "a")
    site.assert_only_serves("a")


def test_a_well_mannered_node_app_passes_and_is_recognized(site: Site) -> None:
    commit_node(site)
    site.configure(start="node www.js")
    document = checked(site)
    assert document["passed"], document
    assert document["platform"] == "node"
    assert "POST /, half sent at SIGTERM" in by_name(document)["finish"]["seen"]


@pytest.mark.parametrize(
    ("fault", "names"),
    [
        ("none", set()),
        ("ignores", {"refuse", "idle", "exit"}),
        ("cuts", {"finish"}),
        ("listens", {"refuse"}),
        ("idles", {"idle"}),
    ],
)
def test_each_fault_is_found_and_nothing_else_is(site: Site, fault: str, names: set[str]) -> None:
    site.configure(more=SHORT)
    site.repository.commit(fault, app=badly_mannered(fault))
    document = checked(site, exit_status=1 if names else 0)
    if names < wrong(document):  # it measures seconds, and a busy machine may add a finding: once more
        document = checked(site, exit_status=1)
    assert wrong(document) == names, document
    assert document["passed"] is not bool(names)
    for name in names:
        finding = by_name(document)[name]
        assert finding["seen"]
        assert "docs/sigterm.md" in finding["cure"]
    assert_gone(site, "a")


def test_a_child_that_survives_is_named_and_does_not_outlive_the_check(site: Site) -> None:
    site.repository.commit("child", app=badly_mannered("child"))
    document = checked(site, exit_status=1)
    assert wrong(document) == {"children"}, document
    seen = by_name(document)["children"]["seen"]
    assert "sleep (pid " in seen
    left = [pid for pid in site.pids() if b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    assert left == []


@pytest.mark.parametrize("start", ["sh -c 'node www.js; true'", "node www.js; true"])
def test_a_shell_that_keeps_the_signal_is_named_as_the_cause(site: Site, start: str) -> None:
    commit_node(site)
    site.configure(start=start, more=SHORT)
    document = checked(site, exit_status=1)
    assert wrong(document) == {"signal", "refuse", "idle", "children"}, document
    finding = by_name(document)["signal"]
    assert finding["seen"].startswith("sh (pid ")
    assert "; node (pid " in finding["seen"]
    assert "`exec`" in finding["cure"]
    assert "as above" in by_name(document)["refuse"]["cure"]
    assert_gone(site, "a")
    assert not [pid for pid in site.pids() if b"www.js" in Path(f"/proc/{pid}/cmdline").read_bytes()]


IN_PARTS = """
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = @AT_ONCE@

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), Handler).serve_forever()
"""


def test_late_answers_on_kept_connections_are_told_with_their_cure(site: Site) -> None:
    site.repository.commit("late", app=IN_PARTS.replace("@AT_ONCE@", "False"))
    said = site.run("check", exit_status=1)
    assert "TCP_NODELAY" in said.stdout + said.stderr
    site.configure(balancer="keep_connections = false")
    assert "TCP_NODELAY" not in str(site.run("check", exit_status=1))
    site.configure()
    site.repository.commit("at once", app=IN_PARTS.replace("@AT_ONCE@", "True"))
    assert "TCP_NODELAY" not in str(site.run("check", exit_status=1))


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not here")
def test_of_npm_start_is_said_whether_the_signal_gets_through(site: Site) -> None:
    """What npm does with it depends on its release, and on the shell that it starts."""
    commit_node(site)
    site.configure(start="npm start", more=SHORT)
    with site.popen("check", "--json") as process:
        out, err = process.communicate(timeout=120)
    document = json.loads(out)
    finding = by_name(document)["signal"]
    assert finding["seen"].startswith("npm (pid "), err
    assert "node (pid " in finding["seen"]
    assert finding["passed"] is by_name(document)["children"]["passed"]
    assert finding["passed"] or "without npm" in finding["cure"]
    assert process.returncode == (0 if document["passed"] else 1)


@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not here")
def test_an_npm_script_that_execs_gets_the_signal(site: Site) -> None:
    commit_node(site)
    (site.repository.directory / "package.json").write_text('{"scripts": {"start": "exec node www.js"}}')
    site.repository.commit("exec")
    site.configure(start="npm start")
    assert "passed it on to node (pid " in by_name(checked(site))["signal"]["seen"]


HASTY = """
const server = require('http').createServer((request, response) => {
  if (request.url === '/slow') setTimeout(() => response.end('ok'), 1500)
  else if (request.url === '/large') response.end('x'.repeat(300000))
  else if (request.url === '/upload') { request.resume(); request.on('end', () => response.end('ok')) }
  else response.end('ok')
})
process.on('SIGTERM', () => @STOP@)
server.listen(process.env.PORT, process.env.HOST)
"""
"""An app that answers at once what it is asked by default, so that nothing is under way."""


def test_an_app_that_is_never_busy_is_not_passed_and_the_cures_find_that_it_cuts_requests(site: Site) -> None:
    """It ends as soon as it gets SIGTERM; each cure is typed."""
    site.repository.commit("dies", app=HASTY.replace("@STOP@", "process.exit(0)"))
    site.configure(start="node app.py")
    out = site.run("check").stdout
    assert "not proven that a running request is answered in full" in out
    assert "takes SIGTERM as it should" not in out
    assert "to prove it: name a path" in out
    assert "--slow /PATH" in out
    document = checked(site, "--strict", exit_status=1)
    assert (document["result"], document["passed"], wrong(document)) == ("not proven", None, set())
    history = json.loads(site.run("history", "--json").stdout)["deployments"]
    assert history[0]["outcome"] == "not proven"
    found = checked(site, "--slow", "/slow", exit_status=1)
    assert wrong(found) == {"finish"}, found
    assert "GET /slow, under way at SIGTERM, was closed" in by_name(found)["finish"]["seen"]
    for path, seen in (("large", "read only after"), ("upload", "half sent at")):
        site.configure(start="node app.py", more=f'[app.shop.check]\n{path} = "/{path}"\n')
        found = checked(site, exit_status=1)
        assert wrong(found) == {"finish"}, found
        assert seen in by_name(found)["finish"]["seen"]


def test_an_app_that_finishes_what_was_named_is_proven_to(site: Site) -> None:
    """With the lines of the document for large answers."""
    documented = (
        SIGTERM.read_text().partition("### Large answers")[2].partition("```js\n")[2].partition("```")[0]
    )
    lines = HASTY.splitlines()
    app = "\n".join(documented if "SIGTERM" in line else line for line in lines)
    site.repository.commit("documented", app=app)
    site.configure(start="node app.py", more='[app.shop.check]\nslow = "/slow"\nupload = "/upload"\n')
    document = checked(site, "--strict", "--large", "/large")
    assert (document["result"], document["passed"]) == ("passed", True)
    seen = by_name(document)["finish"]["seen"]
    assert "GET /slow, under way at SIGTERM, was answered in full: 200" in seen
    assert "POST /upload, half sent at SIGTERM, was answered in full: 200" in seen
    assert "GET /large, read only after SIGTERM, was answered in full: 200" in seen


def test_without_http_the_rest_is_proven(site: Site) -> None:
    site.configure(more='[app.shop.health]\nkind = "tcp"\n')
    document = checked(site)
    assert [one["passed"] for one in document["checks"]] == [True, True, None, None, True, True]


def test_the_table_shows_each_with_its_cure(site: Site) -> None:
    site.repository.commit("cuts", app=badly_mannered("cuts"))
    out = site.run("check", exit_status=1).stdout
    assert "✗ a running request is answered in full" in out
    assert "✓ idle keep-alive connections are closed" in out
    assert "cure: see docs/sigterm.md" in out
    assert "1 problem to fix; nothing serves, as before" in out


# -- the site -------------------------------------------------------------------------------------


def test_no_request_to_the_live_version_fails_during_a_check(site: Site) -> None:
    site.run("deploy")
    site.repository.commit("2")
    with flowing(site.url) as get, flowing(site.url, method="POST") as post:
        for load in (get, post):
            load.wait_for(50)
        assert checked(site)["passed"]
        for load in (get, post):
            load.wait_for(50)
        reports = [get.stop(), post.stop()]
    assert [failure for report in reports for failure in report.failures] == []
    assert {version for report in reports for version in report.versions} == {"1"}
    site.assert_only_serves("a")
    assert site.app()["next_deploy"] == "b"


def test_after_a_check_a_rollback_still_goes_to_what_was_live(site: Site) -> None:
    site.run("deploy")
    site.repository.commit("2")
    site.run("deploy")
    site.repository.commit("3")
    assert checked(site)["slot"] == "a"
    site.assert_only_serves("b")
    history = json.loads(site.run("history", "--json").stdout)["deployments"]
    assert (history[0]["operation"], history[0]["outcome"]) == ("check", "passed")
    out = site.run("rollback").stdout
    assert "no longer holds" in out
    site.assert_only_serves("a")
    assert (site.root / "shop_a/version.txt").read_text() == "1\n"
    site.run("rollback")
    assert (site.root / "shop_current/version.txt").read_text() == "2\n"


def test_a_check_where_nothing_is_live_leaves_nothing_live(site: Site) -> None:
    assert checked(site)["live"] is None
    app = site.app()
    assert (app["live"], app["next_deploy"]) == (None, "a")
    assert_gone(site, "a")
    site.run("rollback", exit_status=2)
    site.run("deploy")
    site.assert_only_serves("a")


def test_a_version_that_does_not_start_is_no_outage(site: Site) -> None:
    site.repository.commit("bad", build="echo no such module; exit 3\n")
    document = json.loads(site.run("check", "--json", exit_status=1).stdout)
    assert document["event"] == "error"
    assert "no such module" in document["reason"]
    site.repository.commit("1")
    site.run("deploy")
    site.repository.commit("bad", app="raise SystemExit('cannot find the database')\n")
    error = site.run("check", exit_status=1).stderr
    assert "cannot find the database" in error
    assert "still serves" in error
    site.assert_only_serves("a")


def in_the_check(site: Site) -> subprocess.Popen[str]:
    """A check that waits for an app which ignores SIGTERM."""
    site.run("deploy")
    site.configure(more='[app.shop.stop]\ntimeout = "5s"\n')
    site.repository.commit("ignores", app=badly_mannered("ignores"))
    process = site.popen("check")

    def waits() -> bool:
        under_way = site.app()["deployment"]
        return bool(under_way) and (under_way["operation"], under_way["phase"]) == ("check", "check")

    eventually(waits, "the check waits for the app's exit")
    return process


def test_ctrl_c_ends_a_check_and_leaves_the_live_version_alone(site: Site) -> None:
    with in_the_check(site) as process:
        assert "check" in site.run("deploy", exit_status=3).stderr
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "still serves" in err
    site.assert_only_serves("a")
    history = json.loads(site.run("history", "--json").stdout)["deployments"]
    assert (history[0]["operation"], history[0]["outcome"]) == ("check", "interrupted")


@pytest.mark.long
def test_a_check_that_is_killed_is_settled_without_anybody(site: Site) -> None:
    with in_the_check(site) as process:
        process.kill()
        process.communicate(timeout=60)
    eventually(lambda: site.app()["slots"]["b"]["pid"] is None, "its instance is gone", patience=60)
    site.run("up")
    site.assert_only_serves("a")
    assert site.app()["next_deploy"] == "b"


def test_a_daemon_that_left_its_group_is_named_and_ended(site: Site) -> None:
    site.repository.commit("daemon", app=badly_mannered("daemon"))
    document = checked(site, exit_status=1)
    assert wrong(document) == {"children"}, document
    seen = by_name(document)["children"]["seen"]
    pid = int(seen.partition("(pid ")[2].partition(")")[0])
    assert identify(pid) is None
