"""Deploy, restart and rollback on many hosts, told as a story.

    ask all; choose the commit, on the first host; first host alone, where it has something to try or to release;
    batch after batch, until one fails; say what is where

Each host does the whole of it by itself, and settles by itself. Nothing is kept here: `resume` asks what is where.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from substitute.core.model.errors import UsageError
from substitute.hosts.aftermath import live_of
from substitute.hosts.archives import brought
from substitute.hosts.asking import at_once
from substitute.hosts.choosing import choose
from substitute.hosts.errors import HostError, RefusedError
from substitute.hosts.fleet import batches
from substitute.hosts.outcomes import Outcome, State, not_begun
from substitute.values import dataclass, replace

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from substitute.config.models.hosts import HostsConfig
    from substitute.hosts.asking import There
    from substitute.hosts.channel import RemoteHost
    from substitute.hosts.crew import Crew, Show

    Answers = Mapping[str, Any]

SKIP_RELEASE = "--skip-release"


@dataclass(frozen=True)
class Rollout:
    """One app on many hosts."""

    there: There
    crew: Crew
    show: Show
    config: HostsConfig
    hosts: Sequence[RemoteHost]
    app: str
    batch: str
    waits: bool = False
    """Whether hosts that are locked, or where somebody else is at work, are waited for (``--wait``)."""

    def deploy_archive(self, archive: Path, options: Sequence[str], *, resume: bool = False) -> list[Outcome]:
        """The same with an archive that is here, and is brought to the hosts."""
        answers = self._ask(["status", "-a", self.app])
        if why := self._stand_in_the_way(answers):
            return why
        with brought(self.there, self.hosts, archive) as (place, errors):
            return (
                self._not_begun(errors)
                if errors
                else self.deploy(place, options, resume=resume, is_file=True)
            )

    def deploy(
        self, commit: str | None, options: Sequence[str], *, resume: bool = False, is_file: bool = False
    ) -> list[Outcome]:
        """Make `commit` (default: the newest of the branch, as the first host sees it) live on each host.

        With `resume` that is the one of the latest deployment on any of them, and a host where it is live is left
        alone. Raises UsageError where that cannot be told.
        """
        answers = self._ask(["status", "-a", self.app])
        if why := self._stand_in_the_way(answers):
            return why
        past = self._ask(["history", "-a", self.app]) if resume else {}
        if errors := _errors(past):
            return self._not_begun(errors)
        latest = _latest(past, self.app) if resume and not commit else {}
        try:
            chosen = self._choose(commit or latest.get("commit"), options)
        except HostError as error:
            return self._not_begun({self.hosts[0].name: error})
        typed, commit = commit if is_file else None, str(chosen["commit"])
        has_released = _has_released(past, commit)
        done = [host for host in self.hosts if resume and _is_live(answers[host.name], self.app, commit)]
        left = [host for host in self.hosts if host not in done]
        first = self._first(left, releases=bool(chosen["may_release"]) and not has_released)
        tag = chosen["tag"] or latest.get("tag")  # no host can tell it by the digest of an image
        words = ["deploy", typed or commit, "-a", self.app, *options, *(["--tag", str(tag)] if tag else [])]
        outcomes = [self._left_alone(host, answers) for host in done]
        return self._in_batches(
            "deploy", words, left, outcomes, first=first, commit=commit, released=has_released or bool(done)
        )

    def restart(self, options: Sequence[str], *, command: str = "restart") -> list[Outcome]:
        """Restart the app, or promote what is held, on each host, in batches."""
        if why := self._stand_in_the_way(self._ask(["status", "-a", self.app])):
            return why
        first = self._first(self.hosts, releases=False)
        return self._in_batches(command, [command, "-a", self.app, *options], self.hosts, [], first=first)

    def rollback(self, commit: str | None, options: Sequence[str]) -> list[Outcome]:
        """Go back on all hosts at once, to one and the same commit. A host that cannot be asked keeps nobody from it.

        Raises UsageError where it is not clear to which.
        """
        answers = self._ask(["status", "-a", self.app])
        asked = [host for host in self.hosts if not isinstance(answers[host.name], HostError)]
        outcomes = [not_begun(host.name, answers[host.name]) for host in self.hosts if host not in asked]
        if not asked:
            return outcomes
        target = commit or _target({host.name: answers[host.name] for host in asked}, self.app)
        back = [host for host in asked if not _is_live(answers[host.name], self.app, target)]
        outcomes += [self._left_alone(host, answers) for host in asked if host not in back]
        self.show(self._began("rollback", [tuple(back)] if back else [], target))
        work = [(host, ["rollback", target, "-a", self.app, *options]) for host in back]
        return self._in_order([*outcomes, *self.crew.carry_out(work, app=self.app)])

    def _ask(self, words: Sequence[str]) -> Answers:
        with self.crew.asking():
            return at_once(self.hosts, lambda host: self.there.ask(host, words))

    def _choose(self, commit: str | None, options: Sequence[str]) -> dict[str, Any]:
        with self.crew.asking():
            return choose(self.there, self.hosts[0], self.app, commit, options)

    def _first(self, hosts: Sequence[RemoteHost], *, releases: bool) -> str | None:
        """The host that is alone before all others."""
        names = [host.name for host in hosts]
        if self.config.canary_host in names:
            return self.config.canary_host
        return names[0] if releases and names else None

    def _in_batches(
        self,
        command: str,
        words: Sequence[str],
        hosts: Sequence[RemoteHost],
        outcomes: list[Outcome],
        *,
        first: str | None,
        commit: str | None = None,
        released: bool = False,
    ) -> list[Outcome]:
        """One batch after the other, until one has failed; only the first host of all runs the release."""
        planned = batches(hosts, self.batch, first=first)
        self.show(self._began(command, planned, commit))
        stopped = False
        for number, batch in enumerate(planned, 1):
            if stopped or self.crew.was_interrupted:
                outcomes += [Outcome(host.name, State.NOT_BEGUN) for host in batch]
                continue
            if len(planned) > 1:
                names = [host.name for host in batch]
                self.show({"event": "batch", "number": number, "of": len(planned), "hosts": names})
            skips = [SKIP_RELEASE] if command == "deploy" and released else []
            found = self.crew.carry_out([(host, [*words, *skips]) for host in batch], app=self.app)
            outcomes += found
            stopped = not all(one.state.is_good for one in found)
            released = True
        return self._in_order(outcomes)

    def _stand_in_the_way(self, answers: Answers) -> list[Outcome]:
        """Why nothing is begun on any host; empty where nothing is in the way."""
        errors = _errors(answers)
        if not errors and not self.waits:
            errors = {name: error for name, one in answers.items() if (error := _busy(name, one, self.app))}
        return self._not_begun(errors) if errors else []

    def _not_begun(self, errors: Mapping[str, HostError]) -> list[Outcome]:
        return [
            not_begun(host.name, errors[host.name])
            if host.name in errors
            else Outcome(host.name, State.NOT_BEGUN)
            for host in self.hosts
        ]

    def _began(
        self, command: str, planned: Sequence[Sequence[RemoteHost]], commit: str | None
    ) -> dict[str, Any]:
        names = [[host.name for host in batch] for batch in planned]
        return {"event": "rollout", "operation": command, "app": self.app, "commit": commit, "batches": names}

    def _left_alone(self, host: RemoteHost, answers: Answers) -> Outcome:
        live, commit = live_of(answers[host.name], self.app)
        return Outcome(host.name, State.UNCHANGED, live=live, commit=commit)

    def _in_order(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        by_name = {one.host: one for one in outcomes}
        return [by_name[host.name] for host in self.hosts]

    def with_truth(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """The same, with what is live on each host as it says now; what nobody knows stays empty."""
        answers = at_once(self.hosts, lambda host: self.there.ask(host, ["status", "-a", self.app]))
        found = []
        for one in outcomes:
            answer = answers[one.host]
            live, commit = (None, None) if isinstance(answer, HostError) else live_of(answer, self.app)
            found.append(replace(one, live=live, commit=commit))
        return found


def _errors(answers: Answers) -> dict[str, HostError]:
    return {name: one for name, one in answers.items() if isinstance(one, HostError)}


def _busy(name: str, status: Mapping[str, Any], app: str) -> HostError | None:
    for one in status["apps"]:
        if one["name"] != app:
            continue
        if one["locks"]:
            lock = one["locks"][0]
            return RefusedError(3, f"Deployments are locked on {name} by {lock['by']}: {lock['text']}")
        if one["deployment"]:
            going = one["deployment"]
            return RefusedError(
                3,
                f"Deployment {going['id']} is under way on {name}, in phase {going['phase']}.",
                cure="Wait until it is over, or type it with --wait.",
            )
    return None


def _is_live(status: Mapping[str, Any], app: str, commit: str) -> bool:
    live = live_of(status, app)[1]
    return live is not None and live.startswith(commit)


def _latest(past: Answers, app: str) -> Mapping[str, Any]:
    """The latest deployment on any host. Raises UsageError."""
    known = [
        one for history in past.values() for one in history["deployments"] if one["operation"] == "deploy"
    ]
    if not known:
        raise UsageError(
            f"No deployment of {app} has begun on these hosts.", cure="There is nothing to resume."
        )
    latest: Mapping[str, Any] = max(known, key=lambda one: one["started"])
    return latest


def _has_released(past: Answers, commit: str) -> bool:
    """Whether its release has been run to its end on any host."""
    return any(
        one["release_outcome"] in {"succeeded", "elsewhere"} and str(one["commit"]).startswith(commit)
        for history in past.values()
        for one in history["deployments"]
    )


def _target(answers: Answers, app: str) -> str:
    """The commit to which all go back. Raises UsageError where there is not one that is clear.

    Where a rollout was stopped, some hosts have the new commit and others the old one: then it is the old one.
    """
    live = {name: live_of(status, app)[1] for name, status in answers.items()}
    back = {name: _back(status, app) for name, status in answers.items()}
    versions = set(live.values())
    targets = {one for one in back.values() if one}
    if len(versions) == 1 and len(targets) == 1:
        return targets.pop()
    if not targets:
        raise UsageError(
            f"There is no earlier version of {app} on these hosts to go back to.",
            cure="See `substitute history`; `substitute deploy COMMIT` goes to any commit.",
        )
    possible = [
        old for old in versions if old and all(back[name] == old for name, one in live.items() if one != old)
    ]
    if len(versions) > 1 and len(possible) == 1:
        return possible[0]
    table = "\n".join(
        f"{name}: live {(commit or 'nothing')[:10]}, before it {(back[name] or 'nothing')[:10]}"
        for name, commit in live.items()
    )
    raise UsageError(
        f"It is not clear which version of {app} all hosts are to go back to.",
        fact=table,
        cure="Name it: `substitute rollback COMMIT`.",
    )


def _back(status: Mapping[str, Any], app: str) -> str | None:
    """The commit to which a rollback would go there."""
    found = next((one["rollback"] for one in status["apps"] if one["name"] == app), None)
    return found["commit"] if found else None
