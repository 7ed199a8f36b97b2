"""Two edges of one cluster: whoever dies when, both come to one truth, and nobody stops what the other one needs."""

from __future__ import annotations

import gc
import os
from itertools import count
from typing import TYPE_CHECKING

import pytest

from substitute.core.deploy.deployment import deploy
from substitute.core.model.errors import LockedError
from substitute.core.model.records import Hold
from substitute.core.model.slots import SlotName
from substitute.core.ports.source import Revision
from substitute.core.state.journal import Journal
from tests.unit.model.operator import Operator
from tests.unit.world.apps import make_app
from tests.unit.world.edges import LEFT, LIFE, RIGHT, of_a_cluster, other
from tests.unit.world.mishaps import Mishap, What
from tests.unit.world.world import World

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.unit.world.edges import Both

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # who is killed closes no file
    pytest.mark.timeout(600),
]

EVERY = int(os.environ.get("EVERY", "15"))
"""Which moments are tried: 1 is each."""


@pytest.fixture(autouse=True)
def buried() -> Iterator[None]:
    """The dead are collected with the test that killed them, and not in the middle of another one."""
    yield
    gc.collect()


COMMANDS = ("deploy", "deploy of a bad version", "rollback", "up")


class Typed:
    """Two edges, and who types on either."""

    def __init__(self) -> None:
        self.world = World()
        of_a_cluster(self.world)
        assert self.world.edges
        self.both: Both = self.world.edges
        self.operator = Operator(self.world)

    def on(self, edge: str) -> Operator:
        self.both.go_to(edge)
        return self.operator

    def live(self, edge: str) -> tuple[str | None, str | None]:
        """Which slot is live by the journal of an edge, and what it holds."""
        self.both.go_to(edge)
        record = self.world.record("shop")
        return record.live, record.live_slot.commit if record.live_slot else None

    def converge(self) -> None:
        """Each looks around twice, and then one truth is known to both, and served by both."""
        for edge in (LEFT, RIGHT) * 2:
            self.both.go_to(edge)
            self.both.look_around()
        assert self.live(LEFT) == self.live(RIGHT), self.world.story()
        for edge in (LEFT, RIGHT):
            self.both.go_to(edge)
            assert self.world.serves("shop"), self.world.story()
            self.operator.hold_to_settled("shop")
        assert not self.world.wrongs, self.world.story()


@pytest.fixture
def typed() -> Iterator[Typed]:
    made = begun()
    yield made
    made.world.close()


def begun() -> Typed:
    """Versions v1 and v2 were deployed on the left, and v2 is live."""
    made = Typed()
    made.on(LEFT).deploy("shop", "v1")
    made.on(RIGHT).up()
    made.on(LEFT).deploy("shop", "v2")
    made.both.power_on()
    return made


def test_the_other_edge_follows_and_deploys_and_is_followed(typed: Typed) -> None:
    typed.converge()
    assert typed.live(RIGHT)[1] == "v2", typed.world.story()
    typed.on(RIGHT).deploy("shop", "v1")
    typed.converge()
    assert typed.live(LEFT)[1] == "v1"
    typed.on(LEFT).rollback("shop")
    typed.converge()
    assert typed.live(RIGHT)[1] == "v2", typed.world.story()


def test_a_command_follows_before_it_does_anything_else(typed: Typed) -> None:
    """Though its edge has not looked around since."""
    typed.both.cluster.off_since[RIGHT] = typed.world.clock.time
    typed.on(LEFT).deploy("shop", "v3")
    typed.both.power_on()
    typed.on(RIGHT).deploy("shop", "v1")
    history = [one.commit for one in typed.world.journal.history("shop")]
    assert history == ["v1", "v3", "v2", "v1"]
    typed.converge()


def test_two_edges_do_not_work_on_an_app_at_once(typed: Typed) -> None:
    typed.both.cluster.holders["shop"] = LEFT
    typed.both.go_to(RIGHT)
    with pytest.raises(LockedError, match="left"):
        deploy(typed.world.host, typed.world.apps["shop"], "v3")


