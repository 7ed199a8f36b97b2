"""When crons are due, and that each time is run once or told: clocks changed and set, reboots, switches, pauses."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from substitute.console.crons import cron_lines
from substitute.core.deploy.deployment import deploy, rollback
from substitute.core.deploy.settle import settle
from substitute.core.model.crons import Cron
from substitute.core.model.errors import LockedError, RuntimeFailedError, SecretError, UsageError
from substitute.core.model.programs import Process
from substitute.core.model.secrets import SecretSource
from substitute.core.model.slots import SlotName
from substitute.core.model.timetable import due_times
from substitute.core.operate import crons, manual, root, scheduling
from tests.unit.fakes.shop import make_shop

if TYPE_CHECKING:
    from pathlib import Path

    from substitute.core.model.records import RunRecord
    from tests.unit.fakes.shop import Shop

BERLIN = ZoneInfo("Europe/Berlin")
SPRING, AUTUMN = "2026-03-29", "2026-10-25"
"""In both nights the clocks are changed at 01:00 UTC."""


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def shown(times: list[float]) -> list[str]:
    return [datetime.fromtimestamp(time, UTC).strftime("%d %H:%M") for time in times]


def cron(at: str = "* * * * *", command: str = "send", **more: object) -> Cron:
    return Cron(at, command, 60.0, timezone="Europe/Berlin", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("at", "night", "expected"),
    [
        (
            "30 2 * * *",
            SPRING,
            ["28 01:30", "29 01:00", "30 00:30"],
        ),  # 2:30 does not come: right after the change
        ("30 2 * * *", AUTUMN, ["24 00:30", "25 00:30", "26 01:30"]),  # it comes twice
        ("0 2,3 * * *", SPRING, ["28 01:00", "28 02:00", "29 01:00", "30 00:00", "30 01:00"]),
        ("15 */12 * * *", AUTUMN, ["23 22:15", "24 10:15", "24 22:15", "25 11:15", "25 23:15", "26 11:15"]),
    ],
)
def test_a_time_that_does_not_come_or_comes_twice_is_due_once(
    at: str, night: str, expected: list[str]
) -> None:
    day = datetime.fromisoformat(night).replace(tzinfo=BERLIN)
    first, last = (day + timedelta(days=days) for days in (-1, 2))
    found = [*due_times(cron(at), BERLIN, after=first.timestamp() - 1, until=last.timestamp())]
    assert shown(found) == expected
    for at_once in range(0, 3 * 86_400, 1800):  # from wherever one looks
        since = first.timestamp() + at_once
        assert [*due_times(cron(at), BERLIN, after=since, until=last.timestamp())] == [
            t for t in found if t > since
        ]


@pytest.mark.parametrize("night", [SPRING, AUTUMN])
def test_what_is_due_every_few_minutes_is_so_through_both_nights(night: str) -> None:
    begin = utc(night)
    for at in ("*/10 * * * *", "0,10,20,30,40,50 * * * *"):
        found = [*due_times(cron(at), BERLIN, after=begin, until=begin + 3 * 3600)]
        assert found == [begin + 600 * number for number in range(1, 19)]


class Scheduler:
    """That of a shop, which has run since `began`; every claim is carried out at once."""

    def __init__(self, shop: Shop, began: str, **crons_of_it: Cron) -> None:
        self.shop = shop
        self.at(utc(began))
        self.deploy(**crons_of_it)

    def at(self, now: float) -> None:
        self.shop.world.clock.time = now - 1_000_000

    @property
    def now(self) -> float:
        return self.shop.host.clock.now()

    def deploy(self, **crons_of_it: Cron) -> None:
        self.shop.change(crons=crons_of_it)
        took = self.now
        deploy(self.shop.host, self.shop.app, f"v{took}")
        self.at(took + 0.5)

    def look(self, *, seconds: float = 0.0) -> list[str]:
        """What begins after `seconds`."""
        self.at(self.now + seconds)
        claimed = scheduling.claim_due(self.shop.host)
        for run in claimed:
            scheduling.carry_on(self.shop.host, self.shop.app, run)
        return [f"{run.cron} {run.slot} {shown([run.due or 0])[0]}" for run in claimed]

    def until(self, end: str) -> list[str]:
        """What begins until then, looked at every 20 seconds."""
        found = []
        while self.now < utc(end):
            found += self.look(seconds=20)
        return found

    def history(self) -> list[str]:
        runs = self.shop.host.journal.past_runs("shop", cron=True)
        return [f"{run.cron} {run.outcome} {shown([run.due or 0])[0]}" for run in reversed(runs)]

    def log(self, name: str = "digest") -> str:
        return scheduling.log_of(self.shop.host, "shop", name).read_text()


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    for slot in SlotName:
        (tmp_path / f"shop_{slot}").mkdir()
    return make_shop(tmp_path)


def begun(shop: Shop, now: str, **crons_of_it: Cron) -> Scheduler:
    return Scheduler(shop, now, **crons_of_it)


@pytest.mark.parametrize(
    ("night", "expected"), [(SPRING, "digest a 29 01:00"), (AUTUMN, "digest a 25 00:30")]
)
def test_in_the_nights_of_the_change_it_runs_once(shop: Shop, night: str, expected: str) -> None:
    scheduler = begun(shop, f"{night}T00:10:00", digest=cron("30 2 * * *"))
    assert scheduler.until(f"{night}T03:00:00") == [expected]
    assert scheduler.history() == [expected.replace(" a ", " succeeded ")]


def test_each_minute_runs_once_however_often_and_by_whomever_it_is_looked_at(shop: Shop) -> None:
    scheduler = begun(shop, "2026-05-01T10:00:00", digest=cron())
    assert scheduler.look() == []  # it was not yet live when this minute began
    assert scheduler.look(seconds=60) == ["digest a 01 10:01"]
    assert scheduler.look() == scheduler.look(seconds=30) == []
    assert scheduler.look(seconds=30) == ["digest a 01 10:02"]


def test_a_clock_that_is_set_back_runs_nothing_twice_and_one_set_wrong_by_years_stops_nothing(
    shop: Shop,
) -> None:
    scheduler = begun(shop, "2026-05-01T10:00:00", digest=cron())
    assert len(scheduler.until("2026-05-01T10:10:05")) == 10
    scheduler.at(utc("2026-05-01T10:03:30"))
    assert scheduler.until("2026-05-01T10:11:30") == ["digest a 01 10:11"]
    scheduler.at(utc("2036-01-01T00:00:10"))
    assert scheduler.look() == ["digest a 01 00:00"]
    scheduler.at(utc("2026-05-01T10:12:10"))
    assert scheduler.look() == ["digest a 01 10:12"]


def test_what_was_due_while_nobody_was_there_is_told_and_not_run_late(shop: Shop) -> None:
    scheduler = begun(shop, "2026-05-01T10:00:00", digest=cron("0 * * * *"), tidy=cron("0 6 * * *"))
    assert scheduler.look(seconds=3 * 3600 + 55) == ["digest a 01 13:00"]
    assert scheduler.history() == [
        "digest missed 01 11:00",
        "digest missed 01 12:00",
        "digest succeeded 01 13:00",
    ]
    assert "missed 2 runs, the first at " in scheduler.log()
    assert scheduler.look(seconds=10) == []  # told once, and too late for 13:00
    scheduler.at(utc("2026-05-09T04:01:30"))  # a week later, no longer than a day is told of
    assert scheduler.look() == []
    told = scheduler.history()[3:]
    assert (told[0], len(told)) == ("digest missed 08 05:00", 25)
    assert told[-1] == "tidy missed 09 04:00"
    assert "missed a run at " in scheduler.log("tidy")


def test_across_a_switch_each_time_runs_once_and_in_what_is_live(shop: Shop) -> None:
    scheduler = begun(shop, "2026-05-01T10:00:00", digest=cron())
    assert scheduler.look(seconds=60) == ["digest a 01 10:01"]
    scheduler.deploy(digest=cron())
    assert scheduler.look() == []
    scheduler.at(utc("2026-05-01T10:01:59"))
    scheduler.deploy(digest=cron())  # its time comes while it is deployed, and is run in the new version
    assert scheduler.look(seconds=2) == ["digest a 01 10:02"]
    rollback(shop.host, shop.app)
    scheduler.at(utc("2026-05-01T10:03:00"))
    assert scheduler.look() == ["digest b 01 10:03"]


def test_what_is_new_in_a_version_was_not_missed_before_it(shop: Shop) -> None:
    scheduler = begun(shop, "2026-05-01T10:00:00", digest=cron("0 * * * *"))
    assert scheduler.look(seconds=3600) == ["digest a 01 11:00"]
    scheduler.at(utc("2026-05-01T11:30:00"))
    scheduler.deploy(digest=cron("*/5 * * * *"), tidy=cron())
    assert scheduler.look() == []
    assert scheduler.history() == ["digest succeeded 01 11:00"]
    scheduler.at(utc("2026-05-01T11:35:00"))
    assert scheduler.look() == ["digest b 01 11:35", "tidy b 01 11:35"]
    rollback(shop.host, shop.app)
    assert scheduler.until("2026-05-01T12:10:30") == ["digest a 01 12:00"]


def test_a_time_that_comes_in_the_moment_of_the_commit_is_claimed_for_what_is_live_then(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    scheduler = begun(shop, "2026-05-01T10:00:00", digest=cron())
    begin, journal = shop.host.journal.begin_run, shop.host.journal

    def commit_first(run: RunRecord, *, live: bool = False) -> int | None:
        if journal.app("shop").live is SlotName.A:
            scheduler.deploy(digest=cron(command="new"))
        return begin(run, live=live)

    monkeypatch.setattr(journal, "begin_run", commit_first)
    assert scheduler.look(seconds=60) == ["digest b 01 10:01"]
    assert "run /bin/sh -c new in shop_b" in shop.world.log


def test_while_one_runs_the_next_is_skipped_and_that_is_told(shop: Shop) -> None:
    scheduler = begun(shop, "2026-05-01T10:00:00", digest=cron(), many=cron(overlap=True))
    scheduler.at(utc("2026-05-01T10:01:00"))
    for run in scheduling.claim_due(shop.host):
        shop.world.running[f"sleep {run.cron}"] = process = Process(5000 + run.id, 1, "boot")
        shop.host.journal.run_started(run.id, process)
    assert scheduler.look(seconds=60) == ["many a 01 10:02"]
    assert scheduler.history()[2:] == ["digest skipped 01 10:02", "many succeeded 01 10:02"]
    assert "skipped at " in scheduler.log()
    assert "still runs" in scheduler.log()
    shop.world.running = {
        name: one for name, one in shop.world.running.items() if not name.startswith("sleep")
    }
    assert scheduler.look(seconds=60) == ["digest a 01 10:03", "many a 01 10:03"]
    assert scheduler.history()[:2] == ["digest lost 01 10:01", "many lost 01 10:01"]


def test_what_is_paused_does_not_run_and_is_not_missed(shop: Shop) -> None:
    scheduler = begun(shop, "2026-05-01T10:00:00", digest=cron(), tidy=cron())
    crons.pause(shop.host, [shop.app], "digest")
    assert scheduler.look(seconds=60) == ["tidy a 01 10:01"]
    crons.pause(shop.host, [shop.app], None)
    assert scheduler.look(seconds=60) == []
    with pytest.raises(UsageError, match="All crons of shop are paused by ada"):
        crons.resume(shop.host, [shop.app], "digest")
    assert scheduler.look(seconds=60) == []
    document = crons.listed(shop.host, [shop.app])
    lines = list(cron_lines(document, lambda text, _: text, with_app=False))
    assert [line.partition(" by")[0] for line in lines if "paused by" in line] == [
        "All crons of shop: paused"
    ]
    crons.resume(shop.host, [shop.app], None)
    assert scheduler.look() == []
    assert scheduler.look(seconds=60) == ["digest a 01 10:04", "tidy a 01 10:04"]
    assert "missed" not in "".join(scheduler.history())
    with pytest.raises(UsageError, match="shop has no cron 'x'"):
        crons.pause(shop.host, [shop.app], "x")


def test_what_is_wrong_with_a_run_is_in_its_log_and_in_the_history(shop: Shop) -> None:
    shop.change(secrets={"sources": {"KEY": SecretSource("pass")}})
    scheduler = begun(shop, "2026-05-01T10:00:00", digest=cron())
    shop.world.build_status = 3
    scheduler.look(seconds=60)
    assert "cron digest of shop failed with exit status 3." in scheduler.log()

    def refuse(*_: object) -> str:
        raise SecretError("Nobody is signed in.")

    object.__setattr__(shop.host, "secret", refuse)
    shop.host.kept_secrets("shop_a").unlink()
    scheduler.look(seconds=60)
    assert "could not be run. The secret KEY of shop cannot be read: Nobody is signed in." in scheduler.log()
    assert scheduler.history() == ["digest failed 01 10:01", "digest failed 01 10:02"]


def test_it_runs_at_once_where_somebody_wants_it(shop: Shop) -> None:
    scheduler = begun(shop, "2026-05-01T10:00:00", digest=cron("0 6 * * *"))
    shop.world.build_status = 7
    assert crons.run_now(shop.host, shop.app, "digest") == 7
    (run,) = shop.host.journal.past_runs("shop", cron=True)
    assert (run.outcome, run.status, run.user, run.due) == ("failed", 7, "ada", None)
    number = shop.host.journal.begin_run(crons.find(shop.host, shop.app, "digest").run(scheduler.now, None))
    shop.world.running["sleep"] = Process(5000, 1, "boot")
    shop.host.journal.run_started(number or 0, shop.world.running["sleep"])
    with pytest.raises(LockedError, match="cron digest of shop runs already"):
        crons.run_now(shop.host, shop.app, "digest")


def test_old_runs_are_forgotten_but_the_latest_of_each_cron(shop: Shop) -> None:
    scheduler = begun(shop, "2026-05-01T10:00:00", digest=cron(), yearly=cron("1 12 1 5 *"))
    scheduler.until("2026-05-01T12:01:05")
    assert len(scheduler.history()) == 122
    shop.change(crons={})
    scheduler.at(utc("2026-05-20T10:00:00"))
    deploy(shop.host, shop.app, "v2")
    scheduler.look()
    assert len(scheduler.history()) == 101


# -- the scheduler itself --------------------------------------------------------------------------


def scheduled(shop: Shop) -> bool:
    return "scheduler" in shop.world.running


def test_the_scheduler_runs_where_a_live_version_has_crons_and_nowhere_else(shop: Shop) -> None:
    scheduler = begun(shop, "2026-05-01T10:00:00")
    assert not scheduled(shop)
    scheduler.deploy(digest=cron())
    first = shop.world.running["scheduler"]
    scheduler.deploy(digest=cron("@daily"))
    assert shop.world.running["scheduler"] == first
    manual.stop(shop.host, {"shop": shop.app}, "shop_a", force=True)
    assert not scheduled(shop)
    assert scheduler.look(seconds=60) == []
    root.up(shop.host, [shop.app])
    assert not scheduled(shop)
    scheduler.deploy(digest=cron())
    assert scheduled(shop)
    root.down(shop.host, [shop.app], everything=False)
    assert not scheduled(shop)
    assert scheduler.look(seconds=60) == []
    root.up(shop.host, [shop.app])
    assert scheduled(shop)
    scheduler.deploy()
    assert not scheduled(shop)


def test_a_scheduler_of_another_substitute_is_replaced(shop: Shop) -> None:
    scheduler = begun(shop, "2026-05-01T10:00:00", digest=cron())
    first = shop.world.running["scheduler"]
    shop.host.journal.remember("scheduler", "0.0.9 python -m substitute.scheduler")
    root.up(shop.host, [shop.app])
    assert shop.world.running["scheduler"] not in {None, first}
    del scheduler


def test_that_it_cannot_be_started_fails_no_deployment_and_is_told(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = shop.host.runtime.start

    def refuse(program: object) -> object:
        if getattr(program, "name", "") == "scheduler":
            raise RuntimeFailedError("No room.")
        return start(program)  # type: ignore[arg-type]

    monkeypatch.setattr(shop.host.runtime, "start", refuse)
    shop.change(crons={"digest": cron()})
    deploy(shop.host, shop.app, "v1")
    assert "No room." in "".join(getattr(event, "message", "") for event in shop.events)
    settled = settle(shop.host, shop.app)
    assert settled.live is SlotName.A
    assert "The scheduler of the crons could not be brought in order. No room." in settled.missing
