"""A canary: clients come to the candidate step by step, and a judge compares what both versions answer."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

from substitute.core.deploy.crashes import MANY, CrashWatch
from substitute.core.deploy.readiness.readiness import Watch
from substitute.core.judge.client_counts import ClientCounts
from substitute.core.judge.judge import Judge
from substitute.core.judge.verdict import End
from substitute.core.model.errors import WorseError
from substitute.core.model.events import Compared, Judged, Notice, Seen, Stepped, Warned
from substitute.core.model.slots import Phase

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from substitute.core.deploy.attempt import Attempt
    from substitute.core.deploy.readiness.started import Started
    from substitute.core.judge.verdict import Numbers, Verdict
    from substitute.core.model.app_settings import CanaryStep
    from substitute.core.ports.access_log import Answers

_LOOK = 2.0
"""Seconds from one look to the next."""
_TOLD = 10.0
"""Seconds from one line on the screen to the next."""


def canary(attempt: Attempt, started: Sequence[Started]) -> None:
    """Have the candidate meet a growing share of the clients. Raises WorseError, and NotReadyError where it fails."""
    app = attempt.app
    log = attempt.host.balancer.access_log(app.name) if app.canary.judge else None
    with attempt.phase(Phase.CANARY), log.follow() if log else nullcontext() as answers, _synthetic(attempt):
        course = _Course(attempt, started, answers)
        for step in app.canary.steps:
            course.take(step)
        if answers:
            course.end()


def _synthetic(attempt: Attempt) -> AbstractContextManager[object]:
    """Requests besides those of clients, where the app asks for any."""
    host, app = attempt.host, attempt.app
    paths, fronts = app.health.warm, host.balancer.fronts()
    if not app.canary.synthetic:
        return nullcontext()
    if not paths or not fronts:
        attempt.emit(
            Notice(f"app.{app.name}.canary.synthetic has no page to ask for: health.warm names none.")
        )
        return nullcontext()
    address, _, port = fronts[0].rpartition(":")
    front = f"{'127.0.0.1' if address in {'*', '0.0.0.0', '[::]'} else address}:{port}"  # noqa: S104
    name = next((one for one in app.domains if "*" not in one), app.health.host)
    return host.load.flowing(
        front,
        headers={**({"Host": name} if name else {}), **app.health.headers},
        paths=paths,
        rate=app.canary.synthetic,
        directory=host.root / "deploy" / "run",
        tell=lambda what: attempt.emit(
            Notice(f"The requests of app.{app.name}.canary.synthetic tell nothing of some pages: {what}.")
        ),
    )


class _Course:
    """One canary, from its first step to its last."""

    def __init__(self, attempt: Attempt, started: Sequence[Started], answers: Answers | None) -> None:
        self._attempt, self._answers = attempt, answers
        self._host, self._app, self._slot = attempt.host, attempt.app, attempt.plan.slot
        self._watch = Watch(attempt.host, attempt.slot, started)
        self._workers = CrashWatch(attempt.host, attempt.slot.others)
        self._gathering, self._judge = ClientCounts(), Judge()
        self._told = self._host.clock.monotonic()
        self._before = (0, 0)
        """Requests of the live version and of the candidate when it was last told how it goes."""

    def take(self, step: CanaryStep) -> None:
        """Give the candidate its share for so long, and look at it meanwhile."""
        now = self._host.clock.monotonic
        self._host.route(self._app.name, {self._slot: step.share, self._slot.other: 100 - step.share})
        self._attempt.emit(Stepped(self._app.name, self._slot, step.share, step.seconds))
        until = now() + step.seconds
        while (left := until - now()) > 0:
            self._look(min(_LOOK, left))
            left = max(0.0, until - now())
            if now() - self._told >= _TOLD or not left:
                self._tell(step.share, left)
            if self._judge.worse:
                self._end(self._judge.verdict())

    def end(self) -> None:
        """Say what is known at the end of the last step."""
        self._end(self._judge.verdict())

    def _look(self, seconds: float) -> None:
        if self._answers is None:
            self._host.clock.sleep(seconds)
        else:
            for one in self._answers.take(seconds):
                if one.slot is not None and not one.chosen:
                    self._gathering.add(
                        candidate=one.slot is self._slot,
                        client=one.client,
                        new=one.new,
                        failed=one.failed,
                        seconds=one.seconds,
                    )
            self._judge.look(self._gathering.block())
            self._note(_plain(self._judge.verdict()))  # for `history`, where the canary is interrupted
        self._watch.look()
        for worker in self._workers.look():
            told = f"{worker.subject} has ended {MANY} times within a minute. See {worker.logs}."
            self._attempt.emit(Warned(told))
            self._remark(told)

    def _tell(self, share: int, left: float) -> None:
        verdict, now = self._judge.verdict(), self._host.clock.monotonic()
        passed, self._told = max(now - self._told, 0.001), now
        both = (verdict.live, verdict.candidate)
        live, candidate = (_seen(one, before, passed) for one, before in zip(both, self._before, strict=True))
        self._before = (verdict.live.requests, verdict.candidate.requests)
        self._attempt.emit(Compared(self._app.name, self._slot, share, round(left, 1), live, candidate))

    def _note(self, plain: dict[str, object]) -> None:
        self._attempt.note(lambda: self._host.journal.judged(self._attempt.id or 0, plain))

    def _remark(self, told: str) -> None:
        self._attempt.remark = "\n".join(filter(None, [self._attempt.remark, told]))

    def _end(self, verdict: Verdict) -> None:
        plain = _plain(verdict)
        self._note(plain)
        told = f"Compared with the live version: {verdict.sentence}."
        self._remark(told)
        self._attempt.emit(Judged(self._app.name, self._slot, told, plain))
        if verdict.end is End.WORSE:
            raise WorseError("The canary was stopped.", fact=told, cure=f"See {self._attempt.slot.logs}.")
        if verdict.end is End.TOO_LITTLE and self._app.canary.needs_traffic:
            raise WorseError(
                "The canary did not show that the new version is no worse.",
                fact=told,
                cure="Make its steps longer or larger, or set "
                f'app.{self._app.name}.canary.on_little_traffic = "go-on".',
            )


def _seen(numbers: Numbers, before: int, seconds: float) -> Seen:
    rate = round((numbers.requests - before) / seconds, 1)
    return Seen(numbers.requests, numbers.failures, rate, numbers.p95)


def _plain(verdict: Verdict) -> dict[str, object]:
    """As JSON has it."""
    return {
        "end": verdict.end.value,
        "sentence": verdict.sentence,
        "evidence": float(f"{min(verdict.evidence, 1e12):.3g}"),
        "level": verdict.level,
        "live": _numbers(verdict.live),
        "candidate": _numbers(verdict.candidate),
    }


def _numbers(one: Numbers) -> dict[str, object]:
    return {
        "requests": one.requests,
        "failures": one.failures,
        "clients_failing": one.failing,
        "p50": one.p50,
        "p95": one.p95,
    }
