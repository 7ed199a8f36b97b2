"""The pages lead to each other, and each page that gives commands has a test that types them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from substitute.core.deploy.hooks import HOOKS
from substitute.core.model.slots import Phase

REPOSITORY = Path(__file__).parents[2]
PAGES = sorted(
    page.relative_to(REPOSITORY)
    for pattern in ("*.md", "docs/**/*.md", "examples/**/*.md")
    for page in REPOSITORY.glob(pattern)
)
TAUGHT = [page for page in PAGES if page.match("docs/howto/*.md") or page.name == "tutorial.md"]
_LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]+))?\)")
_FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_of_a_page_leads_somewhere(page: Path) -> None:
    for file, anchor in _LINK.findall(_FENCED.sub("", (REPOSITORY / page).read_text())):
        target = (REPOSITORY / page).parent / file if file else REPOSITORY / page
        assert target.exists(), f"{page}: there is no {file}"
        if anchor:
            assert anchor in _anchors(target.read_text()), f"{page}: {file} has no heading #{anchor}"


@pytest.mark.parametrize("page", TAUGHT, ids=str)
def test_a_page_that_teaches_is_in_the_index_and_followed_by_a_test(page: Path) -> None:
    name = str(page.relative_to("docs"))
    assert f"]({name})" in (REPOSITORY / "docs" / "README.md").read_text(), "it is in the index"
    tests = [*(REPOSITORY / "tests" / "e2e").glob("*.py"), *(REPOSITORY / "tests" / "contracts").glob("*.py")]
    assert any(f'"{name}"' in test.read_text() for test in tests), f'no test names "{name}"'


def test_the_glossary_has_every_phase_and_the_page_of_hooks_every_hook() -> None:
    glossary, hooks = ((REPOSITORY / "docs" / f"{page}.md").read_text() for page in ("glossary", "hooks"))
    assert [phase for phase in Phase if phase is not Phase.CHECK and f"| **{phase}** |" not in glossary] == []
    assert [hook for hook in HOOKS if f"`{hook}`" not in hooks] == []


def _anchors(text: str) -> set[str]:
    """What headings are called in links."""
    headings = re.findall(r"^#+ (.+)$", _FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
