"""What a health check may ask for, and where an instance that is not ready listens instead."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from substitute.core.deploy.deployment import deploy, rollback
from substitute.core.deploy.readiness.readiness import await_ready
from substitute.core.deploy.readiness.started import LogTail, Started
from substitute.core.deploy.settle import settle
from substitute.core.model.errors import DeploymentFailedError, NotReadyError, SubstituteError
from substitute.core.model.events import Output, PhaseStarted, Warned
from substitute.core.model.health import Health
from substitute.core.model.instances import other_instances
from substitute.core.model.programs import Process
from substitute.core.model.slots import Endpoint, Phase, SlotName
from substitute.core.model.versions import Version
from substitute.core.ports.commands import Finished
from substitute.core.ports.prober import Answer
from substitute.core.state.adopted import Adopted, fact_of, written
from substitute.values import replace
from tests.unit.fakes.logs import FakeLog

if TYPE_CHECKING:
    from tests.unit.fakes.shop import Shop

GOOD, BAD = Finished(0, ("fine",)), Finished(3, ("no database", "giving up"))


class Healthy:
    """Runs the command of the health check as it is told to, and all other commands as the fake does."""

    def __init__(self, shop: Shop, ends: Finished = GOOD) -> None:
        self.ends, self.asked = ends, list[dict[str, Any]]()
        self._run = shop.host.commands.run
        shop.change(health=replace(shop.app.health, command="bin/healthy"))
        shop.host.commands.run = self.run  # type: ignore[method-assign]

    def run(self, argv: Any, **more: Any) -> Finished:
        if argv[-1] != "bin/healthy":
            return self._run(argv, **more)
        self.asked.append(more)
        return self.ends


def warnings(shop: Shop) -> list[str]:
    return [event.message for event in shop.events if isinstance(event, Warned)]


# -- a command ------------------------------------------------------------------------------------


def test_a_command_is_run_where_the_instance_runs_and_as_it_does(shop: Shop) -> None:
    healthy = Healthy(shop)
    shop.change(user="nobody", env={"MODE": "new"}, secrets={"of_file": {"KEY": "s3cret"}})
    deploy(shop.host, shop.app, "v1")
    program = shop.world.programs["shop_a"]
    assert len(healthy.asked) > shop.app.health.successes, "ready, and verify"
    for asked in healthy.asked:
        assert asked["environment"] == program.environment
        assert asked["environment"]["PORT"] == "3001"
        assert asked["environment"]["KEY"] == "s3cret"
        assert (asked["directory"], asked["user"]) == (program.directory, "nobody")
        assert asked["probes"], "it reaches an instance that gets no traffic yet"
        assert 0 < asked["timeout"] <= 10


@pytest.mark.parametrize(
    ("ends", "seen"),
    [
        (BAD, "exit status 3"),
        (replace(BAD, timed_out=True), "no end within 10 s"),
        (replace(BAD, status=-9), "SIGKILL"),
    ],
)
def test_a_command_that_fails_is_told_with_its_last_lines(shop: Shop, ends: Finished, seen: str) -> None:
    Healthy(shop, ends)
    with pytest.raises(SubstituteError) as told:
        deploy(shop.host, shop.app, "v1")
    assert f"did not pass `bin/healthy` within 30s (last: {seen})" in told.value.what
    assert "`bin/healthy` wrote:\n  > no database\n  > giving up" in told.value.fact


def test_what_has_no_port_is_ready_by_its_command_alone(shop: Shop) -> None:
    healthy = Healthy(shop)
    shop.host.journal.register(shop.app)
    slot = shop.host.journal.app("shop").slots[SlotName.A]
    (worker,) = other_instances("shop", SlotName.A, slot.directory, {"worker": 1})
    process = shop.world.running[worker.name] = Process(101, 101, "boot")
    program = shop.host.program(shop.app, slot, slot.web[0], {})
    health = Health("runs", "", None, timeout=30.0, interval=0.1, successes=1, command="bin/healthy")
    started = [Started(worker, process, LogTail(FakeLog()), program, health)]
    await_ready(shop.host, slot, started, show=lambda _: None)
    assert len(healthy.asked) == 1
    healthy.ends = BAD
    with pytest.raises(
        NotReadyError, match=r"Worker 1 of slot a did not pass `bin/healthy` within 30s"
    ) as told:
        await_ready(shop.host, slot, started, show=lambda _: None)
    assert "app.shop.process.worker.health.timeout" in told.value.cure


def test_the_live_version_is_judged_by_its_command_and_an_edit_waits_for_the_next(shop: Shop) -> None:
    healthy = Healthy(shop)
    deploy(shop.host, shop.app, "v1")
    healthy.asked.clear()
    shop.change(health=replace(shop.app.health, command=""))
    assert settle(shop.host, shop.app).problem == ""
    assert healthy.asked, "it was proven by the command"
    healthy.ends = BAD
    assert "does not pass its health check" in settle(shop.host, shop.app).problem
    assert shop.world.log.count("stop shop_a") == 0, "the last one that runs goes on"


def test_a_command_is_not_asked_of_what_was_adopted_and_built_elsewhere(shop: Shop) -> None:
    healthy = Healthy(shop)
    deploy(shop.host, shop.app, "v1")
    healthy.asked.clear()
    shop.host.journal.remember(fact_of("shop"), written(Adopted(SlotName.A, None)))
    assert settle(shop.host, shop.app).problem == ""
    assert healthy.asked == []


# -- the journal ----------------------------------------------------------------------------------

FULL = Health(
    "http", "/up", None, 30.0, 0.1, 2, {"X-A": "b"}, status="200", expect="ok", command="x", warm=("/", "/b")
)


def test_a_version_comes_back_from_the_journal_with_all_of_its_health_check(shop: Shop) -> None:
    shop.change(health=FULL, stop_signal="SIGQUIT")
    version = Version.of(shop.app, {})
    assert Version.load(json.loads(json.dumps(version.dump()))) == version


def test_what_the_new_keys_do_not_say_is_not_written_so_that_an_earlier_version_reads_it(shop: Shop) -> None:
    plain = Version.of(shop.app, {}).dump()
    assert plain["health"].keys() == {"kind", "path", "host", "timeout", "interval", "successes"}
    assert "stop_signal" not in plain
    assert Version.load(plain) == Version.of(shop.app, {})


# -- warm -----------------------------------------------------------------------------------------


def warmed(shop: Shop) -> list[str]:
    return [event.line for event in shop.events if isinstance(event, Output) and event.phase == Phase.WARM]


def test_pages_are_asked_for_once_after_readiness_and_before_any_request(shop: Shop) -> None:
    shop.change(health=replace(shop.app.health, warm=("/", "/search")))
    deploy(shop.host, shop.app, "v1")
    shop.events.clear()
    shop.world.log.clear()
    deploy(shop.host, shop.app, "v2")
    log = shop.world.log
    assert [line for line in log if line.startswith("fetch")] == ["fetch 3002/", "fetch 3002/search"]
    assert log.index("start shop_b") < log.index("fetch 3002/search") < log.index("route 3001=50 3002=50")
    phases = [event.phase for event in shop.events if isinstance(event, PhaseStarted)]
    assert phases[phases.index(Phase.READY) + 1] is Phase.WARM
    assert warmed(shop)[1].startswith("GET /search: 200, ")


def test_a_page_that_is_not_answered_is_told_and_fails_nothing(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it take longer than `health.timeout`, however many there are."""

    def fetch(*_: object, limit: float) -> Answer:
        shop.world.clock.sleep(min(limit, 20.0))
        return Answer(good=False, seen=f"no answer within {limit:g} s")

    monkeypatch.setattr(shop.host.prober, "fetch", fetch)
    shop.change(health=replace(shop.app.health, warm=("/a", "/b", "/c")))
    deploy(shop.host, shop.app, "v1")
    told = warmed(shop)
    assert [line.partition(":")[0] for line in told] == ["GET /a", "GET /b", "GET /c"]
    assert "no answer within 30 s" in told[0]
    assert "not asked, 30s are over (app.shop.health.timeout)" in told[2]


