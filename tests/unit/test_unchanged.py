"""Nothing changed; and what the history and the log know of each deployment."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from substitute.core.deploy.deployment import deploy, restart, rollback
from substitute.core.model.errors import NothingServesError
from substitute.core.model.events import Compared, Held, Notice, Output, Seen, Stepped, Unchanged
from substitute.core.model.slots import SlotName
from substitute.core.operate.manual import stop
from substitute.core.state.deployment_log import Transcript, path_of
from tests.unit.fakes.shop import make_slots
from tests.unit.shops import A, B, live, notices

if TYPE_CHECKING:
    from tests.unit.fakes.shop import Shop


def test_output_of_the_build_is_told_and_kept_in_the_deployments_log(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    assert any(isinstance(event, Output) and event.line == "output" for event in shop.events)
    assert "output" in (shop.app.log_directory / "deployment-1.log").read_text()


def test_the_newest_fifty_logs_of_an_app_are_kept_however_its_numbers_jump(shop: Shop) -> None:
    directory = shop.app.log_directory
    directory.mkdir(parents=True)
    for number in range(3, 303, 3):
        (directory / f"deployment-{number}.log").touch()
    (directory / "a.log").touch()
    Transcript(shop.app, 1000).close()
    kept = sorted(int(file.stem.split("-")[1]) for file in directory.glob("deployment-*.log"))
    assert kept == [*range(303 - 3 * 49, 303, 3), 1000]
    assert (directory / "a.log").exists()


def test_a_log_tells_of_a_canary_and_of_what_is_held_without_the_token(shop: Shop) -> None:
    transcript = Transcript(shop.app, 7)
    seen = Seen(120, 3, 4.0, 0.1)
    for event in (
        Stepped("shop", SlotName.B, 5, 120.0),
        Compared("shop", SlotName.B, 5, 60.0, live=seen, candidate=seen),
        Held("shop", SlotName.B, "c2", SlotName.A, 0.0, token="s3cr3t", links=("http://x/s3cr3t",)),  # noqa: S106
        Unchanged("shop", SlotName.A, "c1"),
    ):
        transcript(event)
    transcript.close()
    text = transcript.path.read_text()
    assert "5 % of the clients for 120s" in text
    assert "new failed 3 of 120, live failed 3 of 120" in text
    assert "held: c2 in slot b until 1970-01-01" in text
    assert "s3cr3t" not in text
    assert "(" not in text


def operations(shop: Shop) -> list[str]:
    return [one.operation for one in shop.host.journal.history("shop")]


def test_with_if_changed_what_is_live_already_is_left_alone(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1", if_changed=True)
    shop.world.log.clear()
    shop.events.clear()
    deploy(shop.host, shop.app, "v1", if_changed=True)
    assert shop.world.log == []
    assert operations(shop) == ["deploy"]
    assert [event for event in shop.events if not isinstance(event, Notice)] == [
        Unchanged("shop", SlotName.A, "v1", chosen="v1")
    ]
    deploy(shop.host, shop.app, "v2", if_changed=True)
    assert live(shop) == "b"


@pytest.mark.parametrize(
    ("changes", "key"),
    [
        ({"start": "serve --fast"}, "start"),
        ({"env": {"A": "1"}}, "env"),
        ({"stop_timeout": 5.0}, "stop.timeout"),
    ],
)
def test_an_edited_configuration_is_a_change_and_is_named(
    shop: Shop, changes: dict[str, object], key: str
) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.change(**changes)
    deploy(shop.host, shop.app, "v1", if_changed=True)
    assert live(shop) == "b"
    assert f"v1 is live already. In substitute.toml changed since: {key}." in notices(shop)


def test_other_ports_are_a_change(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.change(slots=make_slots(shop.app.root, "shop", 3003, 3004))
    deploy(shop.host, shop.app, "v1", if_changed=True)
    assert "changed since: ports." in notices(shop)
    assert live(shop) == "b"


def test_what_is_live_and_does_not_serve_is_deployed_whatever_its_commit(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    stop(shop.host, {"shop": shop.app}, "shop_a", force=True)
    deploy(shop.host, shop.app, "v1", if_changed=True)
    assert operations(shop) == ["deploy", "deploy"]
    assert shop.world.shares == {A: 0, B: 100}


def test_that_nothing_changed_is_said_in_any_case(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    assert "Nothing changed" not in notices(shop)
    deploy(shop.host, shop.app, "v1")
    assert "Nothing changed: v1 is live already. It is built and started again" in notices(shop)
    assert live(shop) == "b"
    shop.events.clear()
    restart(shop.host, shop.app)
    assert "Nothing changed" not in notices(shop)


def test_the_history_knows_what_a_commit_was_and_who_typed_it(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    deploy(shop.host, shop.app, "v2")
    rollback(shop.host, shop.app)
    known = [(one.subject, one.how, one.user) for one in shop.host.journal.history("shop")]
    assert known == [
        ("a change", "as it stands", "ada"),
        *[("a change", "branch main of origin", "ada")] * 2,
    ]


def test_the_log_of_a_deployment_says_how_it_ended(shop: Shop) -> None:
    shop.world.build_status = 2
    with pytest.raises(NothingServesError):
        deploy(shop.host, shop.app, "v1")
    assert (
        "== failed in build: The build command `make` failed with exit status 2."
        in path_of(shop.app, 1).read_text()
    )
