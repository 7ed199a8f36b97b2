"""`check` and `drill` on one host after the other: while one is disturbed, the others are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from substitute.hosts.asking import at_once
from substitute.hosts.choosing import choose
from substitute.hosts.errors import HostError
from substitute.hosts.outcomes import Outcome, State, not_begun
from substitute.values import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Sequence

    from substitute.hosts.asking import There
    from substitute.hosts.channel import RemoteHost
    from substitute.hosts.crew import Crew, Show


@dataclass(frozen=True)
class InTurn:
    """One app on several hosts."""

    there: There
    crew: Crew
    show: Show
    hosts: Sequence[RemoteHost]
    app: str

    def check(self, commit: str | None, options: Sequence[str]) -> list[Outcome]:
        """Check the same commit on each. One that fails, or cannot be reached, keeps no other from its check."""
        outcomes: list[Outcome] = []
        chosen = None
        for host in self.hosts:
            try:
                with self.crew.asking():
                    chosen = str(choose(self.there, host, self.app, commit, options)["commit"])
                break
            except HostError as error:
                outcomes.append(not_begun(host.name, error))
        left = self.hosts[len(outcomes) :]
        words = ["check", *filter(None, [chosen]), "-a", self.app, *options]
        return [*outcomes, *self._each("check", [words] * len(left), left, chosen)]

    def drill(self, operation: str | None, commit: str | None, options: Sequence[str]) -> list[Outcome]:
        """Hold the drill on each. With an operation it is a rollout: none begins after one that has failed.

        Where one cannot be asked, nothing begins anywhere. The release of a deployment is run on the first host.
        """
        with self.crew.asking():
            answers = at_once(self.hosts, lambda host: self.there.ask(host, ["status", "-a", self.app]))
        errors = {name: one for name, one in answers.items() if isinstance(one, HostError)}
        if operation == "deploy" and not errors:
            try:
                with self.crew.asking():
                    commit = str(choose(self.there, self.hosts[0], self.app, commit, options)["commit"])
            except HostError as error:
                errors = {self.hosts[0].name: error}
        if errors:
            return [
                not_begun(host.name, errors[host.name])
                if host.name in errors
                else Outcome(host.name, State.NOT_BEGUN)
                for host in self.hosts
            ]
        words = ["drill", *filter(None, [operation, commit]), "-a", self.app, *options]
        others = [*words, *(["--skip-release"] if operation == "deploy" else [])]
        all_words = [words, *[others] * (len(self.hosts) - 1)]
        return self._each("drill", all_words, self.hosts, commit, stops=operation is not None)

    def _each(
        self,
        command: str,
        words: Sequence[Sequence[str]],
        hosts: Sequence[RemoteHost],
        commit: str | None,
        *,
        stops: bool = False,
    ) -> list[Outcome]:
        """One after the other; where it `stops`, none after one that has failed."""
        batches = [[host.name] for host in hosts]
        if hosts:
            self.show(
                {
                    "event": "rollout",
                    "operation": command,
                    "app": self.app,
                    "commit": commit,
                    "batches": batches,
                }
            )
        outcomes: list[Outcome] = []
        for host, each in zip(hosts, words, strict=True):
            if self.crew.was_interrupted or (stops and not all(one.state.is_good for one in outcomes)):
                outcomes.append(Outcome(host.name, State.NOT_BEGUN))
            else:
                found = self.crew.carry_out([(host, each)], app=self.app)
                outcomes += [replace(one, reason=one.reason or _why(one)) for one in found]
        return outcomes


def _why(outcome: Outcome) -> str:
    """Why it is not good, by the document of the check or the drill."""
    found = outcome.result
    if outcome.state is not State.FAILED or not isinstance(found, dict):
        return ""
    if "checks" in found:
        bad = sum(one["passed"] is False for one in found["checks"])
        return f"{bad} of {len(found['checks'])} checks failed." if bad else "Not all is proven."
    return str(found["reason"] or f"{found['failed']:,} of {found['requests']:,} requests failed.")
