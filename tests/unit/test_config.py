"""substitute.toml is read into Config, or everything that is wrong with it is said at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from substitute.config import Config, apps, load
from substitute.config.root import MINIMAL
from substitute.core.model.app_settings import Replay
from substitute.core.model.errors import ConfigError
from substitute.core.model.slots import Endpoint, SlotName

if TYPE_CHECKING:
    from pathlib import Path

SHOP = '[app.shop]\nrepo = "r"\nstart = "s"\nports = [3001, 3002]\n'


def loaded(root: Path, text: str) -> Config:
    (root / "substitute.toml").write_text(text)
    return load(root)


def problems(root: Path, text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(root, text)
    assert caught.value.exit_status == 2
    assert str(root / "substitute.toml") in caught.value.what
    return list(caught.value.problems)


def test_ten_lines_are_enough(tmp_path: Path) -> None:
    assert len(MINIMAL.splitlines()) <= 10
    config = loaded(tmp_path, MINIMAL)
    assert config.balancer.kind == "haproxy"
    assert config.app["shop"].ports == (3001, 3002)


def test_every_key_arrives_in_the_app_that_the_core_gets(tmp_path: Path) -> None:
    (tmp_path / "shop.env").write_text("SECRET=s3cret\nNODE_ENV=test\n")
    config = loaded(
        tmp_path,
        SHOP
        + 'branch = "main"\nbuild = ["npm ci", "make"]\nbuild_timeout = "1h"\nclean = true\nhost = "::1"\n'
        'domains = ["Shop.Example.com"]\nenv = { NODE_ENV = "production" }\nenv_file = "shop.env"\n'
        'health = { path = "/up", host = "shop.example.com:80", timeout = "1m", interval = 0.5, successes = 3,'
        ' status = "200, 204,301 - 302", headers = { X-Forwarded-Proto = "https" }, warm = ["/", "/search"] }\n'
        'stop.signal = "SIGQUIT"\n'
        'drain.timeout = "2m"\nstop.timeout = 5\nverify = { for = "1h", share = 10 }\n'
        'replay = { last = 200, fail = true, skip = [] }\nhooks.timeout = "20s"\n',
    )
    app = apps(config, tmp_path)["shop"]
    assert app.slots[SlotName.A].endpoints == (Endpoint("::1", 3001),)
    assert app.slots[SlotName.B].endpoints == (Endpoint("::1", 3002),)
    assert app.slots[SlotName.B].directory == tmp_path / "shop_b"
    assert app.env == {"NODE_ENV": "production"}
    assert (app.secrets.file, app.secrets.of_file) == ("shop.env", {"SECRET": "s3cret", "NODE_ENV": "test"})
    assert (app.repo, app.branch, app.build.commands, app.clean) == ("r", "main", ("npm ci", "make"), True)
    assert app.domains == ("shop.example.com",)
    assert (app.health.path, app.health.host, app.health.kind) == ("/up", "shop.example.com:80", "http")
    assert (app.health.timeout, app.health.interval, app.health.successes) == (60, 0.5, 3)
    assert (app.health.status, app.stop_signal) == ("200,204,301-302", "SIGQUIT")
    assert (app.health.headers, app.health.warm) == ({"X-Forwarded-Proto": "https"}, ("/", "/search"))
    assert app.build.timeout == 3600
    assert (app.drain.timeout, app.stop_timeout, app.hooks_timeout) == (120, 5, 20)
    assert app.replay == Replay(last=200, fail=True, timeout=60, skip=())
    assert (app.verify.seconds, app.verify.share, app.user) == (3600, 10, None)


def test_all_problems_are_listed_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        '[balancer]\nlisten = "8080"\n\n[app.shop]\nrepo = "r"\nprots = [3001, 3002]\nstart = 7\n'
        'env_file = "none.env"\n\n[app.shop.health]\ntimeout = "soon"\n',
    )
    assert found == [
        (
            'substitute.toml:2: balancer.listen: found "8080", expected "HOST:PORT" with a port from 1 to 65535; '
            '"*:80" listens everywhere'
        ),
        (
            "substitute.toml:4: app.shop.ports: missing; expected two ports, slot a's and slot b's, "
            "such as [3001, 3002]"
        ),
        'substitute.toml:6: app.shop.prots: unknown key; did you mean "ports"?',
        "substitute.toml:7: app.shop.start: found 7, expected a shell command in quotes",
        "substitute.toml:8: app.shop.env_file: none.env: there is no such file",
        (
            'substitute.toml:11: app.shop.health.timeout: found "soon", expected a duration: "500ms", "30s", "2m", '
            '"1h" or a number of seconds'
        ),
    ]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("ports = [3001, 3001]", "two different ports"),
        ("ports = [3001]", "found [3001], expected two ports"),
        ("ports = [0, 65536]", "two ports from 1 to 65535"),
        ("ports = [true, 3002]", "found [true, 3002], expected two ports"),
        ("ports = [3001.0, 3002]", "found [3001.0, 3002], expected two ports"),
        (f"ports = [3001, {'9' * 30}]", "a number beyond 64 bits"),
        ('repo = "--upload-pack=x"', 'it may not begin with "-"'),
        ('repo = "a\\nb"', "without control characters"),
        ('branch = "-f"', 'it may not begin with "-"'),
        ('branch = "a..b"', "expected the name of a branch"),
        ('build = "npm ci"', 'found "npm ci", expected a list of shell commands'),
        ('build = ["ok", 3]', "app.shop.build[1]: found 3, expected text in quotes"),
        ('start = " "', "a shell command, not empty"),
        ('start = "a\\u0000b"', "without NUL"),
        ('clean = "yes"', 'found "yes", expected true or false'),
        ('host = "a b"', "an IP address or a host name"),
        ('host = "127.0.0.256"', "an IP address or a host name"),
        ('domains = "a.b"', 'found "a.b", expected a list of domains'),
        ('domains = ["*.a.b"]', "without wildcards"),
        ('domains = ["a.b\\nacl x"]', "a domain such as"),
        ('domains = ["https://a.b/"]', "without scheme, port or path"),
        ('domains = ["bücher.de"]', '"xn--bcher-kva.de"'),
        ('domains = ["a.b", "A.B"]', "app.shop.domains[1]: a.b is listed twice"),
        ("env = { A = 1 }", "app.shop.env.A: found a number without quotes, expected text"),
        ("env = { A = true }", "put the value in quotes"),
        ('env = { A = "a\\u0000" }', "holds a NUL byte"),
        ('env = { "A-B" = "1" }', 'app.shop.env.A-B: found "A-B", expected a name'),
        ('env = { PORT = "1" }', "PORT may not be set: substitute sets it"),
        ('env = { SUBSTITUTE_X = "1" }', "SUBSTITUTE_X may not be set"),
        ('health = "/up"', "expected a table"),
        ('health.path = "up"', 'begins with "/"'),
        ('health.path = "/a b"', "without spaces"),
        ('health.path = "/a\\r\\nX: y"', "without spaces"),
        ('health.host = "a\\r\\nb"', "a host with an optional port"),
        ('health.host = "a:70000"', "a host with an optional port"),
        ('health.kind = "udp"', 'found "udp", expected "http" or "tcp"'),
        ('health = { kind = "tcp", path = "/up" }', "remove path"),
        ('health = { kind = "tcp", warm = ["/"], status = "200" }', "remove status and warm, or"),
        ('health = { command = "x", expect = "ok", path = "/up" }', "remove path and expect, or command"),
        ('health.status = "2xx"', 'found "2xx", expected statuses from 200 to 599'),
        ("health.status = 200", "expected statuses from 200 to 599"),
        ('health.status = "200-600"', "expected statuses from 200 to 599"),
        ('health.status = "299-200"', 'goes backwards: write "200-299"'),
        ('health.expect = ""', "a text of 1 to 4096 bytes"),
        ('health.command = " "', "a shell command, not empty"),
        (
            'health.headers = { Host = "a" }',
            'Host cannot be set: write health.host = "shop.example.com" instead',
        ),
        ('health.headers = { "A B" = "x" }', "the name of a header"),
        ('health.headers = { A = "x\\r\\nB: y" }', "ASCII without line breaks"),
        ("health.headers = { A = 1 }", "put the value in quotes"),
        ('health.warm = ["search"]', 'begins with "/"'),
        ('stop.signal = "SIGKILL"', 'found "SIGKILL", expected "SIGTERM", "SIGQUIT", "SIGINT"'),
        ('stop.signal = "QUIT"', 'found "QUIT", expected "SIGTERM"'),
        ("stop.signal = 3", 'found 3, expected "SIGTERM"'),
        ('health = { successes = 400, timeout = "30s" }', "can never succeed"),
        ("health.successes = 0", "a whole number from 1 to 1000"),
        ("health.successes = true", "found true, expected a whole number"),
        ("health.interval = 0", "at least 10ms"),
        ("drain.timeout = -1", "a duration from 0"),
        ("drain.timeout = nan", "found nan, expected a duration"),
        ("drain.timeout = inf", "a duration from 0"),
        ("drain.timeout = 07:32:00", "expected a duration"),
        ("verify.share = 101", "a whole number from 1 to 100"),
        ('canary.steps = ["5 2m"]', 'expected a share from 1% to 99% and a time, such as "5% 2m"'),
        ('canary.steps = ["100% 2m"]', 'expected a share from 1% to 99% and a time, such as "5% 2m"'),
        ('canary.steps = ["5% soon"]', "a duration"),
        ('canary.steps = ["25% 2m", "5% 5m"]', "do not grow"),
        ('standby.keep = "soon"', '; or "forever"'),
        ('canary.synthetic = "50"', 'expected requests a second, such as "50/s"'),
        ('canary.on_little_traffic = "wait"', 'expected "go-on" or "stop"'),
        ('host = "unix:/run/shop.sock"', "no unix socket: each slot is known by its TCP port"),
        ('user = "www data"', "expected the name of a user"),
        ('limits.memory = "512"', 'expected an amount of memory, such as "512M"'),
        ('limits.memory = "1K"', 'an amount of memory from "1M"'),
        ("limits.cpu = 1.5", 'expected percent of one processor, such as "150%"'),
        ("limits.tasks = 0", "a whole number from 1"),
        ("sandbox.private_tmp = 1", "expected true or false"),
        ('listen = ":80"', "app.shop.listen: unknown key; it belongs in [balancer]"),
        ("timeout = 3", "it belongs in [app.shop.health] or [app.shop.drain]"),
        ("zzzz = 3", "unknown key; the keys here are repo, branch"),
    ],
)
def test_a_wrong_value_is_refused_with_what_was_expected(tmp_path: Path, line: str, sentence: str) -> None:
    key = line.partition(" ")[0]
    kept = "".join(row for row in SHOP.splitlines(keepends=True) if not row.startswith(f"{key} "))
    found = problems(tmp_path, f"{kept}{line}\n")
    assert len(found) == 1
    assert found[0].startswith(f"substitute.toml:{len(kept.splitlines()) + 1}: app.shop.")
    assert sentence in found[0]
    assert "Input should" not in found[0]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('[balancer]\ngate = "nft"\n', 'balancer: kind = "haproxy" has no use for gate'),
        ('[balancer]\nkind = "passive"\nlisten = "*:80"\n', 'kind = "passive" has no use for listen'),
        ('[balancer]\nkind = "traefik"\napi = "localhost"\n', "a URL without a path"),
        ('[balancer]\nkind = "nginx"\nfile = "conf.d/"\n', "the path of a file"),
        ('[balancer]\nbinary = "bin/haproxy"\n', "an absolute path, or the name of a program"),
        ('[balancer]\ntrusted_proxies = ["all"]\n', "an IP address or a network"),
        ('[balancer]\nlisten = "[::x]:80"\n', "an IPv6 address in the brackets"),
        ('[balancer]\nlisten = "a b:80"\n', "an IP address or a host name"),
        ('[runtime]\nkind = "upstart"\n', '"docker" or "kubernetes"'),
        ("[apps.x]\n", 'apps: unknown key; did you mean "app"?'),
        ("[app.Shop]\n", 'app.Shop: found "Shop", expected a name of a-z'),
        ("[app.run]\n", "an app may not be called run"),
        ("[app]\nx = 3\n", "app.x: found 3, expected a table"),
        ("app = []\n", "app: found [], expected a table"),
        ("app = {}\n", "no app; expected a table [app.NAME]"),
        ("", "app: missing; expected a table [app.NAME] for each app"),
    ],
)
def test_what_is_wrong_outside_an_app_is_said_too(tmp_path: Path, text: str, sentence: str) -> None:
    assert any(sentence in line for line in problems(tmp_path, text))


def test_a_key_that_is_not_available_may_have_its_default(tmp_path: Path) -> None:
    assert loaded(tmp_path, SHOP + '[balancer]\ngate = "auto"\n').balancer.gate == "auto"


@pytest.mark.parametrize("kind", ["passive", "nginx", "traefik"])
def test_other_balancers_are_left_to_the_wiring_to_refuse(tmp_path: Path, kind: str) -> None:
    assert loaded(tmp_path, SHOP + f'[balancer]\nkind = "{kind}"\n').balancer.kind == kind


def test_a_password_in_a_refused_repo_is_not_shown(tmp_path: Path) -> None:
    text = SHOP.replace('"r"', '"https://me:s3cret@example.com/a\\u0007"')
    assert "s3cret" not in "\n".join(problems(tmp_path, text))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"a = 1\nb = \n", "substitute.toml:2: not valid TOML: Invalid value, at column 5"),
        (b"a = 1\na = 2\n", "substitute.toml:2: not valid TOML"),
        (b"a = 1\nb = '\xff'\n", "substitute.toml:2: not UTF-8 text"),
        (b"a = " + b"[" * 100_000, "substitute.toml: nested too deeply"),
        (b"a = " + b"9" * 5000, "substitute.toml: not valid TOML"),
    ],
)
def test_a_file_that_is_not_toml_names_the_line(tmp_path: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "substitute.toml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path)
    assert caught.value.problems[0].startswith(sentence)


def test_a_missing_or_unreadable_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=f"no {tmp_path}/substitute.toml"):
        load(tmp_path)
    (tmp_path / "substitute.toml").mkdir()
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_lines_are_right_behind_values_of_several_lines(tmp_path: Path) -> None:
    text = (
        SHOP
        + 'build = [\n  "a", # ]\n  """b\n[x]\n""",\n]\n\n# comment\n[app.shop . "stop"]\ntimeout = "x"\n'
    )
    assert problems(tmp_path, text)[0].startswith("substitute.toml:14: app.shop.stop.timeout:")


def test_a_relative_repo_is_resolved_against_the_root(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "there").mkdir(parents=True)

    def repo(text: str) -> str:
        return apps(loaded(root, SHOP.replace('"r"', f'"{text}"')), root)["shop"].repo

    assert repo("../shop.git") == str(tmp_path / "shop.git")
    assert repo("there") == str(root / "there")
    assert repo("/srv/shop.git") == "/srv/shop.git"
    assert repo("git@example.com:shop.git") == "git@example.com:shop.git"
    assert repo("https://example.com/shop.git") == "https://example.com/shop.git"
