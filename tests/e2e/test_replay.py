"""Pages that clients asked for lately, asked of both versions before any client meets the new one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tests.e2e.site import APP, fetch
from tests.e2e.traffic import under_load

if TYPE_CHECKING:
    from tests.e2e.site import Site

BROKEN = (
    APP.read_text()
    .replace(
        '"HTTP/1.1 200 OK\\r\\nX-Version',
        "\"HTTP/1.1 {'500' if path == '/search' else '200'} Said\\r\\nX-Version",
    )
    .replace(
        'if path == "/slow"',
        'if path == "/report":\n        await asyncio.sleep(0.7)\n    if path == "/slow"',
    )
)
"""Version 2, as its health check does not see: a page fails, and one is slow."""


def replay(site: Site, keys: str) -> None:
    site.configure(more=f"[app.shop.replay]\nlast = 50\n{keys}\n")


def of_kind(events: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] == kind]


def test_a_page_that_health_does_not_see_fails_the_deployment_by_choice_and_no_request(site: Site) -> None:
    replay(site, "fail = true")
    first = site.events("deploy")
    assert "replay" not in [event["phase"] for event in of_kind(first, "phase")], "nothing is live"
    site.repository.commit("1.1")
    assert "Nothing is known yet" in site.run("deploy").stdout, "HAProxy has just been started"

    for path in ("search?q=geheim", "report", "search", "about", "assets/app-1.js"):
        fetch(site.url + path)
    site.repository.commit("2", app=BROKEN)
    said: list[str] = []

    def fails() -> None:
        with site.popen("deploy", "--json") as process:
            out, err = process.communicate(timeout=120)
        assert process.returncode == 1
        said.extend([out, err])

    assert under_load(site, fails) == {"1.1"}, "nobody met version 2"
    events = [json.loads(line) for line in said[0].splitlines()]
    (told,) = of_kind(events, "replayed")
    found = {one["path"]: (one["live"], one["candidate"]) for one in told["differences"]}
    assert found.keys() == {"/search", "/report"}
    assert found["/search"] == ("200", "500")
    assert found["/report"][0].endswith("ms")
    (failed,) = of_kind(events, "failed")
    assert failed["phase"] == "replay"
    assert "  /search: 200 → 500" in failed["reason"]
    assert "geheim" not in said[0] + said[1]
    site.assert_only_serves()

    replay(site, "fail = false")
    said.clear()
    assert under_load(site, lambda: said.append(site.run("deploy").stdout)) == {"1.1", "2"}
    assert "replay | /search: 200 → 500" in said[0]
    latest = site.document("history")["deployments"][0]
    assert "/search: 200 → 500" in latest["reason"]
    assert latest["outcome"] == "succeeded"

    again = site.events("rollback")
    assert "replay" not in [event["phase"] for event in of_kind(again, "phase")]
