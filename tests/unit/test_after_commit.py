"""What fails after the commit fails no deployment; it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from substitute.core.deploy.deployment import deploy
from substitute.core.model.errors import DeploymentFailedError, NothingServesError, RuntimeFailedError
from substitute.core.model.events import Succeeded, Warned
from tests.unit.shops import A, B, live

if TYPE_CHECKING:
    from tests.unit.fakes.shop import Shop


def refuse_to_stop(shop: Shop, error: Exception) -> None:
    """No instance can be stopped."""

    def stop(*_args: object, **_options: object) -> None:
        raise error

    object.__setattr__(shop.host.runtime, "stop", stop)


@pytest.mark.parametrize("error", [RuntimeFailedError("shop_a cannot be ended."), RuntimeError("a surprise")])
def test_an_old_instance_that_can_not_be_stopped_fails_no_deployment_and_is_told(
    shop: Shop, error: Exception
) -> None:
    deploy(shop.host, shop.app, "v1")
    refuse_to_stop(shop, error)
    deploy(shop.host, shop.app, "v2")
    assert live(shop) == "b"
    assert shop.world.shares == {A: 0, B: 100}
    assert isinstance(shop.events[-1], Succeeded)
    told = [event.message for event in shop.events if isinstance(event, Warned)]
    assert any(
        str(error) in one and "It gets no requests. `substitute up` tries again." in one for one in told
    )
    assert shop.host.journal.history("shop")[0].outcome == "succeeded"


@pytest.mark.parametrize("hook", ["pre_stop", "post_stop", "end"])
def test_a_hook_that_can_not_be_run_after_the_commit_is_told_and_fails_nothing(shop: Shop, hook: str) -> None:
    deploy(shop.host, shop.app, "v1")
    path = shop.app.state_directory / "hooks" / hook
    path.parent.mkdir()
    path.touch(mode=0o755)
    run = shop.host.commands.run

    def fail(argv: list[str], **options: object) -> object:
        if hook in argv[-1]:
            raise RuntimeError("a surprise")
        return run(argv, **options)  # type: ignore[arg-type]

    object.__setattr__(shop.host.commands, "run", fail)
    deploy(shop.host, shop.app, "v2")
    assert live(shop) == "b"
    assert any("a surprise" in event.message for event in shop.events if isinstance(event, Warned))


@pytest.mark.parametrize("answers", [True, False])
def test_where_all_traffic_can_not_be_moved_after_the_commit_it_is_said_who_serves(
    shop: Shop,
    answers: bool,  # noqa: FBT001
) -> None:
    deploy(shop.host, shop.app, "v1")
    commit = shop.host.journal.commit

    def and_break(*args: object, **options: object) -> None:
        commit(*args, **options)  # type: ignore[arg-type]
        shop.world.balancer_obeys = False
        shop.world.answering["shop_b"] = answers
        shop.world.answering["shop_a"] = answers

    shop.host.journal.commit = and_break  # type: ignore[method-assign]
    if answers:
        with pytest.raises(
            DeploymentFailedError, match=r"Slot b \(v2\) serves now. Slot a may get requests too"
        ):
            deploy(shop.host, shop.app, "v2")
    else:
        with pytest.raises(NothingServesError):
            deploy(shop.host, shop.app, "v2")
