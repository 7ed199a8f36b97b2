from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from ast import literal_eval
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from substitute.core.model.health import Health
from substitute.core.model.programs import Process
from substitute.core.model.slots import Endpoint
from substitute.core.ports.prober import Page
from substitute.linux import sock_diag
from substitute.linux.probe_group import PROBE_MARK
from substitute.linux.processes import boot_id, identify, name, signal_group
from substitute.probing.endpoints import Sockets
from substitute.probing.instances import LocalInstances
from substitute.probing.side_by_side import side_by_side
from tests.ports import free_port
from tests.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

LISTEN = """
import os, socket, sys
def listen(host, port=0, reuse=False):
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if reuse: listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((host, port)); listener.listen(); return listener
def ready(listener):
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()
"""


@contextmanager
def program(code: str, *arguments: str) -> Iterator[tuple[int, Process]]:
    """A Python program that listens, prints its port, and waits."""
    with subprocess.Popen(
        [sys.executable, "-c", LISTEN + code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
    ) as running:
        assert running.stdout
        process = identify(running.pid, zombie=True)
        assert process
        try:
            yield int(running.stdout.readline()), process
        finally:
            signal_group(process, signal.SIGKILL)


def health(**changes: object) -> Health:
    values: dict[str, object] = {
        "kind": "http",
        "path": "/",
        "host": None,
        "timeout": 5.0,
        "interval": 0.1,
        "successes": 1,
        **changes,
    }
    return Health(**values)  # type: ignore[arg-type]


@contextmanager
def answering(answer: bytes, *, close: bool = True) -> Iterator[tuple[Endpoint, list[bytes]]]:
    """A server that gives every client `answer`, whatever it asked."""
    asked: list[bytes] = []
    done = threading.Event()

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client:
                asked.append(client.recv(65536))
                client.sendall(answer)
                if not close:
                    done.wait(60)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield Endpoint("127.0.0.1", listener.getsockname()[1]), asked
        done.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_free_port_has_neither_holder_nor_owner() -> None:
    endpoint = Endpoint("127.0.0.1", free_port())
    assert Sockets().holder(endpoint) is None
    assert LocalInstances().owned(endpoint, Process(os.getpid(), 0, boot_id())) is None


def without_sock_diag(_port: int, _states: object) -> list[object]:
    raise OSError("not in this sandbox")


@pytest.mark.parametrize("diagnosed", [True, False], ids=["sock_diag", "proc"])
@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0", "::", "::1", "::ffff:127.0.0.1"])
def test_the_started_process_owns_its_port_wildcards_included(
    bound: str,
    diagnosed: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not diagnosed:
        monkeypatch.setattr(sock_diag, "sockets", without_sock_diag)
    with program(f"ready(listen({bound!r}))") as (port, process):
        endpoint = Endpoint("::1" if bound == "::1" else "127.0.0.1", port)
        assert LocalInstances().owned(endpoint, process) is True
        holder = Sockets().holder(endpoint)
        assert holder
        assert f"(pid {process.pid})" in holder
        if bound != "::1":
            assert LocalInstances().owned(Endpoint("localhost", port), process) is True


@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0", "::"])
def test_the_addresses_that_take_what_is_sent_to_a_port_are_told(bound: str) -> None:
    with program(f"ready(listen({bound!r}))") as (port, _):
        assert Sockets().bound(Endpoint("127.0.0.1", port)) == {Endpoint(bound, port)}
    with program("ready(listen('127.0.0.2'))") as (port, _):
        assert Sockets().bound(Endpoint("127.0.0.1", port)) == frozenset()


def test_a_listener_on_another_address_does_not_matter() -> None:
    with program("ready(listen('127.0.0.2'))") as (port, process):
        assert Sockets().holder(Endpoint("127.0.0.1", port)) is None
        assert LocalInstances().owned(Endpoint("127.0.0.1", port), process) is None
        assert LocalInstances().owned(Endpoint("0.0.0.0", port), process) is True


@pytest.mark.parametrize("diagnosed", [True, False], ids=["sock_diag", "proc"])
def test_where_a_process_and_its_children_listen_is_known_whatever_port_it_is(
    diagnosed: bool,  # noqa: FBT001
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if not diagnosed:
        monkeypatch.setattr(sock_diag, "sockets", without_sock_diag)
    code = (
        "one, two, three = listen('127.0.0.1'), listen('::1'), listen('0.0.0.0')\n"
        "if os.fork() == 0: one.close(); three.close(); sys.stdin.read()\n"
        "two.close(); print(one.getsockname()[1]); ready(three)"
    )
    with program(code) as (port, process), program("ready(listen('127.0.0.1'))"):
        found = LocalInstances().listening(process)
        assert Endpoint("127.0.0.1", port) in found
        assert sorted(one.host for one in found) == ["0.0.0.0", "127.0.0.1", "::1"]
        later = Process(process.pid, process.start_time + 1, process.boot_id)
        assert LocalInstances().listening(later) == frozenset()


def test_a_port_that_another_process_holds_is_not_owned() -> None:
    with (
        program("ready(listen('127.0.0.1'))") as (port, stale),
        program("ready(listen('127.0.0.1'))") as (_, process),
    ):
        assert LocalInstances().owned(Endpoint("127.0.0.1", port), process) is False
        later = Process(stale.pid, stale.start_time + 1, stale.boot_id)
        assert LocalInstances().owned(Endpoint("127.0.0.1", port), later) is False


def test_a_port_shared_with_a_foreign_process_is_not_owned() -> None:
    code = "ready(listen('127.0.0.1', int(sys.argv[1]), reuse=True))"
    with program(code, "0") as (port, one), program(code, str(port)) as (_, two):
        assert LocalInstances().owned(Endpoint("127.0.0.1", port), one) is False
        holder = Sockets().holder(Endpoint("127.0.0.1", port))
        assert holder
        assert f"(pid {one.pid})" in holder
        assert f"(pid {two.pid})" in holder


@pytest.mark.parametrize(
    "code",
    [
        "if os.fork(): os.wait()\nready(listen('127.0.0.1'))",
        "if os.fork(): os.wait()\nelse:\n os.setsid()\n ready(listen('127.0.0.1'))",
        "if os.fork(): os.wait()\nelse:\n if os.fork(): os._exit(0)\n ready(listen('127.0.0.1'))",
    ],
    ids=["a child", "a child with its own session", "an orphan of the group"],
)
def test_a_port_held_by_the_familys_other_members_is_owned(code: str) -> None:
    if "os._exit" in code:
        code = code.replace("os.wait()", "import time; time.sleep(1000)")
    with program(code) as (port, process):
        assert LocalInstances().owned(Endpoint("127.0.0.1", port), process) is True


def test_a_listener_whose_process_cannot_be_seen_is_described_by_its_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with program("ready(listen('127.0.0.1'))") as (port, process):
        monkeypatch.setattr("substitute.linux.listeners.sockets_of", lambda _pid: set())
        holder = Sockets().holder(Endpoint("127.0.0.1", port))
        assert holder
        assert "without privilege" in holder
        assert LocalInstances().owned(Endpoint("127.0.0.1", port), process) is False


@pytest.mark.parametrize(
    ("status", "good"), [(200, True), (204, True), (302, True), (404, False), (502, False)]
)
def test_statuses_from_200_to_399_are_good(status: int, good: bool) -> None:  # noqa: FBT001
    answer = f"HTTP/1.1 {status} X\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n".encode()
    with answering(answer) as (endpoint, asked):
        answered = Sockets().probe(endpoint, health(path="/up?x=1"))
    to = " to /elsewhere" if status == 302 else ""
    assert (answered.good, answered.seen) == (good, f"{status}{to}")
    assert len(asked) == 1  # no redirect was followed
    assert asked[0].startswith(b"GET /up?x=1 HTTP/1.1\r\n")
    assert f"\r\nHost: {endpoint}\r\n".encode() in asked[0]
    assert b"\r\nConnection: close\r\n" in asked[0]


def test_the_host_header_is_the_configured_one() -> None:
    with answering(b"HTTP/1.1 200 OK\r\n\r\n") as (endpoint, asked):
        assert Sockets().probe(endpoint, health(host="shop.example.com")).good
    assert asked[0].count(b"Host:") == 1
    assert b"\r\nHost: shop.example.com\r\n" in asked[0]


def test_headers_are_sent_and_take_the_place_of_ours() -> None:
    headers = {"X-Forwarded-Proto": "https", "user-agent": "kube-probe/1.30"}
    with answering(b"HTTP/1.1 200 OK\r\n\r\n") as (endpoint, asked):
        assert Sockets().probe(endpoint, health(headers=headers)).good
    assert b"\r\nX-Forwarded-Proto: https\r\n" in asked[0]
    assert asked[0].lower().count(b"user-agent:") == 1
    assert b"user-agent: kube-probe/1.30" in asked[0]


@pytest.mark.parametrize(
    ("statuses", "good"),
    [("200-299", False), ("301", True), ("200,204,300-302", True), ("302,500-599", False)],
)
def test_the_good_statuses_are_those_that_are_named(statuses: str, good: bool) -> None:  # noqa: FBT001
    answer = b"HTTP/1.1 301 X\r\nLocation: https://shop\x1b/\r\nContent-Length: 0\r\n\r\n"
    with answering(answer) as (endpoint, _):
        answered = Sockets().probe(endpoint, health(status=statuses))
    assert (answered.good, answered.seen) == (good, "301 to https://shop?/")


DOWN = b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"status":"down"}'
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nall i\r\n6\r\ns w\xc3\xa9l\r\n2\r\nl!\r\n0\r\n\r\n"
)


@pytest.mark.parametrize(
    ("answer", "expect", "good"),
    [
        (DOWN, '"status":"up"', False),
        (DOWN, '"down"', True),
        (CHUNKED, "is wéll", True),
        (CHUNKED, "5", False),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 65534 + b"ok", "ok", True),
        (b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 65535 + b"ok", "ok", False),
        (b"HTTP/1.1 204 OK\r\nX-Note: ok\r\n\r\n", "ok", False),
    ],
    ids=["down", "found", "chunked", "no part of the body", "the last bytes", "too far", "no body"],
)
def test_the_expected_text_is_looked_for_in_the_body(answer: bytes, expect: str, good: bool) -> None:  # noqa: FBT001
    with answering(answer) as (endpoint, _):
        answered = Sockets().probe(endpoint, health(expect=expect))
    assert answered.good is good
    if answer is DOWN and not good:
        assert (answered.seen, answered.lines) == ("200 without the expected text", ('{"status":"down"}',))