def test_an_instance_that_dies_of_such_a_page_gets_no_traffic(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy(shop.host, shop.app, "v1")
    shop.change(health=replace(shop.app.health, warm=("/heavy",)))

    def fetch(*_: object, limit: float) -> Answer:
        shop.world.crash("shop_b")
        return Answer(good=False, seen="connection reset")

    monkeypatch.setattr(shop.host.prober, "fetch", fetch)
    with pytest.raises(DeploymentFailedError, match=r"Slot a \(v1\) still serves"):
        deploy(shop.host, shop.app, "v2")
    assert not [line for line in shop.world.log if line.startswith("route") and "3002=50" in line]


# -- where it listens -----------------------------------------------------------------------------


def test_a_port_that_is_not_its_own_is_told_while_it_is_waited_for(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, and not in the moment between an admin port and the app's own."""
    monkeypatch.setattr(shop.host.instances, "owned", lambda *_: None)
    shop.change(start="node www.js")
    shop.world.listening = {Endpoint("127.0.0.1", 3000)}
    with pytest.raises(SubstituteError) as told:
        deploy(shop.host, shop.app, "v1")
    (warned,) = warnings(shop)
    assert "Slot a runs, and it listens on 127.0.0.1:3000, not on $PORT (3001)." in warned
    assert "process.env.PORT" in warned
    assert "(last: it listens on 127.0.0.1:3000, not on $PORT (3001))" in told.value.what

    shop.events.clear()
    began = shop.world.clock.time
    monkeypatch.setattr(shop.host.instances, "owned", lambda *_: shop.world.clock.time > began + 1.2 or None)
    deploy(shop.host, shop.app, "v1")
    assert not any("not on $PORT" in one for one in warnings(shop))


@pytest.mark.parametrize("every", ["0.0.0.0", "::"])
def test_one_that_anybody_can_reach_is_warned_of_once_a_deployment(shop: Shop, every: str) -> None:
    shop.world.listening = {Endpoint(every, 3001), Endpoint("127.0.0.1", 9229)}
    deploy(shop.host, shop.app, "v1")
    (warned,) = warnings(shop)
    assert "Slot a listens on port 3001 of all" in warned
    assert "though app.shop.host is 127.0.0.1" in warned

    shop.events.clear()
    shop.world.listening = {Endpoint("127.0.0.1", 3002), Endpoint(every, 9229)}
    deploy(shop.host, shop.app, "v2")
    rollback(shop.host, shop.app)
    assert warnings(shop) == []


# -- answers --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seen", "change", "told"),
    [
        ("301 to https://shop/", {"status": "200-299"}, 'headers = { X-Forwarded-Proto = "https" }'),
        ("204", {"status": "200"}, "correct app.shop.health.status"),
        ("200 without the expected text", {"expect": 'is "ok"'}, "correct app.shop.health.expect"),
    ],
)
def test_the_key_that_mends_an_answer_is_named(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, seen: str, change: dict[str, Any], told: str
) -> None:
    answer = Answer(good=False, seen=seen, lines=('{"status":"down"}',))
    monkeypatch.setattr(shop.host.prober, "probe", lambda *_: answer)
    shop.change(health=replace(shop.app.health, **change))
    with pytest.raises(SubstituteError) as raised:
        deploy(shop.host, shop.app, "v1")
    assert told in raised.value.cure
    wanted = 'answer 2xx-3xx with the text "is \\"ok\\"" on :3001/' if "expect" in change else "answer 200"
    assert f"did not {wanted}" in raised.value.what
    assert 'The answer begins with:\n  > {"status":"down"}' in raised.value.fact
