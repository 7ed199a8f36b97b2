"""The file for nginx, and what nginx says of its own: pure text."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from substitute.balancers.nginx.configuration import render, shares
from substitute.balancers.nginx.program import Setup, complaint, understand
from substitute.core.model.slots import Endpoint, SlotName
from substitute.core.ports.balancer import Backend, Server

A, B = SlotName.A, SlotName.B


def shop(a: int, b: int, *, name: str = "shop", host: str = "127.0.0.1") -> Backend:
    return Backend(name, (), (Server(A, Endpoint(host, 3001), a), Server(B, Endpoint(host, 3002), b)))


def test_an_upstream_lists_its_servers_by_weight_and_takes_those_without_a_share_out() -> None:
    assert render([shop(100, 0)]).splitlines()[1:] == [
        "upstream shop {",
        "    server 127.0.0.1:3001 weight=100 max_fails=0;",
        "    server 127.0.0.1:3002 down max_fails=0;",
        "    keepalive_requests 1;",
        "}",
    ]


def test_every_app_has_an_upstream_of_its_own() -> None:
    text = render([shop(100, 0), shop(0, 100, name="blog")])
    assert [line for line in text.splitlines() if line.startswith("upstream")] == [
        "upstream shop {",
        "upstream blog {",
    ]


def test_an_ipv6_address_stands_in_brackets() -> None:
    assert "server [::1]:3001 weight=50 max_fails=0;" in render([shop(50, 50, host="::1")])


HOSTS = st.sampled_from(["127.0.0.1", "::1", "2001:db8::7", "localhost", "my_app.internal"])
SERVERS = st.builds(
    Server, st.sampled_from(SlotName), st.builds(Endpoint, HOSTS, st.integers(1, 65535)), st.integers(0, 100)
)


@given(st.lists(SERVERS, unique_by=lambda server: server.endpoint))
def test_the_shares_of_a_file_are_those_that_it_was_made_from(servers: list[Server]) -> None:
    text = render([Backend("shop", (), tuple(servers))])
    assert shares(text) == {server.endpoint: server.share for server in servers}


ABOUT = """\
nginx version: nginx/1.27.4 (Ubuntu)
configure arguments: --prefix=/usr/share/nginx --error-log-path=stderr --pid-path=/run/nginx.pid --with-threads
"""
DUMP = """\
# configuration file /etc/nginx/nginx.conf:
user www-data;
# pid /run/old.pid;
pid /run/nginx/main.pid;  # not /run/nginx.pid
error_log /var/log/nginx/error.log notice;
events { }
http {
    keepalive_min_timeout 2s;
    include /etc/nginx/conf.d/*.conf;
}

# configuration file /etc/nginx/conf.d/shop.conf:
upstream shop { server 127.0.0.1:3001; }
"""


def test_what_nginx_says_of_its_configuration_is_understood() -> None:
    assert understand(ABOUT, DUMP) == Setup(
        version=(1, 27, 4),
        main=Path("/etc/nginx/nginx.conf"),
        files=frozenset({Path("/etc/nginx/nginx.conf"), Path("/etc/nginx/conf.d/shop.conf")}),
        pid_file=Path("/run/nginx/main.pid"),
        error_log=Path("/var/log/nginx/error.log"),
        patient=True,
    )


def test_what_is_not_configured_is_as_it_was_compiled_in() -> None:
    setup = understand(ABOUT, "# configuration file /etc/nginx/nginx.conf:\nevents { } #pid /x;\n")
    assert setup.pid_file == Path("/run/nginx.pid")
    assert setup.error_log is None
    assert understand("", "").pid_file == Path("/usr/local/nginx/logs/nginx.pid")


@pytest.mark.parametrize(
    ("directive", "path"),
    [
        ("pid run/nginx.pid;", "/usr/share/nginx/run/nginx.pid"),
        ('worker_processes 1; pid "/run/my nginx.pid";', "/run/my nginx.pid"),
        ("worker_processes 1;\n\tpid\t'/run/a.pid'\n;", "/run/a.pid"),
    ],
)
def test_a_pid_file_is_found_however_it_is_written(directive: str, path: str) -> None:
    assert understand(ABOUT, directive).pid_file == Path(path)


@pytest.mark.parametrize(
    ("version", "directive", "patient"),
    [
        ("nginx/1.27.4", "keepalive_min_timeout 5s;", True),
        ("nginx/1.27.4", "keepalive_min_timeout 0;", False),
        ("nginx/1.27.4", "#keepalive_min_timeout 5s;", False),
        ("nginx/1.27.4", "keepalive_timeout 5s;", False),
        ("nginx/1.27.3", "", False),
        ("openresty/1.27.1.2", "", False),
    ],
)
def test_clients_are_kept_where_the_version_can_and_the_configuration_says_so(
    version: str, directive: str, *, patient: bool
) -> None:
    assert understand(f"nginx version: {version}\n", directive).patient is patient


def test_a_complaint_is_what_is_serious_of_the_output() -> None:
    said = 'nginx: [warn] a\nnginx: [emerg] unknown directive "b" in c:3\nnginx: configuration file c test failed\n'
    assert complaint(said) == 'unknown directive "b" in c:3'
    assert complaint("one\ntwo\n") == "one\ntwo"


def test_a_complaint_that_is_repeated_in_the_log_is_told_once() -> None:
    said = (f"2026/01/02 03:04:0{second} [emerg] 812#812: bind() to 0.0.0.0:80 failed" for second in range(5))
    assert complaint("\n".join(said)) == "bind() to 0.0.0.0:80 failed"
