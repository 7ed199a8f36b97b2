"""Many hosts: which are meant, what they are asked over, what they answer, what they are given."""

from __future__ import annotations

import json
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest

from substitute.core.model.errors import UsageError
from substitute.hosts.answers import document_of, event_of
from substitute.hosts.asking import at_once
from substitute.hosts.channel import RemoteHost
from substitute.hosts.errors import (
    HostError,
    NotInstalledError,
    RefusedError,
    SilentHostError,
    UnreachableError,
)
from substitute.hosts.fleet import Chosen, batches, chosen_hosts
from substitute.hosts.outcomes import Outcome, State, exit_status
from substitute.hosts.report.tables import documents, status_lines
from substitute.hosts.setup import Bundle, set_up
from substitute.hosts.ssh.command_line import script_line, split, ssh_command, substitute_line
from tests.unit.fakes.fleet import NEW, FakeTransport
from tests.unit.fakes.rollouts import NAMES, config_of

# -- one question -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trouble", "kind", "told"),
    [
        ("down", UnreachableError, "Connection refused"),
        ("silent", SilentHostError, "has not answered within 5s"),
        ("bare", NotInstalledError, "substitute is not installed on web2"),
        ("rootless", NotInstalledError, "There is no root on web2"),
    ],
)
def test_why_a_host_does_not_answer_is_told_apart(
    transport: FakeTransport, trouble: str, kind: type[HostError], told: str
) -> None:
    transport.hosts["web2"].trouble = trouble
    there = transport.there()
    answers = at_once(transport.all(), lambda host: there.ask(host, ["status"]))
    assert list(answers) == list(NAMES)
    error = answers["web2"]
    assert type(error) is kind
    assert told in error.reason
    assert error.cure
    assert all(not isinstance(answers[name], HostError) for name in NAMES if name != "web2")


def test_a_host_that_is_too_busy_to_take_a_connection_is_tried_again(transport: FakeTransport) -> None:
    transport.hosts["web1"].busy_for = 3
    assert transport.there().ask(transport.all()[0], ["status"])["apps"]
    transport.hosts["web1"].busy_for = 4
    with pytest.raises(UnreachableError, match="kex_exchange"):
        transport.there().ask(transport.all()[0], ["status"])


def test_a_host_that_is_down_is_not_tried_again(transport: FakeTransport) -> None:
    transport.hosts["web1"].trouble = "down"
    with pytest.raises(UnreachableError):
        transport.there().ask(transport.all()[0], ["status"])
    assert transport.asked == [("web1", "status")]


def test_a_document_is_found_below_what_a_login_prints() -> None:
    assert document_of(["Welcome", '{"event": "warning"}', "{", '  "a": 1', "}"]) == {"a": 1}
    assert document_of(["Welcome"]) is None
    assert event_of("Welcome") is None
    assert event_of("{broken") is None
    assert event_of('{"event": "x"}') == {"event": "x"}


# -- exit statuses, batches, hosts --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "status"),
    [
        ([], 0),
        ([(State.SUCCEEDED, 0), (State.UNCHANGED, 0)], 0),
        ([(State.SUCCEEDED, 0), (State.FAILED, 1)], 1),
        ([(State.FAILED, 3), (State.NOT_BEGUN, 0)], 3),
        ([(State.FAILED, 1), (State.FAILED, 4)], 4),
        ([(State.FAILED, 2), (State.UNREACHABLE, 1)], 1),
        ([(State.UNKNOWN, None)], 1),
        ([(State.INTERRUPTED, 130), (State.NOT_BEGUN, 0)], 130),
        ([(State.INTERRUPTED, 130), (State.FAILED, 1)], 1),
    ],
)
def test_the_exit_status_is_the_worst(seen: list[tuple[State, int | None]], status: int) -> None:
    assert exit_status([Outcome(f"h{number}", *one) for number, one in enumerate(seen)]) == status


def test_hosts_are_chosen_by_group_and_name_in_the_order_of_the_file() -> None:
    config = config_of(jobs=["job1", "web2"])

    def names(**chosen: str) -> list[str]:
        return [host.name for host in chosen_hosts(config, Chosen(**chosen))]

    assert names(groups="all") == [*NAMES, "job1"]
    assert names(groups="jobs") == ["web2", "job1"]
    assert names(hosts="job1,web1") == ["web1", "job1"]
    assert names(groups="web", without="web1, web3") == ["web2", "web4"]
    assert names(hosts="deploy@web1") == ["web1"]
    with pytest.raises(UsageError, match="no group called 'job'"):
        names(groups="job")


