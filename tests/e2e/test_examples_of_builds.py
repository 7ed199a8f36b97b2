"""Examples whose build takes its time, and needs a registry of packages: deployed as their READMEs say."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.e2e.site import fetch
from tests.e2e.traffic import ENOUGH, flowing

if TYPE_CHECKING:
    from tests.e2e.site import Site

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
NEXTJS = Path(__file__).parents[2] / "examples" / "nextjs"


def styles_of(site: Site) -> str:
    """The URL of the page's style sheet."""
    found = re.search(r'href="/([^"]+\.css[^"]*)"', fetch(site.url))
    assert found
    return site.url + found[1].replace("&amp;", "&")


def built(site: Site, *arguments: str) -> None:
    with site.popen(*arguments) as process:
        out, err = process.communicate(timeout=600)
    assert process.returncode == 0, f"{out}\n{err}"


def test_a_page_of_next_js_finds_its_styles_after_the_next_deployment(site: Site) -> None:
    place = site.repository.directory
    shutil.copytree(NEXTJS, place, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules", ".next"))
    first = site.repository.commit_all("example")
    text = (NEXTJS / "substitute.toml").read_text()
    for theirs, ours in {
        "ssh://git@YOUR-HOST/YOUR-APP.git": place,
        "127.0.0.1:8080": f"127.0.0.1:{site.port}",
        "[3001, 3002]": list(site.ports),
    }.items():
        assert theirs in text
        text = text.replace(theirs, str(ours))
    # Beside whatever else runs where tests run, a build that is less urgent would take for ever.
    (site.root / "substitute.toml").write_text(text + "[app.shop.build_limits]\nnice = 0\n")

    built(site, "deploy")
    earlier = styles_of(site)
    before = fetch(earlier)
    assert "tan" in before
    style = place / "app" / "site.css"
    style.write_text(style.read_text().replace("tan", "plum"))
    second = site.repository.commit_all("example 2")

    with (
        flowing(site.url) as pages,
        flowing(f"{site.url}api/echo", method="POST") as forms,
        flowing(earlier) as styles,
    ):
        for operation in ("status", "deploy", "rollback"):
            built(site, operation)
            for load in (pages, forms, styles):
                load.wait_for(ENOUGH)
            if operation == "deploy":
                assert "plum" in fetch(styles_of(site))
                assert fetch(earlier) == before
        reports = [load.stop() for load in (pages, forms, styles)]
    assert [failure for report in reports for failure in report.failures] == []
    assert set(reports[0].versions) == {first, second}
    assert styles_of(site) == earlier
    site.assert_only_serves("a")
