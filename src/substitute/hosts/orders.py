"""One command on one host, to its end; or, where the connection was lost, asked again what became of it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from substitute.hosts.aftermath import what_became, what_became_of_run
from substitute.hosts.answers import document_of, event_of, failure, silent
from substitute.hosts.asking import as_json
from substitute.hosts.channel import SilentError
from substitute.hosts.errors import HostError, LostError, NotInstalledError
from substitute.hosts.far_end import GO, HELLO, INTERRUPT, OBEYED, PROTOCOL
from substitute.hosts.outcomes import Outcome, State, not_begun

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from substitute.hosts.asking import There
    from substitute.hosts.channel import Channel, RemoteHost

    OnEvent = Callable[[str, Mapping[str, Any]], None]

_STATES = {0: State.SUCCEEDED, 2: State.REFUSED, 3: State.REFUSED, 130: State.INTERRUPTED}
_GOOD = {"unchanged": State.UNCHANGED, "held": State.HELD}
"""By the last event, where the exit status is 0."""
_MOST_LINES = 200_000
"""Of a document, which is held in the memory."""
_ENDS = frozenset({"succeeded", "failed", "interrupted", "unchanged", "error", "held"})


class Order:
    """A command for one host. `interrupt` may come from another thread, at any time."""

    def __init__(
        self, there: There, host: RemoteHost, words: Sequence[str], on_event: OnEvent, *, app: str = ""
    ) -> None:
        """`words` are the command's, without ``--json``; `app` is the one that it works on, where it works on one."""
        self._there, self.host, self._words, self._on_event = there, host, list(words), on_event
        self._app = app
        self._channel: Channel | None = None
        self._going = threading.Lock()
        self._called_off = False
        self._last: Mapping[str, Any] = {}
        self._document: Any = None
        self._run = ""

    def interrupt(self) -> None:
        """What Ctrl-C does: told to the host; where it has not begun, it does not begin."""
        with self._going:
            self._called_off = True
            if self._channel:
                self._channel.tell(INTERRUPT)

    def greeted(self) -> Mapping[str, Any]:
        """What the host says of itself; nothing is begun. Raises HostError."""
        channel, hello = self._there.connecting(self._connect)
        channel.close()
        return hello

    def carry_out(self) -> Outcome:
        """Do it. Never raises HostError: what is known is in the outcome."""
        try:
            channel, hello = self._there.connecting(self._connect)
        except HostError as error:
            return not_begun(self.host.name, error)
        with self._going:
            if self._called_off:
                channel.close()
                return Outcome(self.host.name, State.NOT_BEGUN, 0, "It was called off before it began.")
            self._channel = channel
            channel.tell(GO)
        self._on_event(self.host.name, hello)
        try:
            return self._ended(self._listen(channel))
        except LostError as error:
            self._on_event(self.host.name, {"event": "lost", "reason": error.reason})
            return self._asked_again(hello)

    def _asked_again(self, hello: Mapping[str, Any]) -> Outcome:
        command, since = self._words[0], int(hello.get("latest") or 0)
        if self._run:
            return what_became_of_run(self._there, self.host, self._run, of_cron=command == "cron")
        return what_became(self._there, self.host, command, since=since, app=self._app)

    def _connect(self) -> tuple[Channel, Mapping[str, Any]]:
        """The channel, where somebody has said hello: nothing has begun. Raises HostError."""
        there, host = self._there, self.host
        words = ["-C", there.root, "obey", "--", *as_json(self._words)]
        channel, lines = there.transport.run(host, words), list[str]()
        deadline = there.clock.monotonic() + there.answer_timeout
        try:
            while (line := channel.line(max(0.001, deadline - there.clock.monotonic()))) is not None:
                event = event_of(line)
                if event and event.get("event") == HELLO:
                    return channel, self._checked(event)
                lines.append(line)
        except SilentError:
            channel.close()
            raise silent(host, there.answer_timeout) from None
        except HostError:
            channel.close()
            raise
        raise failure(host, channel.close(), lines, heard=False)

    def _checked(self, hello: Mapping[str, Any]) -> Mapping[str, Any]:
        if hello.get("protocol") != PROTOCOL:
            raise NotInstalledError(
                f"substitute {hello.get('version')} on {self.host.name} does not understand this one.",
                cure=f"`substitute hosts setup --on {self.host.name}` installs the same version.",
            )
        return hello

    def _listen(self, channel: Channel) -> int:
        """Pass on what happens; the exit status. Raises LostError."""
        lines = list[str]()
        while (line := channel.line()) is not None:
            event = event_of(line)
            if event is None:
                del lines[: -20 if len(lines) > _MOST_LINES else 0]
                lines.append(line)
                continue
            if event.get("event") == OBEYED:
                channel.close()
                self._document = document_of(lines)
                return int(event["exit"])
            if event.get("event") == "run":
                self._run = str(event["run"])
            if event.get("event") in _ENDS:
                self._last = event
            self._on_event(self.host.name, event)
        ended = channel.close()
        if ended.status is None:
            error = failure(self.host, ended, lines, heard=True)
            raise LostError(error.what, fact=error.fact)
        self._last = self._last or {"reason": ended.said}
        return ended.status

    def _ended(self, status: int) -> Outcome:
        last = self._last
        is_own = (
            self._run and last.get("event") != "error"
        )  # of the command that ran, which may use any number
        state = (
            State(State.FAILED if status else State.SUCCEEDED)
            if is_own
            else _STATES.get(status, State.FAILED)
        )
        if state is State.SUCCEEDED:
            state = _GOOD.get(str(last.get("event")), state)
        # Of what failed or is held, `commit` is the one that is to become live.
        commit = last.get("commit") if state in {State.SUCCEEDED, State.UNCHANGED} else None
        seconds = last.get("seconds")
        reason = str(last.get("reason") or "") or (f"It ended with status {status}." if is_own else "")
        return Outcome(
            self.host.name,
            state,
            status,
            reason if not state.is_good else "",
            str(last.get("cure") or ""),
            live=last.get("live"),
            commit=commit,
            seconds=seconds.get("total") if isinstance(seconds, dict) else None,
            result=self._document,
        )
