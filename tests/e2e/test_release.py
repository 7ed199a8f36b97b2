"""Migrations in the phase `release`, by the real command, with requests flowing."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.traffic import under_load
from tests.waiting import eventually

if TYPE_CHECKING:
    from tests.e2e.site import Site

NOTE = "echo migrating $SUBSTITUTE_PHASE; echo $(cat version.txt) $SUBSTITUTE_SLOT >>$SUBSTITUTE_ROOT/applied"
HANGS = f"{NOTE}; sleep 567 & sleep 568"


def configure(site: Site, *release: str) -> None:
    site.configure(more=f"release = {json.dumps(release)}\n")


def applied(site: Site) -> list[str]:
    return (site.root / "applied").read_text().splitlines()


def history(site: Site) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(site.run("history", "--json").stdout)["deployments"]
    return found


def sleeping(site: Site) -> list[int]:
    return site.running("sleep 567", "sleep 568")


def test_a_migration_runs_once_with_the_new_code_and_what_it_did_in_part_is_told(site: Site) -> None:
    configure(site, NOTE)
    site.run("deploy")

    def two_more() -> None:
        site.repository.commit("2")
        assert "migrating release" in site.run("deploy").stdout
        site.run("rollback")
        site.run("restart")
        site.repository.commit("3")
        site.run("check")
        configure(site, NOTE, "echo no such table; exit 3")
        said = site.run("deploy", exit_status=1).stderr
        assert "no such table" in said
        assert "still serves. Nothing of the new version was started." in said

    assert under_load(site, two_more) == {"1", "2"}
    assert [line.split()[0] for line in applied(site)] == ["1", "2", "3"]
    assert "migrating release" in site.run("logs", "--deployment", "2").stdout
    newest, *older = history(site)
    assert newest["release_outcome"] == "failed"
    assert [one["release_outcome"] for one in older] == ["", "", "", "succeeded", "succeeded"]
    assert "failed in" in site.run("history").stdout
    site.assert_only_serves()


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_release_ends_with_its_deployer_and_does_not_run_again_by_itself(site: Site, number: int) -> None:
    site.run("deploy")
    configure(site, HANGS)
    site.repository.commit("2")
    with site.popen("deploy") as deployer:
        eventually(lambda: len(sleeping(site)) == 2, "the release runs")
        deployer.send_signal(number)
        _, said = deployer.communicate(timeout=60)
    eventually(lambda: not sleeping(site), "whoever settles has ended it")
    eventually(lambda: history(site)[0]["outcome"] == "interrupted", "and has closed the deployment")
    assert history(site)[0]["release_outcome"] == "interrupted"
    assert "a migration in part" in history(site)[0]["reason"] + said
    site.run("up")
    assert applied(site) == ["2 b"]
    site.assert_only_serves("a")


def test_a_contract_in_a_commits_message_keeps_a_rollback_from_going_back_across_it(site: Site) -> None:
    configure(site, NOTE)
    site.run("deploy")
    (site.repository.directory / "version.txt").write_text("2\n")
    site.repository.commit_all("Drop the column\n\nSubstitute-Contract: yes")
    site.repository.commit("3")
    site.run("deploy")
    before = site.app()
    refused = site.run("rollback", exit_status=2).stderr
    assert "The release of deployment 2" in refused
    assert "no rollback to" in site.run("status").stdout
    assert site.app() | {"slots": None} == before | {"slots": None}
    assert json.loads(site.run("release", "--json").stdout)["deployment"]["release_guard"] == "contract"

    assert under_load(site, lambda: site.run("rollback", "--force")) == {"1", "3"}
    site.run("rollback")
    assert "is refused" not in site.run("release", "--no-contract").stdout
    site.run("rollback")
    site.run("rollback")
    assert "is refused" in site.run("release", "--contract").stdout
    site.run("rollback", exit_status=2)


def test_whoever_deploys_to_several_hosts_is_told_whether_one_of_them_has_to_be_first(site: Site) -> None:
    site.run("deploy")
    assert site.document("resolve")["may_release"] is False
    configure(site, NOTE)
    assert site.document("resolve")["may_release"] is True
