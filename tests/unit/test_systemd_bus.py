"""What a manager may do at a bad moment, which a real one does once in a hundred times."""

from __future__ import annotations

import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
from jeepney import DBusAddress, Parser, new_error, new_method_return, new_signal

from substitute.runtimes.systemd.bus import Bus, Gone, Refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from jeepney import Message

SIGNAL = new_signal(DBusAddress("/x", "a.b", "a.b"), "Reloading", "b", (True,)).serialise(serial=1)


class Manager:
    """Answers every call with its method's name; one called Refuse with an error; ends the connection after Leave."""

    def __init__(self, address: Path) -> None:
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(address))
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(1024)
                connection.sendall(b"DATA\r\nOK 0123\r\nAGREE_UNIX_FD\r\n" + SIGNAL[:10])
                self.talk(connection)

    def talk(self, connection: socket.socket) -> None:
        parser = Parser()
        rest = SIGNAL[10:]
        while data := connection.recv(1024):
            for call in parser.feed(data):
                method = next(value for field, value in call.header.fields.items() if field.name == "member")
                good = new_method_return(call, "s", (method,))
                answer = new_error(call, "a.b.Not", "s", ("never",)) if method == "Refuse" else good
                answer.header.serial = 7
                connection.sendall(rest + SIGNAL + answer.serialise(serial=7))
                rest = b""
                if method == "Leave":
                    return


@pytest.fixture
def bus(tmp_path: Path) -> Iterator[Bus]:
    manager = Manager(tmp_path / "private")
    yield Bus(str(tmp_path / "private"))
    manager.listener.shutdown(socket.SHUT_RDWR)
    manager.listener.close()


def test_signals_at_any_moment_are_passed_over(bus: Bus) -> None:
    assert [bus.call("One"), bus.call("Two")] == ["One", "Two"]


def test_a_connection_that_ended_between_two_calls_is_made_again(bus: Bus) -> None:
    assert [bus.call("Leave"), bus.call("Leave"), bus.call("Two")] == ["Leave", "Leave", "Two"]


def test_a_refusal_says_why(bus: Bus) -> None:
    with pytest.raises(Refused, match="never"):
        bus.call("Refuse")


def test_where_nobody_listens_there_is_no_manager(tmp_path: Path) -> None:
    with pytest.raises(Gone) as told:
        Bus(str(tmp_path / "none"), patience=0.0, cure="Log in.").call("One")
    assert (str(tmp_path / "none") in told.value.fact, told.value.cure) == (True, "Log in.")


def test_one_that_executes_itself_anew_is_waited_for(tmp_path: Path) -> None:
    """In between its socket is there and refuses, then is gone, then is another."""
    address = tmp_path / "private"
    with socket.socket(socket.AF_UNIX) as ended:
        ended.bind(str(address))
    asked: list[float] = []

    class Watched(Bus):
        def _exchange(self, message: Message) -> Any:
            asked.append(0)
            if len(asked) == 3:
                address.unlink()
            if len(asked) == 6:
                Manager(address)
            return super()._exchange(message)

    assert Watched(str(address)).call("One") == "One"
    assert len(asked) == 6
