"""Hosts without a network: each answers by what it is, and its connection can break at any line."""

from __future__ import annotations

import json
import queue
import threading
from typing import IO, TYPE_CHECKING, Any, NoReturn

from substitute.config.hosts import name_of
from substitute.hosts.asking import There
from substitute.hosts.channel import Ended, RemoteHost, SilentError
from substitute.hosts.far_end import GO, INTERRUPT
from tests.unit.fakes.clock import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Said = queue.SimpleQueue[str | Ended | None]

OLD, NEW = "0" * 40, "1" * 40


class FakeHost:
    """One host with the app shop."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.live = OLD
        self.before: str | None = None
        self.fails = ""
        """The phase in which a deployment fails."""
        self.trouble = ""
        """``down``, ``silent``, ``bare`` (without substitute), ``rootless``, ``busy`` (takes no connection)."""
        self.busy_for = 0
        self.breaks_in = ""
        """The phase in which the connection breaks; ``go``: before anything has begun."""
        self.then = ""
        """What the connection is when it has broken: `trouble`."""
        self.goes_on = 0
        """Questions for which a deployment is still under way after the connection broke."""
        self.dies = False
        """Whether its power goes with the connection: nobody ends the deployment."""
        self.waits = False
        """Whether a deployment waits in its build, until it is interrupted."""
        self.locked = ""
        self.is_full = False
        """Whether there is room for no file."""
        self.has_release = False
        self.tag = ""
        """That leads to what is chosen there."""
        self.released: list[str] = []
        self.done: list[list[str]] = []
        """The commands that changed something."""
        self.history: list[dict[str, Any]] = []
        self.configuration: str | None = "c0"
        self.exit = 0
        """With which a command of `run` ends there."""
        self.runs: list[dict[str, Any]] = []
        self.runs_on = 0
        """Questions for which that command is still under way after the connection broke."""
        self.passes = True
        """Whether a check does, there."""

    def deployment(self, operation: str, commit: str) -> dict[str, Any]:
        """Begin one."""
        made = {
            "id": len(self.history) + 1,
            "operation": operation,
            "app": "shop",
            "commit": commit,
            "outcome": None,
            "phase": "build",
            "reason": "",
            "release_outcome": "",
            "started": f"2026-01-01T00:00:{len(self.history):02d}.000Z",
            "user": "deploy",
            "subject": "It",
        }
        self.history.insert(0, made)
        return made

    def status(self) -> dict[str, Any]:
        """The document."""
        running = None
        if self.goes_on:
            self.goes_on -= 1
            running = {**self.history[0], "slot": "b", "pid": 1}
            if not self.goes_on:
                self.end(self.history[0])
        slot = {"state": "live", "commit": self.live, "share": 100, "in_flight": 0, "up_seconds": 1.0}
        app = {
            "name": "shop",
            "live": "a",
            "slots": {"a": slot},
            "locks": [{"text": self.locked, "by": "eve"}] if self.locked else [],
            "deployment": running,
            "held": None,
            "stopped": False,
            "runs": [one for one in self.runs if one["goes_on"]],
            "rollback": {"commit": self.before} if self.before else None,
        }
        return {"apps": [app], "configuration": {"problems": []}}

    def end(self, deployment: dict[str, Any]) -> str:
        """End it as it is to end; the event."""
        if self.fails:
            deployment |= {"outcome": "failed", "phase": self.fails, "reason": "It is broken."}
            return "failed"
        deployment["outcome"] = "succeeded"
        self.before, self.live = self.live, deployment["commit"]
        return "succeeded"


class FakeChannel:
    """A connection to a `FakeHost`; what it says is made by a thread of its own, as on a real one."""

    def __init__(
        self, said: queue.SimpleQueue[str | Ended | None], told: queue.SimpleQueue[str], deaf: str = ""
    ) -> None:
        self._said, self._told, self._deaf_to = said, told, deaf
        self._ended = Ended(None, "")

    def line(self, patience: float | None = None) -> str | None:
        if patience is not None and self._said.empty():
            threading.Event().wait(0.01)
        said = self._said.get()
        if said is None:
            raise SilentError
        if isinstance(said, Ended):
            self._ended = said
            return None
        return said

    def tell(self, line: str) -> None:
        if line != self._deaf_to:
            self._told.put(line)

    def close(self) -> Ended:
        self._told.put("")  # nobody says anything any more
        return self._ended


class FakeTransport:
    """A `Transport` to fake hosts."""

    def __init__(self, *names: str) -> None:
        self.hosts = {name: FakeHost(name) for name in names}
        self.resolved: list[list[str]] = []
        self.asked: list[tuple[str, str]] = []
        self.scripts: list[tuple[str, list[str], bytes]] = []
        self.at_go: Callable[[str], None] = lambda _: None
        """Called with the host at which something is about to begin."""
        self.at_question: Callable[[], object] = lambda: None
        """Called when something is asked."""
        self.is_deaf_to = ""
        """A line that gets lost on its way to the hosts."""

    def there(self) -> There:
        return There(self, FakeClock(), "shop", answer_timeout=5.0, lost_timeout=60.0)

    def all(self) -> list[RemoteHost]:
        return [RemoteHost(name, f"deploy@{name}") for name in self.hosts]

    def run(self, host: RemoteHost, words: Sequence[str]) -> FakeChannel:
        assert name_of(host.destination) == host.name
        fake, (place, root, command, *more) = self.hosts[host.name], list(words)
        assert (place, root) == ("-C", "shop")
        assert "--json" in words
        more = [word for word in more if word != "--json"]
        self.asked.append((host.name, command))
        said: Said = queue.SimpleQueue()
        told: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._answer, args=(fake, command, more, said, told), daemon=True).start()
        return FakeChannel(said, told, self.is_deaf_to)

    def become(self, host: RemoteHost, words: Sequence[str]) -> NoReturn:
        raise AssertionError(host, words)

    def shell(
        self, host: RemoteHost, script: str, words: Sequence[str], given: IO[bytes] | None = None
    ) -> FakeChannel:
        self.scripts.append((host.name, list(words), given.read() if given else b""))
        said: Said = queue.SimpleQueue()
        if self.hosts[host.name].trouble == "bare":
            said.put(Ended(3, "It has no Python 3.11 or later with venv."))
        elif self.hosts[host.name].is_full and given:
            said.put(Ended(2, "cat: write error: No space left on device"))
        else:
            said.put("Welcome to this host!")
            said.put("written" if given else "present")
            said.put(Ended(0, ""))
        return FakeChannel(said, queue.SimpleQueue())

    def _answer(self, fake: FakeHost, command: str, words: list[str], said: Any, told: Any) -> None:
        if fake.busy_for:
            fake.busy_for -= 1
            said.put(Ended(None, "kex_exchange_identification: Connection closed by remote host"))
            return
        if not _connects(fake, said):
            return
        said.put("Welcome to this host!")
        if command == "obey":
            said.put(json.dumps({"event": "hello", "protocol": 1, "version": "1", "latest": len(fake.history),
                                 "configuration": fake.configuration}))  # fmt: skip
            if told.get() == GO:
                self.at_go(fake.name)
                self._obey(fake, words[1:], said, told)
            return
        self.at_question()
        past = {"deployments": [*fake.history], "runs": [_ticked(one) for one in fake.runs]}
        answer: Any = {"status": fake.status, "history": lambda: past}.get(command)
        if command == "resolve":
            self.resolved.append(words)
            commit = words[0] if words[0] != "-a" else NEW
            commit = NEW if "/" in commit else commit  # a file
            answer = lambda: {"commit": commit, "tag": fake.tag, "may_release": fake.has_release}  # noqa: E731
        document = answer() if answer else {"boot": {"where": "a unit"}}
        for line in json.dumps(document, indent=2).splitlines():
            said.put(line)
        said.put(Ended(0, ""))

    def _obey(self, fake: FakeHost, words: list[str], said: Any, told: Any) -> None:
        command, *more = words
        if command in {"run", "check"}:
            fake.done.append(words)
            (_run if command == "run" else _check)(fake, said)
            return
        if fake.breaks_in == GO:
            said.put(Ended(None, "Timeout, server not responding."))
            return
        fake.done.append(words)
        commit = more[0] if command in {"deploy", "rollback"} else fake.live
        commit = NEW if "/" in commit else commit
        made = fake.deployment(command, commit)
        if command == "deploy" and fake.has_release:
            made["release_outcome"] = "elsewhere" if "--skip-release" in words else "succeeded"
            if "--skip-release" not in words:
                fake.released.append(commit)
        for phase in ("update", "build", "ready"):
            said.put(json.dumps({"event": "phase", "phase": phase, "app": "shop", "deployment": made["id"]}))
            if phase == "build" and fake.waits:
                assert told.get() == INTERRUPT
                made["outcome"] = "interrupted"
                said.put(
                    json.dumps({"event": "interrupted", "phase": phase, "reason": "Interrupted by Ctrl-C."})
                )
                said.put(json.dumps({"event": "obeyed", "exit": 130}))
                return
            if phase == fake.breaks_in:
                fake.trouble = fake.then
                if not fake.goes_on and not fake.dies:
                    fake.end(made)
                said.put(Ended(None, "client_loop: send disconnect: Broken pipe"))
                return
            if phase == fake.fails:
                break
        event = fake.end(made)
        reason = {"reason": "It is broken."} if event == "failed" else {}
        seconds = {"seconds": {"total": 1.5}} if event == "succeeded" else {}
        said.put(json.dumps({"event": event, "live": "b", "commit": commit, **reason, **seconds}))
        said.put(json.dumps({"event": "obeyed", "exit": 1 if event == "failed" else 0}))


def _run(fake: FakeHost, said: Any) -> None:
    """Its connection breaks when the command has begun, or never."""
    outcome = "failed" if fake.exit else "succeeded"
    run = {
        "name": "run-1",
        "goes_on": fake.runs_on,
        "outcome": None if fake.dies else outcome,
        "status": fake.exit,
    }
    fake.runs.append(run)
    said.put(json.dumps({"event": "run", "run": "run-1", "app": "shop", "slot": "a"}))
    said.put(json.dumps({"event": "output", "phase": "run-1", "line": "hello"}))
    if fake.breaks_in == "run":
        fake.trouble = fake.then
        said.put(Ended(None, "client_loop: send disconnect: Broken pipe"))
        return
    if fake.locked:
        said.put(json.dumps({"event": "error", "reason": "It is locked.", "exit": 3}))
    said.put(json.dumps({"event": "obeyed", "exit": 3 if fake.locked else fake.exit}))


def _ticked(run: dict[str, Any]) -> dict[str, Any]:
    """What the history has of it, each time that it is asked for; it has no end while it goes on."""
    shown = {**run, "outcome": None if run["goes_on"] else run["outcome"]}
    run["goes_on"] = max(0, run["goes_on"] - 1)
    return shown


def _check(fake: FakeHost, said: Any) -> None:
    finding = {"promise": "SIGTERM arrives", "passed": fake.passes, "seen": "it", "cure": None}
    document = {"app": "shop", "commit": NEW, "checks": [finding], "passed": fake.passes}
    for line in json.dumps(document, indent=2).splitlines():
        said.put(line)
    said.put(json.dumps({"event": "obeyed", "exit": 0 if fake.passes else 1}))


def _connects(fake: FakeHost, said: Any) -> bool:
    """Whether somebody answers there; else that is said."""
    match fake.trouble:
        case "down":
            said.put(Ended(None, f"ssh: connect to host {fake.name} port 22: Connection refused"))
        case "silent":
            said.put(None)
        case "bare":
            said.put(Ended(127, "sh: 1: exec: substitute: not found"))
        case "rootless":
            reason = "/home/deploy/shop is no directory (from -C shop)."
            said.put(json.dumps({"event": "error", "reason": reason, "exit": 2, "cure": ""}))
            said.put(Ended(2, ""))
        case _:
            return True
    return False
