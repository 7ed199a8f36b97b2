"""Each example is deployed twice by the real command, as its README says, while requests flow."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.demo.load import Load

if TYPE_CHECKING:
    from tests.e2e.site import Site

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.mark.timeout(300)
@pytest.mark.parametrize("name", ["node", pytest.param("uvicorn", marks=pytest.mark.long), "gunicorn"])
def test_an_example_is_deployed_and_rolled_back_without_a_failed_request(site: Site, name: str) -> None:
    for file in (EXAMPLES / name).iterdir():
        shutil.copy(file, site.repository.directory / file.name)
    site.repository.commit("example", app=_app(name))
    text = (EXAMPLES / name / "substitute.toml").read_text()
    text = text.replace("ssh://git@YOUR-HOST/YOUR-APP.git", str(site.repository.directory))
    text = text.replace("8080", str(site.port)).replace("[3001, 3002]", str(list(site.ports)))
    (site.root / "substitute.toml").write_text(text)

    site.run("deploy")
    site.repository.commit("example 2", app=_app(name))
    # With pauses, or the build beside them would starve.
    with Load(site.url, pause=0.01) as get, Load(site.url, method="POST", connections=2, pause=0.01) as post:
        for operation in ("deploy", "rollback"):
            for load in (get, post):
                load.wait_for(50)
            site.run(operation)
        for load in (get, post):
            load.wait_for(50)
        reports = [get.stop(), post.stop()]
    assert [failure for report in reports for failure in report.failures] == []
    site.assert_only_serves("a")


def _app(name: str) -> str:
    """What `app.py` is: the repository's own is the sample app, which an example has not."""
    file = EXAMPLES / name / "app.py"
    return file.read_text() if file.exists() else ""
