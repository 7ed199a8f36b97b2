"""The keys by which a whole app is described: where it lives, and what it is given."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from substitute.config import apps, load
from substitute.config.document import describe, document
from substitute.core.model.app_settings import Canary, CanaryStep, Waves
from substitute.core.model.crons import Cron
from substitute.core.model.secrets import SecretSource
from tests.unit.test_config import SHOP, loaded, problems

if TYPE_CHECKING:
    from pathlib import Path


def test_directory_and_watch_are_made_plain(tmp_path: Path) -> None:
    config = loaded(tmp_path, SHOP + 'directory = "./apps//web/"\nwatch = ["lib/", "."]\n')
    app = apps(config, tmp_path)["shop"]
    assert (app.directory, app.watch) == ("apps/web", ("lib", ""))
    app = apps(loaded(tmp_path, SHOP), tmp_path)["shop"]
    assert (app.directory, app.watch) == ("", ())


@pytest.mark.parametrize("wrong", ["/etc", "../x", "a/../../x", "a/.git", "", "-x", "a\\nb"])
def test_what_is_no_path_in_the_repository_is_refused(tmp_path: Path, wrong: str) -> None:
    found = problems(tmp_path, SHOP + f'directory = "{wrong}"\nwatch = ["lib", "{wrong}"]\n')
    expected = 'a path in the repository, such as "apps/web", without ".."'
    assert [expected in line for line in found] == [True, True]
    assert found[1].startswith("substitute.toml:6: app.shop.watch[1]: ")


@pytest.mark.parametrize("wrong", ["/", "assets/", "/assets", "//", "/a b/", "/a?b/", "/a/#/", "/a\\nb/", ""])
def test_what_is_no_path_of_assets_is_refused(tmp_path: Path, wrong: str) -> None:
    written = SHOP + 'assets = ["/assets/", "/_next/static/"]\n'
    assert apps(loaded(tmp_path, written), tmp_path)["shop"].assets == ("/assets/", "/_next/static/")
    (found,) = problems(tmp_path, SHOP + f'assets = ["/assets/", "{wrong}"]\n')
    assert found.startswith("substitute.toml:5: app.shop.assets[1]: ")
    assert 'a path with "/" at both ends' in found
    (found,) = problems(tmp_path, f"{written}[app.shop.standby]\nfreeze = true\n")
    assert "standby.freeze" in found


def test_secrets_and_what_is_passed_arrive(tmp_path: Path) -> None:
    config = loaded(
        tmp_path,
        SHOP + 'secrets = { A = { command = "op read a", timeout = "5s" }, B = { file = "/etc/b" } }\n'
        'pass_env = ["SSH_AUTH_SOCK", "https_proxy"]\n',
    )
    app = apps(config, tmp_path)["shop"]
    assert app.secrets.sources == {"A": SecretSource("op read a"), "B": SecretSource(file="/etc/b")}
    assert [source.timeout for source in app.secrets.sources.values()] == [5.0, 30.0]
    assert app.pass_env == ("SSH_AUTH_SOCK", "https_proxy")
    assert document(config)["app"]["shop"]["secrets"]["B"] == {"file": "/etc/b"}
    (tmp_path / "substitute.toml").write_text(describe(config))
    assert load(tmp_path) == config


def test_a_wrong_secret_is_refused_and_never_shown(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        SHOP + 'env = { G = "1", H = "2" }\npass_env = ["G", "PORT", "a b", "A"]\n[app.shop.secrets]\n'
        'A = "s3cret"\nB = {}\nC = { command = "x", file = "y" }\nD = { comand = "x" }\nE = { file = "" }\n'
        'F = { command = "x", timeout = "soon" }\nH = { file = "y", timeout = 3 }\nHOST = { file = "y" }\n',
    )
    assert "s3cret" not in "".join(found)
    either = '{ command = "…" } or { file = "…" }'
    told = {line.split(": ")[1].removeprefix("app.shop."): line.split(": ", 2)[2] for line in found}
    assert told["secrets.A"] == f"found text, expected {either}"
    assert told["secrets.B"] == told["secrets.C"] == f"expected one of both: {either}"
    assert told["secrets.D"] == f"unknown key comand; expected {either}"
    assert told["secrets.E"] == "file: expected text in quotes, not empty"
    assert told["secrets.F"].startswith("timeout: expected, with a command, a duration: ")
    assert "HOST may not be set" in told["secrets.HOST"]
    assert "PORT may not be set" in told["pass_env[1]"]
    for at, one in ((0, "G is in app.shop.env"), (3, "A is in app.shop.secrets")):
        assert told[f"pass_env[{at}]"] == f"{one}, and builds and hooks get it from there"
    assert "letters, digits and _" in told["pass_env[2]"]
    assert [line for line in found if "secrets.H: is in app.shop.env, too" in line]


CRON = '[app.shop.cron.digest]\nat = "{at}"\ncommand = "send"\n'


def test_a_canary_and_a_replay_arrive_and_load_again(tmp_path: Path) -> None:
    written = 'canary = { steps = ["5% 2m", "25%  90s"], synthetic = "50/s", on_little_traffic = "stop" }\n'
    config = loaded(tmp_path, SHOP + written + "replay = { last = 200, fail = true }\n")
    app = apps(config, tmp_path)["shop"]
    steps = (CanaryStep(5, 120.0), CanaryStep(25, 90.0))
    assert app.canary == Canary(steps, judge=True, synthetic=50.0, needs_traffic=True)
    assert (app.replay.last, app.replay.fail) == (200, True)
    (tmp_path / "substitute.toml").write_text(describe(config))
    assert load(tmp_path) == config


def test_crons_arrive_and_load_again(tmp_path: Path) -> None:
    text = (
        SHOP
        + CRON.format(at="*/5 6-8 * JAN MON")
        + 'timezone = "Europe/Berlin"\ntimeout = "5m"\noverlap = true\n'
    )
    config = loaded(tmp_path, text + '[app.shop.cron.tidy]\nat = "@daily"\ncommand = "tidy"\n')
    crons = apps(config, tmp_path)["shop"].crons
    assert crons["digest"] == Cron("*/5 6-8 * JAN MON", "send", 300.0, overlap=True, timezone="Europe/Berlin")
    assert crons["tidy"] == Cron("@daily", "tidy", 3600.0)
    (tmp_path / "substitute.toml").write_text(describe(config))
    assert load(tmp_path) == config


@pytest.mark.parametrize(
    ("at", "told"),
    [
        ("61 25 * * *", "a minute instead of 61 and an hour instead of 25"),
        ("* * * *", 'five fields, such as "30 6 * * 1-5", or @hourly, @daily, @weekly, @monthly, @yearly'),
        ("0 0 30 2 *", "a time that comes: no such day is in these months"),
        ("@reboot", "five fields, "),
        ("* * * * * *", "five fields, "),
        (
            "*/0 * * 13 mun",
            "a minute instead of */0 and a month instead of 13 and a day of the week instead of mun",
        ),
    ],
)
def test_each_wrong_field_of_a_time_is_named(tmp_path: Path, at: str, told: str) -> None:
    (found,) = problems(tmp_path, SHOP + CRON.format(at=at))
    assert f'app.shop.cron.digest.at: found "{at}", expected {told}' in found


def test_all_that_is_wrong_with_a_cron_is_told_at_once(tmp_path: Path) -> None:
    text = (
        CRON.format(at="@dayly").replace("send", "") + 'timezone = "Mars/Olympus"\ntimout = 3\noverlap = 1\n'
    )
    found = problems(tmp_path, SHOP + text + '[app.shop.cron.Big]\nat = "@daily"\n')
    said = "\n".join(found)
    for key in (
        "digest.at",
        "digest.command",
        "digest.timezone",
        "digest.overlap",
        "digest.timout",
        "Big",
        "Big.command",
    ):
        assert f"app.shop.cron.{key}: " in said
    assert (
        'found "Mars/Olympus", expected a time zone that this machine knows, such as "Europe/Berlin"' in said
    )
    assert len(found) == 7


def test_waves_of_streams_are_off_until_both_times_are_written(tmp_path: Path) -> None:
    assert apps(loaded(tmp_path, SHOP), tmp_path)["shop"].drain.waves is None
    config = loaded(tmp_path, SHOP + 'drain.streams = { after = "5s", over = "30s" }\n')
    assert apps(config, tmp_path)["shop"].drain.waves == Waves(5.0, 30.0)
    (tmp_path / "substitute.toml").write_text(describe(config))
    assert load(tmp_path) == config


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ('{ after = "5s" }', "app.shop.drain.streams.over: missing; expected a duration"),
        ('"30s"', 'app.shop.drain.streams: found "30s", expected a table'),
        ('{ after = "5s", over = "30s", every = "1s" }', "app.shop.drain.streams.every: unknown key"),
    ],
)
def test_wrong_waves_are_refused(tmp_path: Path, written: str, sentence: str) -> None:
    assert any(sentence in line for line in problems(tmp_path, f"{SHOP}drain.streams = {written}\n"))


def test_waves_need_a_balancer_that_can_end_single_streams(tmp_path: Path) -> None:
    waves = 'drain.streams = { after = "5s", over = "30s" }\n[balancer]\nkind = "passive"\n'
    (told,) = problems(tmp_path, SHOP + waves)
    assert told == (
        'substitute.toml:5: app.shop.drain.streams: needs balancer.kind = "haproxy": passive cannot end single streams'
    )


def test_a_standby_for_ever_is_shown_as_it_is_written_and_is_no_number_in_json(tmp_path: Path) -> None:
    config = loaded(tmp_path, SHOP + 'standby = { keep = "forever" }\n')
    assert (
        json.loads(json.dumps(document(config), allow_nan=False))["app"]["shop"]["standby"]["keep"]
        == "forever"
    )
    (tmp_path / "substitute.toml").write_text(describe(config))
    assert load(tmp_path) == config
