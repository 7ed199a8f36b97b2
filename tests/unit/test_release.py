"""The phase `release`, and what a contract means for a rollback."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from substitute.console.history import history_lines
from substitute.core.check.check import check
from substitute.core.deploy.deployment import deploy, restart, rollback
from substitute.core.deploy.settle import settle
from substitute.core.model.errors import (
    DeploymentFailedError,
    InterruptedByUserError,
    NothingServesError,
    UsageError,
)
from substitute.core.model.events import Failed, Interrupted, Notice, PhaseStarted, Succeeded, Warned
from substitute.core.model.slots import Phase, SlotName
from substitute.core.operate import releases
from substitute.core.operate.status import observe
from substitute.core.ports.source import Revision

if TYPE_CHECKING:
    from substitute.core.model.events import Event
    from tests.unit.fakes.shop import Shop


@pytest.fixture
def shop(shop: Shop) -> Shop:
    """As everywhere, with a migration."""
    shop.change(release={"commands": ("migrate",), "timeout": 60.0})
    return shop


def released(shop: Shop) -> int:
    return shop.world.log.count("run migrate")


def told(shop: Shop, kind: type[Event]) -> str:
    return "\n".join(getattr(event, "message", "") for event in shop.events if isinstance(event, kind))


def test_it_runs_after_the_build_and_before_anything_starts(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    done = [one for one in shop.world.log if not one.startswith("route")]
    assert done == ["update shop_a v1", "run make", "run migrate", "start shop_a"]
    phases = [event.phase for event in shop.events if isinstance(event, PhaseStarted)]
    assert phases[:4] == ["update", "build", "release", "start"]
    last = shop.events[-1]
    assert isinstance(last, Succeeded)
    assert "release" in last.seconds


def test_without_the_key_the_line_of_the_procfile_runs(shop: Shop) -> None:
    shop.change(release={"commands": ()})
    shop.app.slots[SlotName.A].directory.mkdir()
    (shop.app.slots[SlotName.A].directory / "Procfile").write_text("release: migrate\n")
    deploy(shop.host, shop.app, "v1")
    assert released(shop) == 1


def test_it_runs_once_for_each_commit_that_is_deployed_and_in_nothing_else(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    deploy(shop.host, shop.app, "v2")
    assert released(shop) == 2
    deploy(shop.host, shop.app, "v2")
    assert "v2 is live already: its release is not run again" in told(shop, Notice)
    restart(shop.host, shop.app)
    rollback(shop.host, shop.app)
    check(shop.host, shop.app, "v3")
    assert released(shop) == 2
    outcomes = [one.release_outcome for one in shop.host.journal.history("shop")]
    assert outcomes == ["", "", "", "", "succeeded", "succeeded"]


def test_it_is_left_out_where_another_host_has_run_it_and_counts_all_the_same(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1", skip_release=True)
    assert released(shop) == 0
    assert "it has run on another host" in told(shop, Notice)
    shop.world.healthy = lambda commit: commit != "v2"
    with pytest.raises(DeploymentFailedError, match="Its release had run, and what that changed stays"):
        deploy(shop.host, shop.app, "v2", skip_release=True)
    past = shop.host.journal.history("shop")
    assert [one.release_outcome for one in past] == ["elsewhere", "elsewhere"]
    assert "elsewhere " in "\n".join(history_lines(past, lambda text, _: text, with_app=False))


def test_a_contract_that_another_host_has_run_keeps_this_one_from_going_back_too(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.contracts = {"v2"}
    deploy(shop.host, shop.app, "v2", skip_release=True)
    with pytest.raises(UsageError, match="go back across a contract"):
        rollback(shop.host, shop.app)


def test_a_failure_says_that_the_old_version_serves_and_that_a_migration_may_be_applied_in_part(
    shop: Shop,
) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.release_status = 3
    with pytest.raises(DeploymentFailedError) as error:
        deploy(shop.host, shop.app, "v2")
    said = str(error.value)
    assert "The release command `migrate` failed with exit status 3." in said
    assert "Slot a (v1) still serves." in said
    assert "Nothing of the new version was started. Its release may have applied a migration in part" in said
    assert "start shop_b" not in shop.world.log
    (event,) = (event for event in shop.events if isinstance(event, Failed))
    assert "a migration in part" in event.stays
    assert shop.host.journal.history("shop")[0].release_outcome == "failed"


def test_a_first_one_that_fails_says_so_too(shop: Shop) -> None:
    shop.world.release_status = 3
    with pytest.raises(NothingServesError, match="a migration in part"):
        deploy(shop.host, shop.app, "v1")


def test_one_that_hangs_is_ended_and_the_key_that_gives_it_longer_is_named(shop: Shop) -> None:
    shop.change(build={"commands": ()})
    shop.world.build_takes = 61.0
    with pytest.raises(NothingServesError, match=r"raise app\.shop\.release_timeout"):
        deploy(shop.host, shop.app, "v1")


def test_a_version_that_fails_later_says_that_its_release_stays(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.world.healthy = lambda commit: commit != "v2"
    shop.world.contracts = {"v2"}
    with pytest.raises(
        DeploymentFailedError, match="Its release had run, and what that changed stays"
    ) as error:
        deploy(shop.host, shop.app, "v2")
    assert "marked as a contract: the version before may not work with it" in str(error.value)
    assert shop.host.journal.history("shop")[0].release_outcome == "succeeded"


def test_ctrl_c_in_it_is_noted_and_told(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    run = shop.host.commands.run

    def interrupted(argv: list[str], **options: object) -> object:
        if argv[-1] == "migrate":
            signal.raise_signal(signal.SIGINT)
        return run(argv, **options)  # type: ignore[arg-type]

    shop.host.commands.run = interrupted  # type: ignore[method-assign, assignment]
    with pytest.raises(InterruptedByUserError, match="a migration in part"):
        deploy(shop.host, shop.app, "v2")
    (event,) = (event for event in shop.events if isinstance(event, Interrupted))
    assert "a migration in part" in event.stays
    assert shop.host.journal.history("shop")[0].release_outcome == "interrupted"


def test_a_killed_deployer_leaves_an_interrupted_release_in_the_history(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    journal = shop.host.journal
    number = journal.begin(
        "shop", SlotName.B, "deploy", revision=Revision("v2", "", ""), previous="v1", now=5.0
    )
    journal.reached(number, Phase.RELEASE, {})
    journal.release_began(number, guard="")
    settle(shop.host, shop.app)
    left = journal.history("shop")[0]
    assert (left.outcome, left.release_outcome) == ("interrupted", "interrupted")
    assert left.reason.startswith(
        "The deployment was killed in phase release. Nothing of the new version was"
    )
    assert "a migration in part" in told(shop, Notice)


@pytest.fixture
def contracted(shop: Shop) -> Shop:
    """v1 was live, and v2, which is, has a contract."""
    deploy(shop.host, shop.app, "v1")
    shop.world.contracts = {"v2"}
    deploy(shop.host, shop.app, "v2")
    shop.world.contracts.clear()
    return shop


def test_a_rollback_across_a_contract_is_refused_and_forced(contracted: Shop) -> None:
    host, app = contracted.host, contracted.app
    contracted.world.log.clear()
    with pytest.raises(UsageError) as error:
        rollback(host, app)
    assert error.value.exit_status == 2
    assert "The release of deployment 2 (v2, 1970-01-1" in str(error.value)
    assert "`substitute rollback --force`" in str(error.value)
    assert not [done for done in contracted.world.log if done.startswith(("start", "stop"))]
    rollback(host, app, force=True)
    assert "v1 is made live all the same" in told(contracted, Warned)
    assert host.journal.app("shop").live is SlotName.A
    rollback(host, app)  # forward again: v2 is not from before it
    assert host.journal.app("shop").live is SlotName.B


def test_versions_from_after_a_contract_are_gone_back_to(contracted: Shop) -> None:
    host, app = contracted.host, contracted.app
    deploy(host, app, "v3")
    rollback(host, app)
    deploy(host, app, "v1")
    assert "v1 is deployed, which was live before" in told(contracted, Warned)
    deploy(host, app, "v4")
    rollback(host, app)  # it was deployed after the contract, and its own release has run
    live = host.journal.app("shop").live_slot
    assert live
    assert live.commit == "v1"


def test_a_contract_counts_though_its_deployment_failed(shop: Shop) -> None:
    for version in ("v1", "v2"):
        deploy(shop.host, shop.app, version)
    shop.world.healthy = lambda commit: commit != "v3"
    shop.world.contracts = {"v3"}
    with pytest.raises(DeploymentFailedError):
        deploy(shop.host, shop.app, "v3")
    with pytest.raises(UsageError, match="across a contract"):
        rollback(shop.host, shop.app)


def test_what_answers_serves_even_across_a_contract_and_that_is_told(contracted: Shop) -> None:
    """As where the new version gives out while the old one still drains: see `settle`."""
    host, world = contracted.host, contracted.world
    deploy(host, contracted.app, "v3")
    world.contracts = {"v4"}
    route = host.balancer.route

    def gives_out(backends: object) -> None:
        route(backends)  # type: ignore[arg-type]
        if host.journal.app("shop").live is SlotName.B:
            world.answering["shop_b"] = False

    host.balancer.route = gives_out  # type: ignore[method-assign]
    with pytest.raises(DeploymentFailedError):
        deploy(host, contracted.app, "v4")
    assert host.journal.app("shop").live is SlotName.A
    assert "slot a does, and is live now. The release of deployment 4 (v4" in told(contracted, Warned)


def test_by_hand_the_latest_release_is_marked_and_unmarked(shop: Shop) -> None:
    shop.host.journal.register(shop.app)
    with pytest.raises(UsageError, match="No deployment of shop has run a release yet"):
        releases.guard(shop.host, shop.app, contract=True)
    for version in ("v1", "v2"):
        deploy(shop.host, shop.app, version)
    releases.guard(shop.host, shop.app, contract=True)
    known = releases.latest(shop.host, shop.app)
    assert known.deployment
    assert (known.deployment.id, known.deployment.release_guard) == (2, "contract")
    assert "deployment 2" in known.rollback
    rollback_of_status = observe(shop.host, [shop.app])["apps"][0]["rollback"]
    assert (rollback_of_status["commit"], rollback_of_status["refused"]) == ("v1", known.rollback)
    assert json.dumps(rollback_of_status)
    releases.guard(shop.host, shop.app, contract=False)
    assert releases.latest(shop.host, shop.app).rollback == ""
    rollback(shop.host, shop.app)


def test_the_history_has_a_column_for_it_where_one_ran(contracted: Shop) -> None:
    lines = list(history_lines(contracted.host.journal.history("shop"), lambda text, _: text, with_app=False))
    assert "release" in lines[0]
    assert "succeeded in" in lines[1]
    assert ", contract" in lines[1]
    contracted.change(release={"commands": ()})
    deploy(contracted.host, contracted.app, "v3")
    latest = contracted.host.journal.history("shop", 1)
    assert "release" not in next(history_lines(latest, lambda text, _: text, with_app=False))
