"""What is right alone and wrong together; and that nothing but Config or ConfigError ever comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from substitute.config.loader import parse
from substitute.config.models import SECTIONS
from substitute.core.model.errors import ConfigError
from tests.unit.test_config import SHOP, loaded, problems

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("shop", "blog", "sentence"),
    [
        ("", 'ports = [3002, 3003]\ndomains = ["b.c"]', "port 3002 on 127.0.0.1 is already that of app.shop"),
        ("", "ports = [4001, 4002]\ndomains = []", "app.blog: needs domains: app.shop has none either"),
        ('domains = ["a.b"]', 'ports = [4001, 4002]\ndomains = ["A.b"]', "a.b is already that of app.shop"),
        (
            "",
            'ports = [8080, 4002]\ndomains = ["b.c"]',
            "port 8080 on 127.0.0.1 is already that of balancer.listen",
        ),
        ("", 'ports = [3001, 4002]\nhost = "0.0.0.0"\ndomains = ["b.c"]', "port 3001 on 0.0.0.0 is already"),
        (
            "",
            'ports = [3001, 4002]\nhost = "localhost"\ndomains = ["b.c"]',
            "port 3001 on localhost is already",
        ),
        # What is malformed elsewhere does not hide it.
        ("clean = 3", 'ports = [3002, 3003]\ndomains = ["b.c"]', "port 3002 on 127.0.0.1 is already"),
    ],
)
def test_two_apps_that_clash_are_an_error(tmp_path: Path, shop: str, blog: str, sentence: str) -> None:
    found = problems(tmp_path, f'{SHOP}{shop}\n[app.blog]\nrepo = "r"\nstart = "s"\n{blog}\n')
    assert any(sentence in line for line in found)


def test_only_haproxy_tells_what_clients_ask_for(tmp_path: Path) -> None:
    wanted = "[app.shop.replay]\nlast = 200\n"
    assert loaded(tmp_path, SHOP + wanted).app["shop"].replay.last == 200
    (found,) = problems(tmp_path, f'[balancer]\nkind = "passive"\n{SHOP}{wanted}')
    assert 'app.shop.replay.last: needs balancer.kind = "haproxy": passive does not tell' in found
    assert loaded(tmp_path, f'[balancer]\nkind = "passive"\n{SHOP}[app.shop.replay]\nlast = 0\n')


@pytest.mark.parametrize(
    ("written", "sentences"),
    [
        ('["/srv/media"]', ['app.shop.shared[0]: found "/srv/media", expected a path below the slot']),
        (
            '["~/media", "a/../b"]',
            ["app.shop.shared[0]", 'app.shop.shared[1]: found "a/../b", expected a path'],
        ),
        ('["."]', ["the slot itself cannot be shared"]),
        ('[".git/hooks", "lib/.git"]', ["app.shop.shared[0]", "app.shop.shared[1]", "is not in .git"]),
        ('["", "-x", 3]', ["app.shop.shared[0]", "app.shop.shared[1]", "app.shop.shared[2]"]),
        ('["a/b", "media", "./a//b/"]', ['app.shop.shared[2]: "a/b/" is listed twice']),
        ('["a", "a/b/c", "ab"]', ['app.shop.shared[1]: "a/b/c" and "a": one lies in the other']),
        ('["a/b", "a"]', ['app.shop.shared[1]: "a" and "a/b": one lies in the other']),
        ('"media"', ["a list of paths in the slot"]),
    ],
)
def test_what_cannot_be_shared_is_an_error(tmp_path: Path, written: str, sentences: list[str]) -> None:
    found = "\n".join(problems(tmp_path, f"{SHOP}shared = {written}\n"))
    assert all(sentence in found for sentence in sentences), found


def test_what_is_shared_is_written_in_one_way(tmp_path: Path) -> None:
    shared = loaded(tmp_path, SHOP + 'shared = ["./public//uploads", "conf.d/", ".env"]\n').app["shop"].shared
    assert shared == ("public/uploads", "conf.d/", ".env")


def test_two_apps_on_one_port_of_different_addresses_do_not_clash(tmp_path: Path) -> None:
    blog = SHOP.replace("shop", "blog") + 'host = "127.0.0.2"\ndomains = ["blog.example.com"]\n'
    assert set(loaded(tmp_path, SHOP + blog).app) == {"shop", "blog"}


_NAMES = sorted({name for table in SECTIONS.values() for name in table.keys})
_LEAVES = st.one_of(
    st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates(), st.times(),
    st.sampled_from(["/", "30s", ":80", "http", "shop.env", "a.b", 3001, 3002, 10**400]),
)  # fmt: skip
_KEYS = st.one_of(st.sampled_from([*_NAMES, "shop", "blog"]), st.text(max_size=6))
_VALUES = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=5),
    max_leaves=12,
)
_APPS = st.dictionaries(
    st.sampled_from(["shop", "blog", "run", "A"]), st.dictionaries(_KEYS, _VALUES, max_size=9)
)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(raw=st.dictionaries(_KEYS, _VALUES, max_size=4), tables=_APPS)
def test_whatever_the_file_holds_it_is_a_config_or_a_config_error(
    tmp_path: Path, raw: dict[str, Any], tables: dict[str, Any]
) -> None:
    try:
        assert parse({**raw, "app": tables}, root=tmp_path).app
    except ConfigError as error:
        assert error.problems  # noqa: PT017  either outcome is right
    try:
        parse(raw, root=tmp_path)
    except ConfigError as error:
        assert error.problems  # noqa: PT017