def test_what_a_dead_edge_had_not_told_does_not_count_when_it_is_back(typed: Typed) -> None:
    typed.both.go_to(RIGHT)
    typed.both.cluster.holders["shop"] = RIGHT
    typed.world.journal.stop_by_hand("shop", stopped=True)
    typed.both.power_off()
    typed.world.clock.sleep(LIFE)
    typed.both.look_around()
    typed.both.power_on()
    typed.both.go_to(RIGHT)
    typed.both.look_around()
    typed.converge()


def test_a_release_that_a_dead_edge_had_begun_is_known_to_the_other_one() -> None:
    for at in count(20):
        typed = begun()
        outcome = typed.on(RIGHT).deploy("shop", "v3", Mishap(What.KILL, at))
        assert outcome.killed
        if "v3" in typed.world.rules.releases.values():
            break
        typed.world.close()
    typed.both.power_off()
    typed.world.clock.sleep(LIFE)
    typed.both.look_around()
    (known,) = (one for one in typed.world.journal.history("shop") if one.commit == "v3")
    assert (known.outcome, known.release_outcome) == ("interrupted", "interrupted")
    typed.world.close()


def test_a_number_that_is_another_apps_here_is_not_taken_from_it(tmp_path: Path) -> None:
    journals = [Journal(tmp_path / name) for name in (LEFT, RIGHT)]
    apps = {name: make_app(tmp_path, name) for name in ("shop", "blog")}
    for journal, name in zip(journals, apps, strict=True):
        for app in apps.values():
            journal.register(app)
        number = journal.begin(
            name, SlotName.A, "deploy", revision=Revision(f"of {name}", "", ""), previous=None, now=5.0
        )
        journal.hold(name, Hold(SlotName.A, number, 99.0, "token"), now=6.0)
    left, right = journals
    right.follow("shop", "word", left.state("shop"))
    assert [one.commit for one in right.history("blog")] == ["of blog"]
    (told,) = right.history("shop")
    hold = right.app("shop").hold
    assert hold
    assert (told.commit, hold.deployment, hold.token) == ("of shop", told.id, "token")
    right.follow("shop", "another word", left.state("shop"))
    assert len(right.history("shop")) == 1
    for journal in journals:
        journal.close()


@pytest.mark.parametrize(("edge", "dies"), [(RIGHT, "the edge"), (LEFT, "the deployer")])
@pytest.mark.parametrize("command", COMMANDS)
def test_who_dies_at_any_deed_leaves_nothing_to_repair(edge: str, command: str, dies: str) -> None:
    for at in count(1 + 4 * COMMANDS.index(command) % EVERY, EVERY):
        typed = begun()
        operator, mishap = typed.on(edge), Mishap(What.KILL, at)
        outcome = {
            "deploy": lambda o=operator, m=mishap: o.deploy("shop", "v3", m),
            "deploy of a bad version": lambda o=operator, m=mishap: o.deploy("shop", "sick", m),
            "rollback": lambda o=operator, m=mishap: o.rollback("shop", m),
            "up": lambda o=operator, m=mishap: o.up(m),
        }[command]()
        if outcome.killed and dies == "the edge":
            typed.both.power_off()
            typed.world.clock.sleep(LIFE)
            typed.both.look_around()
            assert typed.world.serves("shop"), typed.world.story()
            typed.on(other(edge)).deploy("shop", "v1")
            typed.both.power_on()
            typed.on(edge).up()
            assert typed.live(edge)[1] == "v1", typed.world.story()
        typed.converge()
        typed.on(other(edge)).deploy("shop", "v2")
        typed.converge()
        typed.world.close()
        if not outcome.killed:
            break
    assert at > EVERY or command == "up"


def test_whatever_fails_both_come_to_one_truth() -> None:
    for at in count(1, EVERY):
        typed = begun()
        outcome = typed.on(RIGHT).deploy("shop", "v3", Mishap(What.FAIL, at))
        typed.on(RIGHT).up()
        typed.converge()
        typed.world.close()
        if not outcome.disturbed:
            break
    assert at > 1
