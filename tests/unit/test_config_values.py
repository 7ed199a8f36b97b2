"""Durations, addresses, env files and the root: the small languages of the configuration."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from substitute.config import find_root
from substitute.config.addresses import overlap, parse_listen
from substitute.config.durations import LONGEST, format_duration, parse_duration
from substitute.config.envfile import EnvFile, EnvFileError, parse_env, read_env_file
from substitute.config.literals import literal, quote, without_password
from substitute.config.loader import load
from substitute.config.root import MINIMAL
from substitute.core.model.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("2m", 120), ("1h", 3600), ("1.5 h", 5400), (30, 30), (0.25, 0.25), (0, 0)],
)
def test_a_duration_has_a_unit_or_is_seconds(written: object, seconds: float) -> None:
    assert parse_duration(written) == seconds


@pytest.mark.parametrize(
    "written",
    [
        "30",
        "",
        "s",
        "-1s",
        "1d",
        "1m30s",
        "1e3s",
        "٣s",
        "30s\n",
        -1,
        float("nan"),
        float("inf"),
        True,
        None,
        [],
        "600h",
        10**400,
        "9" * 400 + "h",
    ],
)
def test_what_is_no_duration_is_refused(written: object) -> None:
    with pytest.raises(ValueError, match="a duration"):
        parse_duration(written)


@given(st.floats(min_value=0, max_value=LONGEST))
def test_a_duration_is_read_as_it_was_written(seconds: float) -> None:
    assert parse_duration(seconds) == seconds
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(0, 500), st.sampled_from(["ms", "s", "m", "h"]))
def test_a_round_duration_keeps_its_value_in_every_unit(number: int, unit: str) -> None:
    seconds = parse_duration(f"{number}{unit}")
    assert seconds == number * {"ms": 0.001, "s": 1, "m": 60, "h": 3600}[unit] or unit == "ms"
    assert round(seconds * 1000) == number * {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}[unit]


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        ("127.0.0.1:8080", "127.0.0.1:8080"),
        (":80", "*:80"),
        ("*:80", "*:80"),
        ("[::1]:080", "[::1]:80"),
        ("localhost:1", "localhost:1"),
    ],
)
def test_listen_is_normalised(written: str, normal: str) -> None:
    assert parse_listen(written) == normal


@pytest.mark.parametrize(
    "written",
    ["80", "a", "::1:80", "[::1]", "a:0", "a:65536", "a:b", "a b:80", "a:80\n", "unix@/x:1", "[]:80"],
)
def test_a_wrong_listen_is_refused(written: str) -> None:
    with pytest.raises(ValueError, match=r"HOST:PORT|address"):
        parse_listen(written)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("*", "10.0.0.1", True),
        ("::", "10.0.0.1", True),
        ("0.0.0.0", "10.0.0.1", True),
        ("0.0.0.0", "::1", False),
        ("localhost", "::1", True),
    ],
)
def test_wildcards_overlap_every_address_of_their_kind(one: str, other: str, same: object) -> None:
    assert overlap(one, other) is same
    assert overlap(other, one) is same


def test_an_env_file_is_read_as_shells_and_containers_write_it() -> None:
    text = (
        "# comment\r\n\n  export A=1\r\nB = two words # note\n"
        'C=\'a # b \\n $X\'\nD="a\\n\\"b\\" \\\\ \\$X \\q" # note\n'
        "E=\nF=a#b=c\nG=$HOME\nA=again\nH=''\nI=#x"
    )
    assert parse_env(text) == {
        "A": "again",
        "B": "two words",
        "C": "a # b \\n $X",
        "D": 'a\n"b" \\ $X \\q',
        "E": "",
        "F": "a#b=c",
        "G": "$HOME",
        "H": "",
        "I": "",
    }


def test_errors_of_an_env_file_name_the_lines_and_never_a_value(tmp_path: Path) -> None:
    file = tmp_path / "shop.env"
    file.write_text("A=ok\ns3cret+base64==\nB=\"s3cret\nPORT=s3cret\nC='s3cret' s3cret\nD=s3\0cret\n")
    with pytest.raises(EnvFileError) as caught:
        read_env_file(file, file.parent)
    assert [line for line, _ in caught.value.problems] == [2, 3, 4, 5, 6]
    assert "s3cret" not in str(caught.value)
    (tmp_path / "substitute.toml").write_text(MINIMAL.replace("ports", 'env_file = "shop.env"\nports'))
    with pytest.raises(ConfigError) as refused:
        load(tmp_path)
    assert "shop.env:4: PORT may not be set" in str(refused.value)
    assert "s3cret" not in str(refused.value)


def test_an_env_file_that_is_no_text_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"A=1\nB=\xe4\n")
    os.mkfifo(tmp_path / "pipe")  # reading it would block for ever
    for name, sentence in (
        ("latin", "UTF-8"),
        ("pipe", "regular file"),
        (".", "regular file"),
        ("no", "no such"),
    ):
        with pytest.raises(EnvFileError, match=sentence):
            read_env_file(tmp_path / name, tmp_path)


def test_a_secret_is_not_in_the_repr() -> None:
    assert "s3cret" not in repr(EnvFile("shop.env", {"A": "s3cret"}))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://me:s3cret@h/x", "https://me:***@h/x"),
        ("https://s3cret@h/x", "https://***@h/x"),
        ("ssh://git@h/x", "ssh://git@h/x"),
        ("git@h:x", "git@h:x"),
    ],
)
def test_a_password_in_a_url_is_hidden(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_a_terminal_is_not_obeyed() -> None:
    assert quote("\x1b[2J\x7f\x9b\u202e") == '"\\u001b[2J\\u007F\\u009B\\u202E"'
    assert literal({"a b": [1, True, "ü"]}) == '{ "a b" = [1, true, "ü"] }'


def test_the_root_is_found_upward(tmp_path: Path) -> None:
    (tmp_path / "substitute.toml").touch()
    deep = tmp_path / "a" / "b"
    deep.mkdir(parents=True)
    assert find_root(deep, environ={}) == tmp_path
    assert find_root(deep, environ={"SUBSTITUTE_ROOT": ""}) == tmp_path


def test_directory_wins_over_the_variable_and_both_are_exact(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "substitute.toml").touch()
    named = {"SUBSTITUTE_ROOT": str(tmp_path / "one")}
    assert find_root(tmp_path / "two", environ=named) == tmp_path / "one"
    assert find_root(tmp_path, directory="two", environ=named) == tmp_path / "two"
    with pytest.raises(ConfigError, match=r"one/sub holds no substitute.toml \(from -C one/sub\)"):
        find_root(tmp_path, directory="one/sub", environ={})
    with pytest.raises(ConfigError, match="none is no directory"):
        find_root(tmp_path, environ={"SUBSTITUTE_ROOT": "none"})


def test_no_root_says_where_it_looked_and_what_to_write(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        find_root(tmp_path, environ={})
    assert str(tmp_path) in caught.value.what
    assert MINIMAL in caught.value.cure
    assert "-C DIR" in caught.value.cure


def test_a_root_whose_path_is_not_utf_8_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"shop-\xff")
    root.mkdir()
    (root / "substitute.toml").write_text(MINIMAL)
    for found_by in ({"start": root, "directory": None}, {"start": tmp_path, "directory": str(root)}):
        with pytest.raises(ConfigError, match="is not UTF-8"):
            find_root(**found_by, environ={})


def test_the_root_has_no_links(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "substitute.toml").touch()
    (tmp_path / "link").symlink_to("real")
    assert find_root(tmp_path / "link", environ={}) == tmp_path / "real"


def test_a_working_directory_that_is_gone_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match="no longer exists"):
        find_root(environ={})
