"""The pages that promise something name tests; each of them is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.test_model import FEW, LENGTH

ROOT = Path(__file__).parents[2]
NAMED = re.compile(r"`(tests/\S+\.py)::(\w+)`")


@pytest.mark.parametrize("page", ["reliability.md", "security.md"])
def test_every_test_that_a_page_names_exists(page: str) -> None:
    text = (ROOT / "docs" / page).read_text()
    named = NAMED.findall(text)
    assert len(named) > 10
    assert text.count("::") == len(named), "all that look like names were read as such"
    for file, name in named:
        assert f"def {name}(" in (ROOT / file).read_text(), f"{file}::{name}"


def test_so_many_sequences_of_the_model_are_run_as_a_page_says() -> None:
    text = " ".join((ROOT / "docs" / "reliability.md").read_text().split())
    long = re.search(r"SEQUENCES = (\d+)", (ROOT / "Makefile").read_text())
    assert long
    usual = f"runs {FEW} sequences of {LENGTH} commands and mishaps, the same ones at each change"
    assert f"{usual}, and {int(long[1]):,} random" in text
