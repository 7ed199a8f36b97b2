"""Many hosts: what is begun where, and what ends it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pytest

from substitute.core.model.errors import UsageError
from substitute.hosts.outcomes import exit_status
from substitute.hosts.report.tables import outcome_lines
from tests.unit.fakes.fleet import NEW, OLD
from tests.unit.fakes.rollouts import NAMES, Driver, states

if TYPE_CHECKING:
    from pathlib import Path


# -- deploy -------------------------------------------------------------------------------------------


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


def test_all_are_told_the_tag_that_led_to_it(driver: Driver) -> None:
    for host in driver.transport.hosts.values():
        host.tag = "v1.4"
    driver.rollout().deploy("v1.4", [])
    deployed = driver.done()["web4"]
    assert deployed[0][-2:] == ["--tag", "v1.4"]
    for name, host in driver.transport.hosts.items():
        host.tag = ""  # that of a digest is not known
        if name != "web1":
            host.live = OLD
        host.history[0]["tag"] = "v1.4"
    driver.rollout().deploy(None, [], resume=True)
    assert driver.done()["web4"][1] == [*deployed[0], "--skip-release"]


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


# -- rollback and restart -----------------------------------------------------------------------------


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
