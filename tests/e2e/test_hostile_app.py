"""An app that does everything wrong, with requests flowing. Not one may fail that the app did not fail itself."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from substitute.linux.processes import group_members
from tests.e2e.site import APP, fetch
from tests.e2e.traffic import under_load
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.e2e.site import Site

GOOD = APP.read_text()
DEAF = GOOD.replace(
    "asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, _stopping.set)",
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)",
)
FORKS = "import subprocess\nsubprocess.Popen(['sleep', '600'])\n" + GOOD
DEAF_CHILD = FORKS.replace("'sleep', '600'", "'sh', '-c', 'trap : TERM; while :; do sleep 1; done'")
LEAKS = GOOD.replace(
    "    await _stopping.wait()",
    "    import subprocess\n"
    "    descriptors = [listening.fileno() for listening in server.sockets]\n"
    "    subprocess.Popen(['sleep', '600'], pass_fds=descriptors)\n"
    "    await _stopping.wait()",
)
SLOW = "import time\ntime.sleep(2)\n" + GOOD
MUTE = (
    "import os\nfrom http.server import *\n"
    "class H(BaseHTTPRequestHandler):\n"
    "    def do_GET(self):\n"
    "        if self.path != '/health' : return self.send_error(500)\n"
    "        self.send_response(200); self.end_headers()\n"
    "    do_POST = do_GET\n"
    "HTTPServer(('127.0.0.1', int(os.environ['PORT'])), H).serve_forever()\n"
)
assert len({GOOD, DEAF, FORKS, DEAF_CHILD, LEAKS, SLOW}) == 6


@pytest.mark.parametrize(
    ("source", "killed"),
    [
        pytest.param(
            DEAF, "Slot a did not exit within 1s of SIGTERM and was killed.", marks=pytest.mark.slow
        ),
        pytest.param(FORKS, "", marks=pytest.mark.slow),
        (
            DEAF_CHILD,
            "The main process of slot a exited, but what it had started did not within 1s of SIGTERM",
        ),
        pytest.param(LEAKS, "", marks=pytest.mark.long),
    ],
    ids=["deaf", "forks", "forks a deaf one", "leaks its socket"],
)
def test_an_app_that_does_not_leave_is_made_to_and_the_next_ones_come(
    site: Site, source: str, killed: str
) -> None:
    if killed:
        site.configure(more='[app.shop.stop]\ntimeout = "1s"\n')
    site.repository.commit("1", app=source)
    site.run("deploy")
    first = site.app()["slots"]["a"]["pid"]

    def leave() -> None:
        site.repository.commit("2")
        said = " ".join(site.run("deploy").stdout.split())
        assert (killed in said) if killed else ("was killed" not in said)
        site.assert_only_serves("b")
        eventually(lambda: not group_members(first), "nothing of it is left")

    def come_back() -> None:
        site.run("rollback")
        site.assert_only_serves("a")
        site.run("restart")
        site.assert_only_serves("b")

    assert under_load(site, leave, come_back) == {"1", "2"}


@pytest.mark.long
def test_one_that_needs_long_to_boot_is_given_up_by_name_of_the_key_and_waited_for_with_more(
    site: Site,
) -> None:
    site.configure(more='[app.shop.health]\ntimeout = "1s"\n')
    site.run("deploy")

    def slow() -> None:
        site.repository.commit("2", app=SLOW)
        said = site.run("deploy", exit_status=1).stderr
        assert "within 1s" in said
        assert "app.shop.health.timeout" in said
        assert "Slot a" in said
        site.assert_only_serves("a")

    def patient() -> None:
        site.configure(more='[app.shop.health]\ntimeout = "30s"\n')
        site.run("deploy")
        site.assert_only_serves("b")

    assert under_load(site, slow, patient) == {"1", "2"}


@pytest.mark.long
def test_one_that_dies_after_the_commit_is_told_by_status_and_log_and_a_rollback_works(site: Site) -> None:
    site.run("deploy")
    crashing = GOOD.replace(
        "    await _stopping.wait()",
        "    if os.path.exists('../poison'):\n        print('poisoned', flush=True)\n        os._exit(3)\n"
        "    await _stopping.wait()",
    )
    assert crashing != GOOD
    site.repository.commit("2", app=crashing)
    site.run("deploy")
    site.assert_only_serves("b")
    (site.root / "poison").touch()
    os.kill(site.app()["slots"]["b"]["pid"], signal.SIGKILL)
    eventually(lambda: "poisoned" in site.run("logs", "b").stdout, "the log says it")
    eventually(lambda: site.app()["slots"]["b"]["state"] == "failed", "status says it")
    said = site.run("up", exit_status=4).stderr
    assert "Traceback" not in said
    assert "rollback" in said
    site.run("rollback")
    site.assert_only_serves("a")
    assert fetch(site.url) == "version 1\n"
    site.repository.commit("3")
    assert under_load(site, lambda: site.run("deploy")) == {"1", "3"}
    site.assert_only_serves("b")


def test_one_that_answers_health_and_nothing_else_is_left_again_by_a_rollback(site: Site) -> None:
    site.configure(more='[app.shop.health]\npath = "/health"\n')
    site.run("deploy")
    site.repository.commit("2", app=MUTE)
    site.run("deploy")  # whoever only has its health to go by cannot know better
    site.run("rollback")
    site.assert_only_serves("a")
    assert fetch(site.url) == "version 1\n"
    assert under_load(site, lambda: site.run("restart")) == {"1"}
