"""[hosts]: groups that the user names, hosts as ssh takes them, and what is wrong with them."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

import pytest

from substitute.config import load
from substitute.config.document import describe, document
from substitute.config.hosts import batch_size
from substitute.config.loader import load_hosts
from substitute.config.root import MINIMAL
from substitute.core.model.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def written(root: Path, hosts: str) -> Path:
    (root / "substitute.toml").write_text(f"{MINIMAL}\n{hosts}")
    return root


def test_groups_have_the_names_that_the_user_gives_them(tmp_path: Path) -> None:
    root = written(
        tmp_path, '[hosts]\nweb = ["deploy@web1", "web2:2222"]\njobs = ["[fd00::1]:22"]\nbatch = 2\n'
    )
    hosts = load(root).hosts
    assert hosts.groups == {"web": ("deploy@web1", "web2:2222"), "jobs": ("[fd00::1]:22",)}
    assert (hosts.batch, hosts.root, hosts.canary_host) == ("2", None, None)
    assert load_hosts(root)[0] == hosts


def test_who_has_one_host_sees_nothing_of_it(tmp_path: Path) -> None:
    config = load(written(tmp_path, ""))
    assert "hosts" not in document(config)
    assert "hosts" not in tomllib.loads(describe(config))


def test_the_printed_configuration_loads_again(tmp_path: Path) -> None:
    config = load(written(tmp_path, '[hosts]\nweb = ["deploy@web1"]\ncanary_host = "web1"\nbatch = "25%"\n'))
    assert document(config)["hosts"]["web"] == ["deploy@web1"]
    (tmp_path / "again").mkdir()
    (tmp_path / "again" / "substitute.toml").write_text(describe(config))
    assert load(tmp_path / "again") == config


@pytest.mark.parametrize(
    ("hosts", "told"),
    [
        ('web = "web1"', 'hosts.web: found "web1", expected a list of hosts'),
        ("web = []", "hosts.web: an empty group"),
        ('web = ["web1", "web1"]', 'hosts.web: "web1" is listed twice'),
        ('web = ["-oProxyCommand=x"]', "hosts.web[0]: found"),
        ('web = ["web1; reboot"]', "hosts.web[0]: found"),
        ('web = ["a@b@c"]', "hosts.web[0]: found"),
        ('web = ["web1:0"]', "hosts.web[0]: found"),
        ('web = ["web1:70000"]', "hosts.web[0]: found"),
        ("web = [1]", "hosts.web[0]: found 1, expected text"),
        ('all = ["web1"]', "no group may be called all"),
        ('Web = ["web1"]', "hosts.Web: found"),
        ('bacth = "25%"', "did you mean the key batch?"),
        ('web = ["web1"]\nbatch = "0%"', "hosts.batch: found"),
        ('web = ["web1"]\nbatch = 0', "hosts.batch: found 0"),
        ('web = ["web1"]\nbatch = true', "hosts.batch: found true"),
        ('web = ["web1"]\ncanary_host = "web2"', "canary_host web2 is in no group; the hosts are web1"),
        ('web = ["web1"]\ncanary_host = "me@web1"', 'the name of a host without its user: "web1"'),
        ('web = ["a@web1"]\njobs = ["b@web1"]', "a@web1 and b@web1 are both called web1"),
        ('web = ["web1"]\nroot = "~/shop"', "hosts.root: found"),
        ('web = ["web1"]\nroot = "-x"', "hosts.root: found"),
        ('web = ["web1"]\nroot = "a\\nb"', "hosts.root: found"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, hosts: str, told: str) -> None:
    root = written(tmp_path, f"[hosts]\n{hosts}\n")
    for read in (load, load_hosts):
        with pytest.raises(ConfigError) as raised:
            read(root)
        assert told in raised.value.fact
        assert "substitute.toml:" in raised.value.fact


def test_hosts_are_known_where_an_app_names_a_file_that_is_only_there(tmp_path: Path) -> None:
    text = MINIMAL.replace("ports", 'env_file = "only-there.env"\nports')
    (tmp_path / "substitute.toml").write_text(f'{text}\n[hosts]\nweb = ["web1"]\n')
    with pytest.raises(ConfigError):
        load(tmp_path)
    hosts, raw = load_hosts(tmp_path)
    assert hosts.groups == {"web": ("web1",)}
    assert list(raw["app"]) == ["shop"]


@pytest.mark.parametrize(
    ("batch", "count", "size"),
    [
        ("100%", 20, 20),
        ("25%", 20, 5),
        ("25%", 3, 1),
        ("33%", 10, 3),
        ("4", 20, 4),
        ("4", 2, 2),
        ("1%", 1, 1),
    ],
)
def test_a_batch_is_rounded_down_and_never_empty(batch: str, count: int, size: int) -> None:
    assert batch_size(batch, count) == size