def test_pages_are_fetched_a_few_at_a_time_and_answered_in_their_order() -> None:
    under_way, most, lock = 0, 0, threading.Lock()

    def work(number: int) -> int:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        barrier.wait(timeout=30)  # three are under way together, or this fails
        with lock:
            under_way -= 1
        return number * 2

    barrier = threading.Barrier(3)
    assert side_by_side(work, range(12), 3) == [2 * number for number in range(12)]
    assert most == 3
    page = Page(Endpoint("127.0.0.1", free_port()), "/", health())
    found = Sockets().fetch_all([page, page], at_once=4, limit=1.0, within=30.0)
    assert [one and (one.good, one.status, one.seen) for one in found] == [
        (False, 0, "connection refused")
    ] * 2
    assert Sockets().fetch_all([page], at_once=4, limit=1.0, within=0.5) == [None]


def test_a_page_is_fetched_to_its_end_however_long_and_told_whatever_it_is() -> None:
    long = b"HTTP/1.1 500 X\r\nContent-Length: 300000\r\n\r\n" + b"x" * 300000
    with answering(long) as (endpoint, asked):
        fetched = Sockets().fetch(endpoint, "/search?q=1", health(headers={"X-A": "b"}), limit=30.0)
    assert (fetched.good, fetched.seen, fetched.status) == (True, "500", 500)
    assert asked[0].startswith(b"GET /search?q=1 HTTP/1.1\r\n")
    assert b"\r\nX-A: b\r\n" in asked[0]
    with answering(long[:1000], close=False) as (endpoint, _):
        fetched = Sockets().fetch(endpoint, "/", health(), limit=0.2)
    assert (fetched.good, fetched.seen) == (False, "500, cut off after 0.2 s")


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (b"", "connection closed without an answer"),
        (b"SSH-2.0-x\r\n", "an answer that is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "an answer that ended too early"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
            "an answer that ended too early",
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "an answer that ended too early"),
    ],
)
def test_what_is_no_whole_answer_is_not_good(answer: bytes, seen: str) -> None:
    with answering(answer) as (endpoint, _):
        answered = Sockets().probe(endpoint, health())
    assert (answered.good, answered.seen) == (False, seen)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.0 200 OK\n\nok",
        b"HTTP/1.1 204 No Content\r\n\r\nbut a body",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok\r\n",
    ],
    ids=["bare line feeds", "a body where none belongs", "bytes after the end"],
)
def test_what_browsers_take_for_a_good_answer_is_one(answer: bytes) -> None:
    with answering(answer) as (endpoint, _):
        assert Sockets().probe(endpoint, health()).good


