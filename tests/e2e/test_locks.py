"""Who works on an app, who waits for that, and who must not."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.site import Site


def test_a_deployment_waits_for_another_one_and_nobody_deploys_what_a_person_has_locked(site: Site) -> None:
    site.run("deploy")
    site.configure(more='[app.shop.verify]\nfor = "60s"\n')
    with site.popen("deploy", "--json") as first:
        for line in first.stdout or ():
            if json.loads(line).get("phase") == "verify":
                break
        site.configure()
        newer = site.repository.commit("2")
        with site.popen("deploy", "--wait", "2m", "--json") as second:
            told = json.loads(next(iter(second.stdout or ())))
            assert told["event"] == "notice"
            assert f"pid {first.pid}" in told["message"]
            assert "now in phase verify" in told["message"]
            late = site.run("restart", "--wait", "0.2s", exit_status=3).stderr
            assert f"pid {first.pid}" in late
            first.send_signal(signal.SIGINT)
            first.communicate()
            second.communicate(timeout=120)
        assert (first.returncode, second.returncode) == (130, 0)
    assert site.app()["slots"][site.app()["live"]]["commit"] == newer

    (locked,) = site.events("lock", "no deploys on Friday")
    assert (locked["event"], locked["app"], locked["text"]) == ("locked", None, "no deploys on Friday")
    (refused,) = site.events("deploy", "--wait", "2m", exit_status=3)
    assert locked["text"] in refused["reason"]
    assert f"locked by {locked['by']} since" in site.run("status").stdout
    assert site.app()["locks"][0]["text"] == locked["text"]
    site.run("rollback")
    assert site.run("unlock").stdout.startswith("Deployments of all apps are unlocked.")
    site.run("deploy")
    assert site.app()["locks"] == []
