"""Values with the syntax of the programs that read them are carried as they are, or refused: by the real parsers.

Each piece of syntax is tried alone, in each value; of what they come to together `make test-long` tries more
(``EXAMPLES``).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import unicodedata
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from substitute.balancers.haproxy import configuration as haproxy_configuration
from substitute.balancers.haproxy import names as haproxy_names
from substitute.balancers.haproxy import settings as haproxy_settings
from substitute.balancers.nginx import configuration as nginx_configuration
from substitute.balancers.traefik import configuration as traefik_configuration
from substitute.cli.edge import run
from substitute.config import apps
from substitute.config.loader import parse
from substitute.core.model.errors import ConfigError
from substitute.core.model.slots import SlotName
from substitute.core.ports.balancer import Backend, Server

if TYPE_CHECKING:
    from substitute.config import Config

SYNTAX = (
    "\n", "\r", "\t", "\0", " ", "#", ";", "{", "}", "%", "%%", "%h", "$HOME", "$(id)", "`id`", "'", '"', "\\", "\\\n",
    "..", "/../", "-", "--", "-o", "=", ":", ",", "[", "]", "*", "?", "&", "|", "<", ">", "(", ")", "!", "~", "@",
    "\x1b[2J", "é", "\u2028", "\n    stats admin if TRUE\n", "; include /etc/passwd;", "\n[program:x]\ncommand=id\n",
    " if { always_true }", "}\nserver { listen 1; }", "\n  - url: http://x", "%[env(HOME)]", "${HOME}", "\ufeff",
)  # fmt: skip
"""What means something to HAProxy, nginx, supervisord, systemd, YAML, a shell, git or a terminal."""

PIECES = st.sampled_from(SYNTAX) | st.sampled_from(["a", "shop", "example.com", "1", "/", "x.y"])
TEXTS = st.lists(PIECES, max_size=4).map("".join)
EXAMPLES = int(os.environ.get("EXAMPLES", "20"))
SETTINGS = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)


def around(good: str) -> st.SearchStrategy[str]:
    """`good` with something before, in and after it."""
    return st.tuples(TEXTS, TEXTS, TEXTS, st.integers(0, len(good))).map(
        lambda parts: parts[0] + good[: parts[3]] + parts[1] + good[parts[3] :] + parts[2]
    )


GOOD = {
    "name": "shop",
    "domain": "shop.example.com",
    "host": "127.0.0.1",
    "listen": "127.0.0.1:8080",
    "trusted": "10.0.0.0/8",
    "path": "/up",
}


def configured(values: dict[str, str], root: Path) -> Config | None:
    """The configuration with these values; None where it is refused."""
    raw: dict[str, Any] = {
        "balancer": {"listen": values["listen"], "trusted_proxies": [values["trusted"]]},
        "app": {
            values["name"]: {
                "repo": "r",
                "start": "s",
                "ports": [3001, 3002],
                "host": values["host"],
                "domains": [values["domain"]],
                "health": {"path": values["path"]},
            }
        },
    }
    try:
        return parse(raw, root=root)
    except ConfigError:
        return None


def backends(config: Config, root: Path) -> list[Backend]:
    return [
        Backend(
            app.name,
            app.domains,
            tuple(Server(slot, app.slots[slot].endpoints[0], 50) for slot in SlotName),
        )
        for app in apps(config, root).values()
    ]


def shape(text: str) -> list[int]:
    """How many words each line has: what a value adds to a file would change that."""
    return [len(line.split()) for line in text.splitlines()]


@pytest.mark.parametrize("key", GOOD)
def test_no_syntax_adds_anything_to_the_files_of_balancers(tmp_path: Path, key: str) -> None:
    good = GOOD[key]
    for syntax in SYNTAX:
        for value in (syntax + good, good[:2] + syntax + good[2:], good + syntax):
            carried_or_refused(tmp_path, {**GOOD, key: value})


@pytest.mark.parametrize("key", GOOD)
@SETTINGS
@given(st.data())
def test_no_value_adds_anything_to_the_files_of_balancers(
    tmp_path_factory: pytest.TempPathFactory, key: str, data: st.DataObject
) -> None:
    value = data.draw(around(GOOD[key]))
    carried_or_refused(tmp_path_factory.getbasetemp(), {**GOOD, key: value})


def carried_or_refused(place: Path, values: dict[str, str]) -> None:
    config = configured(values, place)
    if config is None:
        return
    written = _texts(config, place)
    assert [shape(text) for text in written] == _plain_shapes()
    if re.fullmatch(r"[\d.]+", values["host"]):  # a name would be looked up
        _accepted_by_haproxy(place, *written[:2])
        _accepted_by_nginx(place, written[2])


@cache
def _plain_shapes() -> list[list[int]]:
    plain = configured(GOOD, Path())
    assert plain
    return [shape(text) for text in _texts(plain, Path())]


def _texts(config: Config, root: Path) -> tuple[str, str, str, str]:
    balancer, found = config.balancer, backends(config, root)
    wanted = haproxy_settings.Settings(
        balancer.listen,
        None,
        balancer.client_timeout,
        balancer.server_timeout,
        tuple(balancer.trusted_proxies),
    )
    return (
        haproxy_configuration.render(wanted, found),
        haproxy_configuration.render_map(found),
        nginx_configuration.render(found),
        traefik_configuration.render(found),
    )


@cache  # most values are in the files of one balancer, and leave the others' as they were
def _accepted_by_haproxy(place: Path, text: str, routes: str) -> None:
    (place / haproxy_names.MAP).write_text(routes)
    file = place / "haproxy.cfg"
    file.write_text(text)
    program = shutil.which("haproxy")
    assert program
    done = subprocess.run([program, "-c", "-f", file], cwd=place, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@cache
def _accepted_by_nginx(place: Path, text: str) -> None:
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    assert program
    (place / "upstreams.conf").write_text(text)
    (place / "nginx.conf").write_text(
        f"error_log stderr;\npid {place}/pid;\nevents {{}}\nhttp {{\ninclude upstreams.conf;\naccess_log off;\n}}\n"
    )
    checked = [program, "-t", "-p", str(place), "-c", "nginx.conf"]
    done = subprocess.run(checked, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


COMMAND_LINES = st.one_of(
    st.tuples(st.sampled_from(["deploy", "check", "stop", "logs"]), TEXTS).map(list),
    st.tuples(st.just("start"), TEXTS, TEXTS, TEXTS).map(list),
    st.tuples(st.just("-a"), TEXTS, st.just("rollback")).map(list),
    st.tuples(st.sampled_from(["status", "history", "up", "drill"]), TEXTS).map(list),
)


# The line that is refused badly is shown.
@settings(SETTINGS, max_examples=EXAMPLES // 3, phases=[Phase.generate])
@given(st.lists(COMMAND_LINES, min_size=9, max_size=9))
def test_what_nobody_should_type_is_refused_in_words_and_changes_nothing(
    tmp_path_factory: pytest.TempPathFactory, capfd: pytest.CaptureFixture[str], lines: list[list[str]]
) -> None:
    place = tmp_path_factory.mktemp("typed", numbered=True)
    root = place / "root"
    root.mkdir()
    (root / "substitute.toml").write_text(
        '[app.shop]\nrepo = "/nowhere"\nstart = "true"\nports = [28001, 28002]\n[runtime]\nkind = "supervisord"\n'
    )
    for line in lines:
        typed = [word.replace("\0", "") for word in line]  # no kernel passes a NUL
        status = run(["-C", str(root), *typed])
        said = capfd.readouterr()
        assert status in {0, 1, 2, 4}, (typed, said)
        assert "Traceback" not in said.err
        assert "This is a bug" not in said.err, (typed, said.err)
        assert not [sign for sign in said.err if unicodedata.category(sign) == "Cc" and sign != "\n"]
    run(["-C", str(root), "down"])
    assert [path.name for path in place.iterdir()] == ["root"]
    assert {path.name for path in root.iterdir()} <= {
        "substitute.toml",
        "deploy",
        "shop_a",
        "shop_b",
        "shop_current",
    }
