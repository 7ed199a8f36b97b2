"""README shows nothing that is not so elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from bench import pages
from bench.comparison.page import digest

from substitute.config.root import MINIMAL, find_root
from substitute.core.model.errors import ConfigError

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text()


def test_readme_and_a_command_without_a_file_show_the_same_example(tmp_path: Path) -> None:
    assert f"```toml\n{MINIMAL}```\n" in README
    with pytest.raises(ConfigError) as caught:
        find_root(tmp_path, environ={})
    assert MINIMAL in caught.value.cure


def test_the_repository_of_the_example_is_clearly_the_readers() -> None:
    assert "YOUR-HOST/YOUR-APP" in MINIMAL
    assert "git.example.com" not in README


def test_the_figures_of_readme_are_those_that_were_measured() -> None:
    measured = digest((REPOSITORY / "docs" / "benchmarks.md").read_text())
    assert pages.between(README, measured) == README