def test_batches_hold_each_host_once() -> None:
    hosts = [RemoteHost(name, name) for name in NAMES]
    found = batches(hosts, "2", first="web3")
    assert [[host.name for host in batch] for batch in found] == [["web3"], ["web1", "web2"], ["web4"]]


# -- the command line of ssh --------------------------------------------------------------------------


def test_ssh_is_told_nothing_that_the_user_has_configured_but_how_to_be_driven(tmp_path: Path) -> None:
    argv = ssh_command(
        "deploy@web1:2222", "true", connect_timeout=3.0, config=tmp_path / "c", sockets=Path("/run/ours")
    )
    assert argv[:3] == ["ssh", "-F", str(tmp_path / "c")]
    assert argv[-3:] == ["--", "deploy@web1", "true"]
    assert argv[argv.index("-p") + 1] == "2222"
    options = [word for before, word in pairwise(argv) if before == "-o"]
    assert {"BatchMode=yes", "ConnectTimeout=3", "ControlPath=/run/ours/%C"} <= set(options)
    assert not [one for one in options if one.startswith(("User", "Identity", "StrictHostKey", "Proxy"))]


def test_no_connection_is_kept_where_its_socket_would_have_no_room(tmp_path: Path) -> None:
    argv = ssh_command("web1", "true", connect_timeout=3.0, sockets=tmp_path / ("x" * 90))
    assert not [word for word in argv if word.startswith("Control")]


@pytest.mark.parametrize(
    ("destination", "place", "port"),
    [
        ("web1", "web1", ""),
        ("deploy@web1:22", "deploy@web1", "22"),
        ("[fd00::1]", "fd00::1", ""),
        ("deploy@[fd00::1]:2222", "deploy@fd00::1", "2222"),
    ],
)
def test_a_destination_is_split(destination: str, place: str, port: str) -> None:
    assert split(destination) == (place, port)


def test_no_word_is_anything_but_a_word_to_the_shell_there(tmp_path: Path) -> None:
    hostile = ["a b", "$(touch x)", "'; touch x; '", "`touch x`", "*"]
    line = script_line('for word in "$@"; do printf "%s\\n" "$word"; done', hostile)
    done = subprocess.run(["sh", "-c", line], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == hostile
    assert not list(tmp_path.iterdir())
    assert "exec substitute" in substitute_line(["status"])


# -- setup and tables ---------------------------------------------------------------------------------


def test_setup_brings_what_is_missing(transport: FakeTransport) -> None:
    bundle = Bundle("1.0", "substitute-deploy==1.0", b"[hosts]", {"shop.env": b"A=1"})
    done = set_up(transport.there(), transport.all()[0], bundle)
    assert done == {
        "substitute": "present",
        "substitute.toml": "written",
        "shop.env": "written",
        "boot": "a unit",
    }
    assert transport.scripts == [
        ("web1", ["1.0", "substitute-deploy==1.0"], b""),
        ("web1", ["shop", "substitute.toml", "replace", "7"], b"[hosts]"),
        ("web1", ["shop", "shop.env", "missing", "3"], b"A=1"),
    ]
    transport.hosts["web2"].trouble = "bare"
    with pytest.raises(NotInstalledError, match="no Python"):
        set_up(transport.there(), transport.all()[1], bundle)


def test_the_table_says_who_could_not_be_asked_and_who_has_another_version(transport: FakeTransport) -> None:
    transport.hosts["web2"].trouble = "down"
    transport.hosts["web3"].live = NEW
    there = transport.there()
    answers = at_once(transport.all(), lambda host: there.ask(host, ["status"]))
    lines = list(status_lines(transport.all(), answers, lambda text, _: text))
    assert lines[2].split()[:3] == ["web2", "not", "asked"]
    assert any("Connection refused" in line for line in lines)
    assert lines[-1] == "shop has 2 versions: 0000000000 on web1, web4; 1111111111 on web3"
    document = json.loads(json.dumps(documents(transport.all(), answers, "status")))
    assert [one["answered"] for one in document["hosts"]] == [True, False, True, True]
    assert document["hosts"][1]["error"]["kind"] == "unreachable"


def test_an_error_of_a_host_is_passed_on_with_its_status(transport: FakeTransport) -> None:
    error = RefusedError(3, "Locked.")
    assert (error.status, error.reason) == (3, "Locked.")