def test_a_probe_imports_no_client_of_the_standard_library() -> None:
    """They take longer than the rest of a plain `status`."""
    heavy = "{'ssl', 'email', 'http.client'} & set(sys.modules)"
    code = f"import sys; import substitute.probing.observer; print({heavy} or '')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_silence_is_not_waited_for_longer_than_the_timeout() -> None:
    with answering(b"", close=False) as (endpoint, _):
        answered = Sockets().probe(endpoint, health(timeout=0.2))
    assert (answered.good, answered.seen) == (False, "no answer within 0.2 s")


def test_a_stream_that_never_ends_is_judged_by_its_status() -> None:
    with answering(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", close=False) as (
        endpoint,
        _,
    ):
        assert Sockets().probe(endpoint, health(timeout=2.0)).good


def test_a_closed_port_refuses_both_kinds() -> None:
    endpoint = Endpoint("127.0.0.1", free_port())
    for kind in ("http", "tcp"):
        answered = Sockets().probe(endpoint, health(kind=kind))
        assert (answered.good, answered.seen) == (False, "connection refused")


@pytest.mark.parametrize("changes", [{"path": "/a b"}, {"path": "/ä"}, {"host": "a\r\nb: c"}])
def test_a_probe_never_raises(changes: dict[str, object]) -> None:
    with answering(b"HTTP/1.1 200 OK\r\n\r\n") as (endpoint, _):
        assert not Sockets().probe(endpoint, health(**changes)).good
        with socket.create_connection((endpoint.host, endpoint.port)) as unblock:
            unblock.send(b"x")
    assert not Sockets().probe(Endpoint("no-such-host.invalid", 80), health()).good


