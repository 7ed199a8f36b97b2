"""Guests run as the app that they name, come back as they were started, and are forgotten by `stop` alone."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from substitute.core.deploy.deployment import deploy
from substitute.core.model.errors import NotReadyError, RuntimeFailedError, SubstituteError, UsageError
from substitute.core.model.events import Notice
from substitute.core.model.programs import Inspection, Limits, Process, Protection
from substitute.core.operate import manual, root
from tests.unit.fakes.instances import FakeInstances
from tests.unit.fakes.prober import FakeProber
from tests.unit.fakes.runtime import FakeRuntime

if TYPE_CHECKING:
    from pathlib import Path

    from tests.unit.fakes.shop import Shop

PORT = 3100


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    made = tmp_path / "elsewhere"
    made.mkdir()
    (made / "Procfile").write_text("web: work --hard\n")
    return made


def start(shop: Shop, name: str, directory: Path) -> None:
    manual.start(shop.host, {"shop": shop.app}, name, directory, PORT)


def stop(shop: Shop, name: str) -> None:
    manual.stop(shop.host, {"shop": shop.app}, name)


def guests(shop: Shop) -> list[str]:
    return list(shop.host.journal.guests())


def with_all_there_is(shop: Shop) -> None:
    shop.host = replace(
        shop.host, secrets={"shop.env": {"TOKEN": "today's"}}.__getitem__, caller={"HOME": "/root"}
    )
    shop.change(
        user="nobody",
        limits=Limits(memory=1),
        protections=frozenset({Protection.PRIVATE_TMP}),
        notifies=True,
        env={"MODE": "guest"},
        secrets={"file": "shop.env", "of_file": {"TOKEN": "yesterday's"}},
        stop_timeout=7.0,
    )


def assert_is_the_app(shop: Shop) -> None:
    program = shop.world.programs["shop"]
    assert (program.command, program.user, program.limits) == ("serve", "nobody", Limits(memory=1))
    assert (program.notifies, program.stop_timeout) == (True, 7.0)
    assert program.protections == {Protection.PRIVATE_TMP}
    environment = program.environment
    assert (environment["MODE"], environment["TOKEN"], environment["PORT"]) == ("guest", "today's", str(PORT))
    assert "HOME" not in environment


def test_a_guest_that_is_called_like_an_app_runs_as_that_and_comes_back_as_that(
    shop: Shop, directory: Path
) -> None:
    with_all_there_is(shop)
    start(shop, "shop", directory)
    assert_is_the_app(shop)
    shop.world.running.clear()
    shop.world.programs.clear()
    shop.change(user=None, limits=Limits(), env={}, secrets={"file": None}, notifies=False)
    root.up(shop.host, [])
    assert_is_the_app(shop)
    assert b"today's" not in shop.host.journal.path.read_bytes()


def test_a_guest_is_back_after_down_and_up_and_forgotten_by_stop(shop: Shop, directory: Path) -> None:
    start(shop, "worker", directory)
    root.down(shop.host, [], everything=True)
    assert shop.world.running == {}
    root.up(shop.host, [])
    assert list(shop.world.running) == ["worker"]
    assert shop.world.programs["worker"].command == "work --hard"
    root.down(shop.host, [], everything=True)
    stop(shop, "worker")
    assert guests(shop) == []
    root.up(shop.host, [])
    assert shop.world.running == {}
    with pytest.raises(UsageError, match="No instance is called worker"):
        stop(shop, "worker")


def test_a_guest_that_fails_at_its_first_start_is_forgotten_and_later_tried_again(
    shop: Shop, directory: Path
) -> None:
    shop.world.boots = lambda _: False
    with pytest.raises(NotReadyError):
        start(shop, "worker", directory)
    assert guests(shop) == []
    shop.world.boots = lambda _: True
    start(shop, "worker", directory)
    shop.world.running.clear()
    shop.world.boots = lambda _: False
    root.up(shop.host, [])
    assert guests(shop) == ["worker"]
    shop.world.boots = lambda _: True
    root.up(shop.host, [])
    assert list(shop.world.running) == ["worker"]


def test_a_guest_that_its_runtime_started_again_is_not_started_twice(shop: Shop, directory: Path) -> None:
    start(shop, "worker", directory)
    shop.world.running["worker"] = Process(999, 999, "boot")
    root.up(shop.host, [])
    start(shop, "worker", directory)
    assert shop.world.log.count("start worker") == 1
    stop(shop, "worker")
    assert shop.world.running == {}


def test_a_guest_of_an_earlier_version_of_substitute_runs_its_command(shop: Shop, directory: Path) -> None:
    start(shop, "worker", directory)
    with shop.host.journal._write() as db:
        db.execute("UPDATE guest SET settings = '{}'")
    shop.world.running.clear()
    root.up(shop.host, [])
    assert shop.world.programs["worker"].command == "work --hard"


def test_one_guest_that_can_not_be_stopped_keeps_no_other_one_up_and_is_not_forgotten(
    shop: Shop, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(shop, "clock", directory)
    manual.start(shop.host, {}, "worker", directory, PORT + 1)
    stop_of = type(shop.host.runtime).stop

    def refusing(runtime: object, name: str, *arguments: Any, **more: Any) -> object:
        if name == "clock":
            raise RuntimeFailedError("It cannot be killed.")
        return stop_of(runtime, name, *arguments, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(type(shop.host.runtime), "stop", refusing)
    with pytest.raises(SubstituteError, match="clock: It cannot be killed"):
        root.down(shop.host, [], everything=True)
    assert list(shop.world.running) == ["clock"]
    assert guests(shop) == ["clock", "worker"]


def test_down_says_what_it_stopped_and_that_there_was_nothing(shop: Shop, directory: Path) -> None:
    start(shop, "worker", directory)

    def told() -> list[str]:
        shop.events.clear()
        root.down(shop.host, [shop.app], everything=True)
        return [event.message for event in shop.events if isinstance(event, Notice)]

    assert told() == ["worker stopped; `substitute up` brings it back.", "Nothing of shop was running."]
    assert told() == ["Nothing of shop was running."]
    deploy(shop.host, shop.app, "v1")
    assert told() == ["shop_a stopped."]


def test_an_app_is_no_instance_and_what_stops_it_is_told(shop: Shop) -> None:
    deploy(shop.host, shop.app, "v1")
    with pytest.raises(UsageError, match="`stop` stops one instance") as refused:
        stop(shop, "shop")
    assert refused.value.cure == (
        "Type `substitute stop shop_a` or `substitute stop shop_b`; `substitute down -a shop` stops the app."
    )


@pytest.mark.parametrize("name", ["haproxy", "shop_guardian", "a", "-x", "x/y"])
def test_a_name_that_no_guest_can_have_is_refused_with_the_reason(
    shop: Shop, directory: Path, name: str
) -> None:
    with pytest.raises(UsageError, match="cannot be the name of a guest") as refused:
        start(shop, name, directory)
    ours = name in {"haproxy", "shop_guardian"}
    assert ("substitute itself runs something" in refused.value.fact) == ours


def test_what_fails_of_a_guest_is_said_of_the_guest_and_of_no_slot(
    shop: Shop, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeProber, "holder", lambda *_: "nginx (pid 9)")
    with pytest.raises(RuntimeFailedError, match="Port 3100 of worker is taken") as taken:
        start(shop, "worker", directory)
    assert taken.value.cure == "Stop that program, or start the guest on another port."
    monkeypatch.undo()
    monkeypatch.setattr(FakeRuntime, "inspect", lambda *_: Inspection(None, "exit status 1"))
    monkeypatch.setattr(FakeInstances, "alive", lambda *_: False)
    with pytest.raises(NotReadyError, match="worker exited") as gone:
        start(shop, "worker", directory)
    assert gone.value.cure == "See `substitute logs worker`."


def test_a_guest_that_does_not_listen_is_said_to_and_no_key_of_an_app_is_named(
    shop: Shop, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FakeInstances, "owned", lambda *_: None)
    with pytest.raises(NotReadyError, match=r"worker did not accept on 127\.0\.0\.1:3100") as late:
        start(shop, "worker", directory)
    assert late.value.cure == "See `substitute logs worker`."
