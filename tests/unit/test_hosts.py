"""Many hosts: what is asked, what is begun where, and what is said of those that nobody could ask."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from substitute.config.models import SECTIONS
from substitute.config.models.hosts import HostsConfig
from substitute.config.tables import Inner, Reader
from substitute.core.interrupts import Interrupts
from substitute.core.model.errors import InterruptedByUserError, UsageError
from substitute.hosts.answers import document_of, event_of
from substitute.hosts.asking import at_once
from substitute.hosts.channel import RemoteHost
from substitute.hosts.crew import Crew
from substitute.hosts.errors import (
    HostError,
    NotInstalledError,
    RefusedError,
    SilentHostError,
    UnreachableError,
)
from substitute.hosts.fleet import Chosen, batches, chosen_hosts
from substitute.hosts.outcomes import Outcome, State, exit_status
from substitute.hosts.report.tables import documents, outcome_lines, status_lines
from substitute.hosts.rollout import Rollout
from substitute.hosts.setup import Bundle, set_up
from substitute.hosts.ssh.command_line import script_line, split, ssh_command, substitute_line
from tests.unit.fakes.fleet import NEW, OLD, FakeTransport

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAMES = ("web1", "web2", "web3", "web4")


def config_of(**keys: Any) -> HostsConfig:
    made: HostsConfig | None = Inner(HostsConfig).read({"web": list(NAMES), **keys}, (), Reader(SECTIONS))
    assert made is not None
    return made


class Driver:
    """Rollouts on fake hosts, and what was shown."""

    def __init__(self, transport: FakeTransport, crew: Crew, shown: list[Any]) -> None:
        self.transport, self.crew, self.shown = transport, crew, shown

    def rollout(self, batch: str = "100%", *, waits: bool = False, **keys: Any) -> Rollout:
        there, show = self.transport.there(), self.shown.append
        hosts = self.transport.all()
        return Rollout(there, self.crew, show, config_of(**keys), hosts, "shop", batch, waits=waits)

    def planned(self) -> list[list[str]]:
        found: list[list[str]] = next(one["batches"] for one in self.shown if one["event"] == "rollout")
        return found

    def done(self) -> dict[str, list[list[str]]]:
        return {name: host.done for name, host in self.transport.hosts.items()}


@pytest.fixture
def transport() -> FakeTransport:
    return FakeTransport(*NAMES)


@pytest.fixture
def driver(transport: FakeTransport) -> Iterator[Driver]:
    shown: list[Any] = []
    with Interrupts(lambda _: None) as interrupts:
        yield Driver(transport, Crew(transport.there(), interrupts, shown.append), shown)


def states(outcomes: Sequence[Outcome]) -> dict[str, str]:
    return {one.host: str(one.state) for one in outcomes}


# -- one question ----------------------------------------------------------------------------------


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


# -- deploy ----------------------------------------------------------------------------------------


def test_all_get_the_commit_that_the_first_has_chosen(driver: Driver) -> None:
    outcomes = driver.rollout().deploy(None, ["--force"])
    assert states(outcomes) == dict.fromkeys(NAMES, "succeeded")
    assert driver.done() == {name: [["deploy", NEW, "-a", "shop", "--force"]] for name in NAMES}
    assert driver.planned() == [list(NAMES)]
    assert exit_status(outcomes) == 0
    assert {(one.live, one.commit, one.seconds) for one in outcomes} == {("b", NEW, 1.5)}
    assert all("host" in one for one in driver.shown if one["event"] in {"phase", "succeeded", "hello"})


def test_a_canary_host_is_deployed_alone_and_the_rest_in_batches(driver: Driver) -> None:
    driver.rollout("50%", canary_host="web3").deploy(None, [])
    assert driver.planned() == [["web3"], ["web1", "web2"], ["web4"]]


def test_the_first_failure_ends_it_and_what_is_where_is_told(driver: Driver) -> None:
    driver.transport.hosts["web2"].fails = "ready"
    rollout = driver.rollout("1")
    outcomes = rollout.deploy(None, [])
    assert states(outcomes) == {
        "web1": "succeeded",
        "web2": "failed",
        "web3": "not begun",
        "web4": "not begun",
    }
    assert exit_status(outcomes) == 1
    assert not driver.done()["web3"]
    seen = rollout.with_truth(outcomes)
    assert [one.commit for one in seen] == [NEW, OLD, OLD, OLD]
    assert seen[1].reason == "It is broken."
    lines = list(outcome_lines(seen, lambda text, _: text))
    assert lines[2].split() == ["web2", "failed", "a", "0000000000", "-"]


def test_the_others_of_a_batch_are_not_torn_down_by_one_that_fails(driver: Driver) -> None:
    driver.transport.hosts["web1"].fails = "build"
    assert states(driver.rollout("2").deploy(None, [])) == {
        "web1": "failed",
        "web2": "succeeded",
        "web3": "not begun",
        "web4": "not begun",
    }


@pytest.mark.parametrize(
    ("trouble", "state"), [("down", "unreachable"), ("silent", "unreachable"), ("bare", "refused")]
)
def test_nothing_begins_where_one_cannot_be_asked(driver: Driver, trouble: str, state: str) -> None:
    driver.transport.hosts["web4"].trouble = trouble
    outcomes = driver.rollout().deploy(None, [])
    assert states(outcomes) == {**dict.fromkeys(NAMES, "not begun"), "web4": state}
    assert exit_status(outcomes) == 1
    assert not any(driver.done().values())


def test_nothing_begins_where_somebody_has_locked_one(driver: Driver) -> None:
    driver.transport.hosts["web4"].locked = "no deploys on Friday"
    outcomes = driver.rollout().deploy(None, [])
    assert exit_status(outcomes) == 3
    assert states(outcomes)["web4"] == "refused"
    assert not any(one.state.has_begun for one in outcomes)
    assert "no deploys on Friday" in outcomes[3].reason
    assert not any(driver.done().values())


def test_with_wait_the_hosts_themselves_decide_about_locks(driver: Driver) -> None:
    driver.transport.hosts["web4"].goes_on = 1
    driver.transport.hosts["web4"].deployment("deploy", OLD)
    options = ["--now", "--wait", "60", "--sha256", "ab"]
    assert exit_status(driver.rollout(waits=True).deploy(None, options)) == 0
    assert driver.transport.resolved == [["-a", "shop", "--sha256", "ab", "--wait", "60"]]


def test_release_runs_on_one_host_before_all_others(driver: Driver) -> None:
    for host in driver.transport.hosts.values():
        host.has_release = True
    begun: list[str] = []
    driver.transport.at_go = begun.append
    driver.rollout().deploy(None, [])
    assert driver.planned() == [["web1"], ["web2", "web3", "web4"]]
    assert begun[0] == "web1"
    assert [host.released for host in driver.transport.hosts.values()] == [[NEW], [], [], []]


def test_resume_goes_on_with_the_hosts_that_do_not_have_it(driver: Driver) -> None:
    for host in driver.transport.hosts.values():
        host.has_release = True
    driver.transport.hosts["web3"].fails = "ready"
    driver.rollout("1").deploy(None, [])
    driver.transport.hosts["web3"].fails = ""
    driver.shown.clear()
    outcomes = driver.rollout("1").deploy(None, [], resume=True)
    assert states(outcomes) == {
        "web1": "unchanged",
        "web2": "unchanged",
        "web3": "succeeded",
        "web4": "succeeded",
    }
    assert driver.planned() == [["web3"], ["web4"]]
    assert [len(done) for done in driver.done().values()] == [1, 1, 2, 1]
    assert [host.released for host in driver.transport.hosts.values()] == [[NEW], [], [], []]


def test_resume_runs_the_release_where_no_host_has_run_it_to_its_end(driver: Driver) -> None:
    first = driver.transport.hosts["web1"]
    for host in driver.transport.hosts.values():
        host.has_release = True
    begun = first.deployment("deploy", NEW)
    begun |= {"outcome": "failed", "release_outcome": "failed"}
    driver.rollout().deploy(None, [], resume=True)
    assert driver.planned() == [["web1"], ["web2", "web3", "web4"]]
    assert first.released == [NEW]


def test_resume_says_that_there_is_nothing_to_go_on_with(driver: Driver) -> None:
    with pytest.raises(UsageError, match="No deployment of shop has begun"):
        driver.rollout().deploy(None, [], resume=True)


def test_resume_takes_the_commit_of_the_latest_deployment_and_not_the_branch(driver: Driver) -> None:
    third = "3" * 40
    driver.transport.hosts["web1"].deployment("deploy", third)["outcome"] = "failed"
    driver.rollout().deploy(None, [], resume=True)
    assert driver.done()["web4"] == [["deploy", third, "-a", "shop"]]


def test_an_archive_is_brought_to_each_host_and_taken_away_again(driver: Driver, tmp_path: Path) -> None:
    archive = tmp_path / "shop.tar"
    archive.write_bytes(b"what was built")
    assert exit_status(driver.rollout().deploy_archive(archive, [])) == 0
    digest = hashlib.sha256(b"what was built").hexdigest()
    place = f"shop/deploy/run/{digest[:16]}-shop.tar"
    assert driver.done() == {name: [["deploy", place, "-a", "shop"]] for name in NAMES}
    for name in NAMES:
        (_, brought, content), (_, removed, _) = [one for one in driver.transport.scripts if one[0] == name]
        assert (f"{brought[0]}/{brought[1]}", content) == (place, b"what was built")
        assert removed == [place]


def test_an_archive_that_one_host_cannot_be_given_is_deployed_on_none(driver: Driver, tmp_path: Path) -> None:
    (tmp_path / "shop.tar").write_bytes(b"what was built")
    driver.transport.hosts["web2"].is_full = True
    outcomes = driver.rollout().deploy_archive(tmp_path / "shop.tar", [])
    assert states(outcomes)["web2"] == "refused"
    assert "shop.tar could not be brought to web2" in outcomes[1].reason
    assert "No space left" in outcomes[1].reason
    assert not any(driver.done().values())
    with pytest.raises(UsageError, match="is a directory"):
        driver.rollout().deploy_archive(tmp_path, [])


# -- connections that are lost ---------------------------------------------------------------------


def test_a_lost_connection_is_no_failure_where_the_host_has_succeeded(driver: Driver) -> None:
    driver.transport.hosts["web2"].breaks_in = "build"
    outcomes = driver.rollout().deploy(None, [])
    assert states(outcomes) == dict.fromkeys(NAMES, "succeeded")
    assert outcomes[1].commit == NEW
    assert [one["host"] for one in driver.shown if one["event"] == "lost"] == ["web2"]


def test_it_is_waited_for_while_it_goes_on_there(driver: Driver) -> None:
    host = driver.transport.hosts["web2"]
    host.breaks_in, host.goes_on = "build", 0
    original = host.status

    def status() -> dict[str, Any]:
        return original()

    host.status = status  # type: ignore[method-assign]
    host.goes_on = 0
    driver.transport.at_go = lambda name: setattr(
        driver.transport.hosts[name], "goes_on", 40 * (name == "web2")
    )
    outcomes = driver.rollout().deploy(None, [])
    assert outcomes[1].state is State.SUCCEEDED


def test_a_lost_connection_is_a_failure_where_the_host_has_failed(driver: Driver) -> None:
    host = driver.transport.hosts["web2"]
    host.breaks_in, host.fails = "build", "ready"
    outcomes = driver.rollout("2").deploy(None, [])
    assert states(outcomes) == {
        "web1": "succeeded",
        "web2": "failed",
        "web3": "not begun",
        "web4": "not begun",
    }
    assert "It is broken." in outcomes[1].reason


def test_an_earlier_deployment_is_not_taken_for_one_that_never_began(driver: Driver) -> None:
    host = driver.transport.hosts["web1"]
    host.deployment("deploy", NEW)["outcome"] = "succeeded"
    host.breaks_in = "go"
    outcomes = driver.rollout("1").deploy(None, [])
    assert states(outcomes) == dict.fromkeys(NAMES, "not begun")
    assert "no deployment has begun there since" in outcomes[0].reason
    assert exit_status(outcomes) == 1


def test_what_nobody_can_ask_is_unknown_and_ends_the_rollout(driver: Driver) -> None:
    host = driver.transport.hosts["web1"]
    host.breaks_in, host.then = "build", "down"
    outcomes = driver.rollout("1").deploy(None, [])
    assert states(outcomes) == {"web1": "unknown", **dict.fromkeys(NAMES[1:], "not begun")}
    assert exit_status(outcomes) == 1
    assert "Connection refused" in outcomes[0].reason
    assert "settles by itself" in outcomes[0].cure


def test_power_that_was_lost_is_told_with_what_settles_it(driver: Driver) -> None:
    host = driver.transport.hosts["web1"]
    host.breaks_in, host.dies = "build", True
    outcomes = driver.rollout("1").deploy(None, [])
    assert outcomes[0].state is State.INTERRUPTED
    assert "substitute up --on web1" in outcomes[0].cure
    assert (outcomes[0].commit, exit_status(outcomes)) == (OLD, 1)


# -- Ctrl-C ----------------------------------------------------------------------------------------


def test_ctrl_c_is_told_to_the_hosts_and_nothing_more_begins(driver: Driver) -> None:
    for name in ("web1", "web2"):
        driver.transport.hosts[name].waits = True
    begun: list[str] = []

    def at_go(name: str) -> None:
        begun.append(name)
        if len(begun) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    driver.transport.at_go = at_go
    outcomes = driver.rollout("2").deploy(None, [])
    assert states(outcomes) == {
        "web1": "interrupted",
        "web2": "interrupted",
        "web3": "not begun",
        "web4": "not begun",
    }
    assert exit_status(outcomes) == 130
    assert any("2 hosts are told" in str(one.get("message")) for one in driver.shown)


def test_a_second_ctrl_c_leaves_at_once_and_says_what_is_not_known(driver: Driver) -> None:
    host = driver.transport.hosts["web1"]
    host.waits = True
    driver.transport.at_go = lambda _: os.kill(os.getpid(), signal.SIGINT)

    def show(event: Any) -> None:
        driver.shown.append(event)
        if event["event"] == "notice":
            os.kill(os.getpid(), signal.SIGINT)

    driver.crew._show = show
    driver.transport.is_deaf_to = "interrupt"
    outcomes = driver.rollout("1").deploy(None, [])
    assert outcomes[0].state is State.UNKNOWN
    assert exit_status(outcomes) == 130
    assert "goes on there" in outcomes[0].cure


def test_ctrl_c_while_the_hosts_are_asked_begins_nothing(driver: Driver) -> None:
    once = iter([signal.SIGINT])
    driver.transport.at_question = lambda: next(map(partial(os.kill, os.getpid()), once), None)
    with pytest.raises(InterruptedByUserError):
        driver.rollout().deploy(None, [])
    assert not any(driver.done().values())


# -- rollback and restart --------------------------------------------------------------------------


def test_all_go_back_to_the_same_commit(driver: Driver) -> None:
    for host in driver.transport.hosts.values():
        host.live, host.before = NEW, OLD
    outcomes = driver.rollout("1").rollback(None, ["--force"])
    assert states(outcomes) == dict.fromkeys(NAMES, "succeeded")
    assert driver.done()["web3"] == [["rollback", OLD, "-a", "shop", "--force"]]
    assert driver.planned() == [list(NAMES)]


def test_after_a_rollout_that_was_stopped_only_those_go_back_that_had_the_new_one(driver: Driver) -> None:
    oldest = "9" * 40
    for name, host in driver.transport.hosts.items():
        host.live, host.before = (NEW, OLD) if name == "web1" else (OLD, oldest)
    outcomes = driver.rollout().rollback(None, [])
    assert states(outcomes) == {"web1": "succeeded", **dict.fromkeys(NAMES[1:], "unchanged")}
    assert not driver.done()["web2"]
    assert {(one.live, one.commit) for one in outcomes[1:]} == {("a", OLD)}


def test_where_it_is_not_clear_to_which_version_nobody_goes_back(driver: Driver) -> None:
    for number, host in enumerate(driver.transport.hosts.values()):
        host.live, host.before = (NEW, OLD) if number % 2 else (OLD, NEW)
    with pytest.raises(UsageError, match="not clear") as raised:
        driver.rollout().rollback(None, [])
    assert "web2: live 1111111111, before it 0000000000" in raised.value.fact
    assert not any(driver.done().values())
    assert exit_status(driver.rollout().rollback(OLD, [])) == 0
    assert [len(done) for done in driver.done().values()] == [0, 1, 0, 1]


def test_nothing_before_is_told_as_it_is(driver: Driver) -> None:
    with pytest.raises(UsageError, match="no earlier version"):
        driver.rollout().rollback(None, [])


def test_a_host_that_is_down_keeps_no_other_from_going_back(driver: Driver) -> None:
    for host in driver.transport.hosts.values():
        host.live, host.before = NEW, OLD
    driver.transport.hosts["web2"].trouble = "down"
    outcomes = driver.rollout().rollback(None, [])
    assert states(outcomes) == {**dict.fromkeys(NAMES, "succeeded"), "web2": "unreachable"}
    assert exit_status(outcomes) == 1


def test_a_restart_stops_at_the_first_failure_too(driver: Driver) -> None:
    driver.transport.hosts["web1"].fails = "ready"
    outcomes = driver.rollout("2").restart([])
    assert states(outcomes)["web3"] == "not begun"
    assert driver.done()["web2"] == [["restart", "-a", "shop"]]


# -- exit statuses, batches, hosts -----------------------------------------------------------------


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


# -- the command line of ssh -----------------------------------------------------------------------


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


# -- setup and tables ------------------------------------------------------------------------------


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
        ("web1", ["shop", "substitute.toml", "replace"], b"[hosts]"),
        ("web1", ["shop", "shop.env", "missing"], b"A=1"),
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