def test_tcp_needs_only_the_connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        endpoint = Endpoint("127.0.0.1", listener.getsockname()[1])
        assert Sockets().probe(endpoint, health(kind="tcp")).good


@pytest.mark.parametrize("wildcard", ["0.0.0.0", "::"])
def test_a_wildcard_is_probed_on_loopback(wildcard: str) -> None:
    with program(f"ready(listen({wildcard!r}))") as (port, _):
        assert Sockets().probe(Endpoint(wildcard, port), health(kind="tcp")).good


@pytest.mark.skipif(os.geteuid() != 0, reason="a mark needs privilege")
def test_a_probe_carries_the_mark_that_the_gate_lets_through(monkeypatch: pytest.MonkeyPatch) -> None:
    marks: list[int] = []

    class Seen(socket.socket):
        def connect(self, address: object) -> None:
            marks.append(self.getsockopt(socket.SOL_SOCKET, socket.SO_MARK))
            super().connect(address)  # type: ignore[arg-type]

    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setattr("socket.socket", Seen)
        Sockets().probe(Endpoint("127.0.0.1", listener.getsockname()[1]), health(kind="tcp"))
    assert marks == [PROBE_MARK]


def test_alive_is_the_very_process_only() -> None:
    with program("ready(listen('127.0.0.1'))") as (_, process):
        assert LocalInstances().alive(process)
        os.kill(process.pid, signal.SIGKILL)
        eventually(lambda: not LocalInstances().alive(process))


