"""What is seen of an instance from outside, on real processes and sockets."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from substitute.core.check.late_answers import LATE
from substitute.core.model.slots import Endpoint
from substitute.core.ports.observer import Heard, Hold, Progress, Request
from substitute.linux.probe_group import PROBE_MARK
from substitute.linux.processes import identify, signal_group
from substitute.probing import platforms
from substitute.probing.observer import OutsideObserver
from tests.ports import free_port
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from substitute.core.ports.observer import Conversation

HEAD = b"HTTP/1.1 200 OK\r\n"


@contextmanager
def accepted(
    hold: Hold = Hold.NOTHING, *, method: str = "GET"
) -> Iterator[tuple[Conversation, socket.socket]]:
    """A conversation, and the server's end of it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = Endpoint("127.0.0.1", listener.getsockname()[1])
        conversation = OutsideObserver().ask(endpoint, Request(method, "/up?x=1", "shop.example", hold))
        server, _ = listener.accept()
        with server:
            yield conversation, server
        conversation.close()


class InParts(BaseHTTPRequestHandler):
    """It writes the head and the body each by itself, as Python's server does."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, *_: object) -> None:
        """Nothing."""


class AtOnce(InParts):
    disable_nagle_algorithm = True


class Slowly(AtOnce):
    """Each answer takes as long."""

    def do_GET(self) -> None:
        time.sleep(0.05)
        super().do_GET()


class Once(InParts):
    protocol_version = "HTTP/1.0"


@pytest.mark.parametrize("late", [InParts, AtOnce, Slowly, Once])
def test_an_answer_whose_second_part_waits_for_an_acknowledgement_is_late(late: type[InParts]) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), late) as server:
        serving = threading.Thread(target=server.serve_forever, args=(0.01,))
        serving.start()
        try:
            endpoint = Endpoint("127.0.0.1", server.server_port)
            seen = [OutsideObserver().lateness(endpoint, Request("GET", "/", None)) for _ in range(5)]
        finally:
            server.shutdown()
            serving.join()
    assert sum(one >= LATE for one in seen) >= 3 if late is InParts else min(seen) < LATE


def test_nobody_who_answers_is_late_to_do_so() -> None:
    assert OutsideObserver().lateness(Endpoint("127.0.0.1", free_port()), Request("GET", "/", None)) == 0


def test_the_head_is_sent_and_the_body_is_held_back_until_it_is_asked_for() -> None:
    with accepted(Hold.BODY, method="POST") as (conversation, server):
        head = server.recv(65536)
        assert head.startswith(b"POST /up?x=1 HTTP/1.1\r\nHost: shop.example\r\n")
        assert head.endswith(b"\r\n\r\n")
        length = int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0])
        server.setblocking(False)  # noqa: FBT003
        with pytest.raises(BlockingIOError):
            server.recv(1)
        conversation.go_on()
        conversation.go_on()
        server.setblocking(True)  # noqa: FBT003
        assert len(server.recv(65536)) == length


@pytest.mark.parametrize(
    "answer",
    [
        HEAD + b"Content-Length: 2\r\n\r\nok",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + HEAD + b"Content-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ],
    ids=["length", "chunked", "interim", "empty"],
)
def test_an_answer_counts_when_all_of_it_is_there_and_not_before(answer: bytes) -> None:
    with accepted() as (conversation, server):
        for byte in answer[:-1]:
            server.sendall(bytes([byte]))
            assert conversation.hear() == Heard()
        server.sendall(answer[-1:])
        eventually(lambda: conversation.hear().status is not None, "the whole answer")
        assert conversation.hear() == Heard(204 if b"204" in answer else 200)


def test_an_answer_that_the_end_of_the_connection_ends_counts_only_then() -> None:
    with accepted() as (conversation, server):
        server.sendall(HEAD + b"\r\nok")
        time.sleep(0.05)
        assert conversation.hear() == Heard()
        server.shutdown(socket.SHUT_WR)
        eventually(lambda: conversation.hear() == Heard(200, "closed"), "the whole answer")


def test_bytes_after_an_answer_do_not_undo_it() -> None:
    with accepted() as (conversation, server):
        server.sendall(HEAD + b"Content-Length: 2\r\n\r\nok\r\n")
        eventually(lambda: conversation.hear() == Heard(200), "the whole answer")


@pytest.mark.parametrize("said", [HEAD + b"no header\r\n\r\n", b"SSH-2.0-x\r\n"])
def test_what_is_no_answer_is_none_however_it_ends(said: bytes) -> None:
    with accepted() as (conversation, server):
        server.sendall(said)
        server.shutdown(socket.SHUT_WR)
        eventually(lambda: conversation.hear() == Heard(None, "closed"), "the end")


def test_an_answer_that_ends_too_early_is_none() -> None:
    with accepted() as (conversation, server):
        server.sendall(HEAD + b"Content-Length: 3\r\n\r\nok")
        server.shutdown(socket.SHUT_WR)
        eventually(lambda: conversation.hear() == Heard(None, "closed"), "the end")


def test_a_request_that_nobody_has_accepted_yet_is_known_to_wait_in_the_queue() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = Endpoint("127.0.0.1", listener.getsockname()[1])
        conversation = OutsideObserver().ask(endpoint, Request("GET", "/", None))
        assert not conversation.progress().accepted
        server, _ = listener.accept()
        with server:
            assert conversation.progress().accepted
        assert conversation.progress().accepted, "it was, and closed"
        conversation.close()


def test_of_an_answer_that_is_read_late_it_is_known_how_much_the_app_is_rid_of() -> None:
    answer = HEAD + b"Content-Length: 200000\r\n\r\n" + 200_000 * b"x"
    with accepted(Hold.READING) as (conversation, server):
        server.settimeout(0.2)
        sent, full = 0, False
        while not full:
            try:
                sent += server.send(answer[sent : sent + 4096])
            except TimeoutError:
                full = True
        assert sent < len(answer) / 2, "the kernels take little"
        assert conversation.hear() == Heard()
        assert conversation.progress() == Progress(accepted=True, handed_over=sent)
        conversation.go_on()
        server.setblocking(False)  # noqa: FBT003

        def arrives() -> bool:
            nonlocal sent
            with suppress(BlockingIOError):
                sent += server.send(answer[sent:]) if sent < len(answer) else 0
            return conversation.hear().status is not None

        eventually(arrives, "the whole answer")
        assert conversation.hear() == Heard(200)
        assert conversation.hear().size == len(answer)


def test_a_reset_is_told_from_a_close() -> None:
    with accepted() as (conversation, server):
        server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        server.close()
        eventually(lambda: conversation.hear() == Heard(None, "reset"), "the reset")


def test_nobody_there_is_a_conversation_that_was_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = Endpoint("127.0.0.1", listener.getsockname()[1])
    conversation = OutsideObserver().ask(endpoint, Request("GET", "/", None, Hold.BODY))
    conversation.go_on()
    assert conversation.hear() == Heard(None, "refused")


def test_a_port_refuses_when_nobody_listens_and_the_app_is_not_bothered_before() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = Endpoint("127.0.0.1", listener.getsockname()[1])
        assert not OutsideObserver().refuses(endpoint)
        listener.setblocking(False)  # noqa: FBT003
        with pytest.raises(BlockingIOError):
            listener.accept()
    assert OutsideObserver().refuses(endpoint)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mark a socket")
def test_its_connections_carry_the_mark_that_a_gate_lets_through(monkeypatch: pytest.MonkeyPatch) -> None:
    marks = []

    class Seen(socket.socket):
        def connect(self, address: object) -> None:
            marks.append(self.getsockopt(socket.SOL_SOCKET, socket.SO_MARK))
            super().connect(address)  # type: ignore[arg-type]

    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = Endpoint("127.0.0.1", listener.getsockname()[1])
        monkeypatch.setattr("socket.socket", Seen)
        OutsideObserver().ask(endpoint, Request("GET", "/", None, Hold.BODY)).close()
    OutsideObserver().refuses(endpoint)
    assert marks == [PROBE_MARK, PROBE_MARK]


# -- processes ------------------------------------------------------------------------------------


@contextmanager
def program(*argv: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(argv, stdout=subprocess.PIPE, start_new_session=True) as running:
        process = identify(running.pid, zombie=True)
        assert process
        try:
            yield running
        finally:
            signal_group(process, signal.SIGKILL)


def test_the_members_are_the_process_its_group_and_its_descendants_and_who_listens() -> None:
    child = (
        "import socket, time; s = socket.create_server(('127.0.0.1', 0)); "
        "print(s.getsockname()[1], flush=True); time.sleep(600)"
    )
    with program("sh", "-c", f'{sys.executable} -S -E -c "{child}"; true') as running:
        assert running.stdout
        endpoint = Endpoint("127.0.0.1", int(running.stdout.readline()))
        process = identify(running.pid)
        assert process
        main, listener = sorted(
            OutsideObserver().members(endpoint, process, "SIGTERM"), key=lambda one: one.listens
        )
        assert (main.process, main.name, main.listens) == (process, "sh", False)
        assert listener.name.startswith("python")
        assert str(listener) == f"{listener.name} (pid {listener.process.pid})"


@pytest.mark.parametrize(
    ("before", "handles"),
    [
        ("", False),
        ("signal.signal(15, lambda *_: None);", True),
        ("signal.signal(15, signal.SIG_IGN);", False),
        ("signal.pthread_sigmask(signal.SIG_BLOCK, [15]);", True),
    ],
    ids=["no handler", "a handler", "ignored", "waited for"],
)
def test_it_is_known_whether_a_process_has_anything_to_do_with_sigterm(before: str, *, handles: bool) -> None:
    with program(
        sys.executable, "-S", "-E", "-c", f"import signal, time; {before} print(flush=True); time.sleep(600)"
    ) as running:
        assert running.stdout
        running.stdout.readline()
        process = identify(running.pid)
        assert process
        (member,) = OutsideObserver().members(Endpoint("127.0.0.1", 1), process, "SIGTERM")
        assert member.handles_signal is handles
        (member,) = OutsideObserver().members(Endpoint("127.0.0.1", 1), process, "SIGQUIT")
        assert not member.handles_signal, "the other signal is another matter"
        assert member.program == "", "its name is its program's"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not here")
def test_a_name_that_a_process_gave_itself_is_shown_with_its_program() -> None:
    script = "process.title = 'next-server (v15)'; console.log(); setTimeout(() => 0, 600000)"
    with program("node", "-e", script) as running:
        assert running.stdout
        running.stdout.readline()
        process = identify(running.pid)
        assert process
        (member,) = OutsideObserver().members(Endpoint("127.0.0.1", 1), process, "SIGTERM")
        assert str(member) == f"next-server (pid {running.pid}, a node process)"


@pytest.mark.long  # a first build compiles what comes with Go
@pytest.mark.skipif(shutil.which("go") is None, reason="Go is not here")
def test_a_go_program_is_recognized_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "main.go").write_text(
        'package main\nimport ("fmt"; "time")\nfunc main() { fmt.Println(); time.Sleep(time.Hour) }\n'
    )
    environment = {**os.environ, "GO111MODULE": "off"}
    subprocess.run(
        ["go", "build", "-o", "shop", "main.go"], cwd=tmp_path, env=environment, check=True, timeout=150
    )
    with program(str(tmp_path / "shop")) as running:
        assert running.stdout
        running.stdout.readline()
        process = identify(running.pid)
        assert process
        assert platforms.recognize(process) == "go"


def test_who_is_gone_has_no_platform() -> None:
    with program("sleep", "600") as running:
        process = identify(running.pid)
        assert process
        running.kill()
        running.wait()
    assert platforms.recognize(process) == ""
