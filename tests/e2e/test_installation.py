"""Each way to install that README names, typed on a bare Debian."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.bare import REPOSITORY, Debian

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [
    pytest.mark.long,
    pytest.mark.timeout(900),
    pytest.mark.skipif(
        os.geteuid() != 0 or not shutil.which("apt-get"), reason="needs root, and apt-get for a Debian"
    ),
]
_SECTION = re.search(
    r"^## Install\n(.*?)^## ", Path(REPOSITORY, "README.md").read_text(), re.DOTALL | re.MULTILINE
)
assert _SECTION
_BLOCKS = [
    "\n".join(line.strip() for line in block.splitlines())
    for block in re.findall(r"(?:^    .*\n)+", _SECTION[1], re.MULTILINE)
]
_NEEDS = {"pipx": "git pipx", "uv": "git pipx", "python3": "git python3-venv"}
_WHEEL = "/srv/wheel/*.whl"


@pytest.fixture(scope="module")
def debian() -> Iterator[Debian]:
    with Debian() as made:
        yield made


@pytest.mark.parametrize("source", ["clone", "wheel"])
@pytest.mark.parametrize("block", _BLOCKS, ids=lambda block: block.split()[0])
def test_each_block_of_readmes_installation_works_as_pasted(debian: Debian, block: str, source: str) -> None:
    tool = block.split(maxsplit=1)[0]
    script = [
        f"apt-get update -qq; apt-get install -y -qq --no-install-recommends {_NEEDS[tool]}",
        "cd /source",
    ]
    if tool == "uv":
        script.append("PIPX_BIN_DIR=/usr/local/bin pipx install uv")
    if source == "wheel":
        script.append(
            "apt-get install -y -qq --no-install-recommends python3-pip; pip wheel --quiet --no-deps -w /srv/wheel ."
        )
        block = re.sub(r" \.$", f" {_WHEEL}", block, flags=re.MULTILINE)
    script += [
        'PATH="$PATH:/root/.local/bin"',
        block,
        "cd /; substitute --version; substitute demo",
    ]
    said = debian.run("\n".join(script))
    assert "substitute 0." in said
    assert re.search(r"^0 of \d+ requests failed", said, re.MULTILINE)


def test_the_first_two_commands_bring_what_they_need_and_no_development_tools(debian: Debian) -> None:
    said = debian.run(
        "apt-get update -qq; apt-get install -y -qq --no-install-recommends make\n"
        "cp -r /source /clone; cd /clone; make setup; make demo; ls .venv/bin; du -sm .venv | cut -f1"
    )
    assert re.search(r"^0 of \d+ requests failed", said, re.MULTILINE)
    assert "pytest" not in said
    assert int(said.split()[-1]) < 100
