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


def test_make_bench_measures_all_that_can_be_measured() -> None:
    """But what takes as long as it is told."""
    benches = ROOT / "bench"
    named = {file.stem for file in benches.glob("*.py") if "__main__" in file.read_text()}
    named |= {file.parent.name for file in benches.glob("*/__main__.py")}
    recipe = (ROOT / "Makefile").read_text().partition("\nbench:")[2].partition("\n\n")[0]
    assert set(re.findall(r"-m bench\.(\w+)", recipe)) == named - {"soak"}
