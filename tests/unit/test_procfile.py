"""What a Procfile says, and when it counts."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from substitute.core.deploy.deployment import deploy, rollback
from substitute.core.deploy.procfile import with_procfile
from substitute.core.model.apps import Order, ProcessType
from substitute.core.model.errors import DeploymentFailedError, NothingServesError
from substitute.core.model.events import Unchanged, Warned
from substitute.core.model.health import RUNS
from substitute.core.model.procfile import parse
from substitute.core.model.programs import Limits
from substitute.core.model.slots import SlotName
from substitute.core.operate.manual import start
from substitute.core.operate.root import up

if TYPE_CHECKING:
    from tests.unit.fakes.shop import Shop


def test_commands_by_type_and_what_says_nothing() -> None:
    found = parse(
        "# processes\r\nweb: gunicorn shop.wsgi -b $ADDRESS # not a comment\r\n\n  worker:celery: x\nrelease:\n"
        "clock tick\nmail-er_2:\tsend\nworker: celery\n=: x\n"
    )
    assert found.commands == {
        "web": "gunicorn shop.wsgi -b $ADDRESS # not a comment",
        "worker": "celery",
        "mail-er_2": "send",
    }
    assert found.problems == (
        "line 5 is not of the form `type: command`",
        "line 6 is not of the form `type: command`",
        "line 8 says again what worker is, and counts",
        "line 9 is not of the form `type: command`",
    )


def write(shop: Shop, text: str, *, directory: str = "") -> None:
    """A Procfile that both slots have after each update."""
    for slot in shop.app.slots.values():
        place = slot.directory / directory
        place.mkdir(parents=True, exist_ok=True)
        (place / "Procfile").write_text(text)


def started(shop: Shop, name: str) -> str:
    return shop.world.programs[name].command


def test_it_starts_the_app_where_the_file_does_not_say_how(shop: Shop) -> None:
    write(shop, "web: from the top\n")
    deploy(shop.host, shop.app, "v1")
    assert started(shop, "shop_a") == "serve"  # substitute.toml says it
    shop.change(start="", directory="apps/web")
    write(shop, "web: from its directory\nworker: work\nnonsense\n", directory="apps/web")
    deploy(shop.host, shop.app, "v2")
    assert started(shop, "shop_b") == "from its directory"
    (warning,) = [event.message for event in shop.events if isinstance(event, Warned)]
    assert warning == "apps/web/Procfile: line 3 is not of the form `type: command`."
    slot = shop.host.journal.app("shop").slots[SlotName.B]
    found = with_procfile(shop.host, shop.app, slot)
    assert dict(found.procfile) == {"web": "from its directory", "worker": "work"}
    assert with_procfile(shop.host, replace(shop.app, start="own"), slot).start == "own"


def test_a_version_is_started_again_with_the_command_that_it_was_proven_with(shop: Shop) -> None:
    shop.change(start="")
    write(shop, "web: first\n")
    deploy(shop.host, shop.app, "v1")
    write(shop, "web: second\n")
    shop.world.crash("shop_a")
    up(shop.host, [shop.app])
    assert started(shop, "shop_a") == "first"
    deploy(shop.host, shop.app, "v2")
    assert started(shop, "shop_b") == "second"
    rollback(shop.host, shop.app)
    assert started(shop, "shop_a") == "first"
    shop.world.log.clear()
    deploy(shop.host, shop.app, "v1", if_changed=True)
    assert [event.event for event in shop.events if isinstance(event, Unchanged)] == ["unchanged"]
    assert shop.world.log == []


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        (None, "The commit has no Procfile, and app.shop.start is not written."),
        ("worker: work\n", "Procfile of the commit has no line `web:`, and app.shop.start is not written."),
    ],
)
def test_where_nothing_says_how_it_is_started_nothing_is_built(
    shop: Shop, text: str | None, fact: str
) -> None:
    shop.change(start="")
    if text:
        write(shop, text)
    with pytest.raises(NothingServesError) as failed:
        deploy(shop.host, shop.app, "v1")
    assert failed.value.what == "How to start shop is not known."
    assert failed.value.fact == fact
    assert '`start = "…"` in [app.shop]' in failed.value.cure
    assert "a line `web: …` in Procfile of the repository" in failed.value.cure
    assert [line for line in shop.world.log if not line.startswith("route")] == ["update shop_a v1"]


def test_a_slot_that_was_never_proven_and_a_guest_are_started_by_it(shop: Shop) -> None:
    shop.change(start="")
    write(shop, "web: by hand\n")
    slot = shop.app.slots[SlotName.B]
    start(shop.host, {"shop": shop.app}, "shop_b", slot.directory, slot.endpoints[0].port)
    assert started(shop, "shop_b") == "by hand"
    start(shop.host, {"shop": shop.app}, "shop", slot.directory, 5001)
    assert started(shop, "shop") == "by hand"


def test_its_other_lines_are_processes_and_what_the_file_says_of_one_counts(shop: Shop) -> None:
    none = ProcessType("", 0, Order.STOP_FIRST, RUNS, 5.0, user=None, limits=Limits(), env={})
    two = replace(none, start="work hard", instances=2)
    shop.change(start="", processes={"console": none, "worker": two})
    write(shop, "web: serve\nworker: work\nclock: tick\nconsole: irb\nrelease: migrate\n")
    deploy(shop.host, shop.app, "v1")
    assert {name: one.command for name, one in shop.world.programs.items()} == {
        "shop_a": "serve",
        "shop_a_worker_1": "work hard",
        "shop_a_worker_2": "work hard",
        "shop_a_clock_1": "tick",
    }
    deploy(shop.host, shop.app, "v1", if_changed=True)
    assert isinstance(shop.events[-1], Unchanged)
    write(shop, "web: serve\nclock: tock\n")
    deploy(shop.host, shop.app, "v2")
    assert started(shop, "shop_b_clock_1") == "tock"
    shop.world.crash("shop_b_clock_1")
    write(shop, "web: serve\nclock: other\n")
    up(shop.host, [shop.app])
    assert started(shop, "shop_b_clock_1") == "tock"
    rollback(shop.host, shop.app)
    assert started(shop, "shop_a_clock_1") == "tick"
    assert set(shop.world.running) == {"shop_a", "shop_a_worker_1", "shop_a_worker_2", "shop_a_clock_1"}
    shop.change(processes={"mail": replace(none, instances=1), "console": none})
    with pytest.raises(DeploymentFailedError, match="How to start the process mail of shop is not known"):
        deploy(shop.host, shop.app, "v3")