def test_a_process_that_works_in_another_root_is_told_from_ours(tmp_path: Path) -> None:
    ours, theirs = (tmp_path / name for name in ("ours", "theirs"))
    for root in (ours, theirs):
        (root / "deploy").mkdir(parents=True)
        (root / "deploy" / "journal.db").touch()
        (root / "shop_a" / "public").mkdir(parents=True)
    (ours / "shop_a" / "app" / "deploy").mkdir(parents=True)
    (ours / "shop_a" / "app" / "deploy" / "journal.db").touch()
    instances = LocalInstances()
    for directory, elsewhere in {
        ours / "shop_a" / "app": False,
        ours / "shop_a": False,
        ours / "shop_a" / "public": False,
        theirs / "shop_a": True,
        theirs / "shop_a" / "public": True,
        tmp_path: False,  # in no root at all, as one that changed its directory
    }.items():
        with program("import os; os.chdir(sys.argv[1]); ready(listen('127.0.0.1'))", str(directory)) as (
            _,
            process,
        ):
            assert instances.is_elsewhere(process, ours) is elsewhere, directory
    assert not instances.is_elsewhere(process, theirs)


def left_behind(
    marks: dict[str, str], root: Path, owner: int | None = None, **environment: str
) -> dict[int, str]:
    """What another process finds, for what a process has started itself never counts."""
    code = (
        "from pathlib import Path\nfrom substitute.probing.instances import LocalInstances\n"
        f"found = LocalInstances({owner}).marked({marks!r}, {{None}}, Path({str(root)!r}))\n"
        "print({process.pid: name for process, name in found.items()})"
    )
    asked = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **environment}, capture_output=True, check=True
    )
    return dict(literal_eval(asked.stdout.decode()))


@contextmanager
def sleeping(place: Path, environment: dict[str, str]) -> Iterator[int]:
    argv, given = ["sleep", "1000"], {**os.environ, **environment}
    with subprocess.Popen(argv, cwd=place, env=given, start_new_session=True) as program:
        try:
            eventually(lambda: name(program.pid) == "sleep")
            yield program.pid
        finally:
            program.kill()


def test_what_was_left_behind_is_found_by_its_environment_wherever_it_is(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    for place in (root, other):
        (place / "deploy").mkdir(parents=True)
        (place / "deploy" / "journal.db").touch()
    marks = {"SUBSTITUTE_APP": "shop", "SUBSTITUTE_DIRECTORY": str(root / "shop_a")}
    another = {**marks, "SUBSTITUTE_DIRECTORY": str(other / "shop_a")}
    with (
        sleeping(Path("/"), marks) as one,
        sleeping(root, marks) as two,
        sleeping(other, marks),
        sleeping(root, another),
    ):
        assert left_behind(marks, root) == {pid: f"sleep (pid {pid})" for pid in (one, two)}


def test_neither_another_users_process_nor_who_asks_counts_as_left_behind(tmp_path: Path) -> None:
    marks = {"SUBSTITUTE_APP": "shop", "SUBSTITUTE_DIRECTORY": str(tmp_path / "shop_a")}
    with sleeping(tmp_path, marks) as pid:
        assert set(left_behind(marks, tmp_path, os.geteuid(), **marks)) == {pid}
        assert left_behind(marks, tmp_path, os.geteuid() + 1, **marks) == {}


def test_what_a_hook_started_is_not_left_behind(tmp_path: Path) -> None:
    """It may be the daemon of a whole machine, as pm2's is."""
    marks = {"SUBSTITUTE_APP": "shop", "SUBSTITUTE_DIRECTORY": str(tmp_path / "shop_a")}
    with sleeping(tmp_path, marks) as build, sleeping(tmp_path, {**marks, "SUBSTITUTE_HOOK": "running"}):
        assert set(left_behind(marks, tmp_path)) == {build}
