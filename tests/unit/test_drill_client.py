"""The generator against real servers that misbehave: nothing is hidden, nothing is asked twice."""

from __future__ import annotations

import base64
import errno
import hashlib
import shutil
import socket
import ssl
import subprocess
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from substitute.drill.client.generator import Generator
from substitute.drill.load import Load
from substitute.http.failures import Kind, from_system
from tests.unit.misbehaving import OK, Peer, Server, forever

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE = 30.0


def put(load: Load, enough: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Put `load` on until what happened is `enough`, let it end, and return everything that happened."""
    generator = Generator(load)
    total: dict[str, Any] = {"lanes": [], "latency": [], "version": [], "failures": [], "counts": {}}
    deadline = time.monotonic() + PATIENCE
    while not generator.finished:
        generator.turn(time.monotonic() + 0.01)
        generator.check_timeouts()
        batch = generator.recorder.take()
        for column in ("lanes", "latency", "version", "failures"):
            total[column] += batch[column]
        total["counts"] = batch["counts"]
        if enough(total):
            generator.stop()
        assert time.monotonic() < deadline, total
    generator.close()
    return total


def done(number: int) -> Callable[[dict[str, Any]], bool]:
    return lambda total: len(total["lanes"]) + len(total["failures"]) >= number


def failed(number: int) -> Callable[[dict[str, Any]], bool]:
    return lambda total: len(total["failures"]) >= number


def one(server: Server, **more: Any) -> dict[str, Any]:
    """One request on a kept-alive connection that fails; its failure."""
    happened = put(Load(server.url, **{"rate": 50.0, "connections": 1, "new": 0.0, **more}), failed(1))
    failure: dict[str, Any] = happened["failures"][0]
    return failure


def answer_once(*pieces: bytes) -> Callable[[Peer], None]:
    def behave(peer: Peer) -> None:
        peer.request()
        for piece in pieces:
            peer.send(piece)

    return behave


def reset(peer: Peer) -> None:
    peer.request()
    peer.reset()


def silent(peer: Peer) -> None:
    peer.wait_for_the_end()


def half_then_silent(peer: Peer) -> None:
    answer_once(OK[:-1])(peer)
    peer.wait_for_the_end()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"

MISBEHAVIOURS: dict[str, tuple[Callable[[Peer], None], Kind]] = {
    "a reset": (reset, Kind.RESET),
    "no answer at all": (answer_once(), Kind.CLOSED),
    "half a head": (answer_once(b"HTTP/1.1 200 OK\r\nContent-Le"), Kind.CLOSED),
    "half a body": (answer_once(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"), Kind.CLOSED),
    "chunks without an end": (answer_once(CHUNKED, b"4\r\nhalf\r\n"), Kind.CLOSED),
    "half a chunk": (answer_once(CHUNKED, b"10\r\nhalf"), Kind.CLOSED),
    "no chunk size": (answer_once(CHUNKED, b"zz\r\n"), Kind.BODY),
    "a chunk that is longer than it says": (answer_once(CHUNKED, b"2\r\nlong\r\n0\r\n\r\n"), Kind.BODY),
    "503": (answer_once(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"), Kind.SERVER_ERROR),
    "404": (answer_once(b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"), Kind.CLIENT_ERROR),
    "no HTTP": (answer_once(b"SSH-2.0-OpenSSH\r\n"), Kind.BODY),
    "more than its length": (answer_once(OK + b"more"), Kind.BODY),
    "silence": (silent, Kind.TIMEOUT),
    "half a body, then silence": (half_then_silent, Kind.TIMEOUT),
}


@pytest.mark.parametrize("name", MISBEHAVIOURS)
def test_every_misbehaviour_is_the_failure_that_it_is(name: str) -> None:
    behave, kind = MISBEHAVIOURS[name]
    with Server(behave) as server:
        failure = one(server, timeout=0.4 if kind is Kind.TIMEOUT else 20.0)
    assert failure["kind"] == kind, failure
    assert failure["at"] >= failure["intended"]


@pytest.mark.parametrize(
    ("number", "connected", "kind"),
    [
        (errno.EMFILE, False, Kind.OURS),
        (errno.EADDRNOTAVAIL, False, Kind.OURS),
        (errno.ECONNREFUSED, False, Kind.REFUSED),
        (errno.EHOSTUNREACH, False, Kind.REFUSED),
        (errno.ECONNRESET, False, Kind.RESET),
        (errno.EPIPE, True, Kind.RESET),
        (errno.ETIMEDOUT, True, Kind.TIMEOUT),
    ],
)
def test_what_the_system_says_is_understood(number: int, connected: bool, kind: Kind) -> None:  # noqa: FBT001
    assert from_system(OSError(number, "as it says"), connected=connected).kind is kind


def test_a_connection_that_nobody_accepts_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    happened = put(Load(f"http://127.0.0.1:{port}", rate=50.0), failed(3))
    assert {failure["kind"] for failure in happened["failures"]} == {Kind.REFUSED}


def test_an_unexpected_body_is_a_failure_and_the_expected_one_is_not() -> None:
    with Server(forever()) as server:
        assert one(server, expect="welcome")["kind"] == Kind.BODY
        assert not put(Load(server.url, expect="ok"), done(5))["failures"]


def test_a_reset_of_a_kept_alive_connection_is_counted_and_the_request_never_sent_again() -> None:
    def answer_then_reset(peer: Peer) -> None:
        peer.request()
        peer.send(OK)
        peer.request()
        peer.reset()

    with Server(answer_then_reset) as server:
        happened = put(Load(server.url, rate=50.0, connections=1, new=0.0), done(10))
        asked = len(server.requests)
    assert asked == len(happened["lanes"]) + len(happened["failures"])
    assert len(happened["failures"]) >= 4
    assert {failure["kind"] for failure in happened["failures"]} == {Kind.RESET}
    assert {failure["version"] for failure in happened["failures"]} == {"1"}


def test_an_idle_connection_that_the_server_closes_hurts_no_request() -> None:
    with Server(answer_once(OK)) as server:
        happened = put(Load(server.url, rate=5.0, connections=1, new=0.0), done(3))
    assert not happened["failures"]
    assert happened["counts"]["idle connections closed by the server"] >= 2


@pytest.mark.parametrize(
    "answer",
    [
        OK,
        CHUNKED + b"2\r\nok\r\n0\r\n\r\n",
        CHUNKED + b"1;x=y\r\no\r\n1\r\nk\r\n0\r\nTrailer: x\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 100\r\n\r\n",
    ],
)
def test_every_right_answer_is_one_and_the_connection_stays(answer: bytes) -> None:
    connections = []

    def behave(peer: Peer) -> None:
        connections.append(peer)
        forever(answer)(peer)

    with Server(behave) as server:
        happened = put(Load(server.url, rate=100.0, connections=1, new=0.0), done(5))
    assert not happened["failures"]
    assert len(connections) == 1


def test_an_answer_may_end_with_its_connection_where_it_has_no_length() -> None:
    with Server(answer_once(b"HTTP/1.0 200 OK\r\n\r\n", b"ok")) as server:
        assert not put(Load(server.url, rate=50.0, connections=2), done(5))["failures"]


def test_so_many_percent_of_the_requests_open_a_connection_of_their_own() -> None:
    connections = []

    def behave(peer: Peer) -> None:
        connections.append(peer)
        forever()(peer)

    with Server(behave) as server:
        happened = put(Load(server.url, rate=200.0, connections=4, new=0.5), done(40))
    new = happened["lanes"].count("new connection")
    assert new >= 15
    assert len(connections) in range(new, new + 4)


def test_a_server_that_stalls_for_a_second_shows_in_every_request_of_that_second() -> None:
    served = []
    stall = threading.Lock()

    def behave(peer: Peer) -> None:
        while True:
            peer.request()
            with stall:
                served.append(peer)
                if len(served) == 20:
                    time.sleep(1)
            peer.send(OK)

    with Server(behave) as server:
        happened = put(Load(server.url, rate=100.0, connections=2, new=0.0), done(200))
    assert not happened["failures"]
    # A client that waits for its answers before it asks again would have seen two.
    assert sum(latency > 0.5 for latency in happened["latency"]) >= 40
    assert max(happened["latency"]) >= 0.99


def test_what_waits_for_a_connection_for_too_long_has_failed_too() -> None:
    with Server(silent) as server:
        load = Load(server.url, rate=1000.0, connections=1, new=0.0, timeout=0.3)
        happened = put(load, failed(100))
    assert {failure["kind"] for failure in happened["failures"]} == {Kind.TIMEOUT}
    assert any("no connection became free" in failure["detail"] for failure in happened["failures"])


def test_an_upload_is_held_back_in_its_middle() -> None:
    first = []

    def behave(peer: Peer) -> None:
        while True:
            while b"\r\n\r\n" not in (data := peer.more()):
                pass
            first.append(data.partition(b"\r\n\r\n")[2])
            peer.request()
            peer.send(OK)
            bodies.append(peer.body)

    bodies: list[bytes] = []
    with Server(behave) as server:
        load = Load(server.url, rate=0.1, upload="/upload", body="0123456789", pause=0.2, beside=1)
        happened = put(load, lambda total: total["lanes"].count("upload") >= 2)
    assert not happened["failures"]
    assert b"0123456789" in bodies
    assert b"01234" in first


def test_a_connection_on_which_half_an_upload_was_answered_is_not_used_again() -> None:
    uploads = []

    def answer_early(peer: Peer) -> None:
        if (data := peer.more()).startswith(b"POST"):
            uploads.append(peer)
            while b"\r\n\r\n" not in data:
                data = peer.more()
            peer.send(OK)
            peer.wait_for_the_end()
        forever()(peer)

    with Server(answer_early) as server:
        load = Load(server.url, rate=0.1, upload="/upload", pause=20.0, beside=1)
        happened = put(load, lambda total: total["lanes"].count("upload") >= 3)
    assert not happened["failures"]
    assert len(uploads) >= 3


@pytest.mark.skipif(not shutil.which("openssl"), reason="makes the certificate")
def test_https_is_spoken_and_its_certificate_verified(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=drill"),
            *("-keyout", str(key), "-out", str(certificate)),
        ],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    body = b"x" * 300_000
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\n\r\n" + body
    with Server(forever(answer), context) as server:
        assert not put(Load(server.url, insecure=True, rate=50.0, expect="xxx"), done(10))["failures"]
        failure = one(server)
    assert failure["kind"] == Kind.REFUSED
    assert "TLS" in failure["detail"]


# -- streams --------------------------------------------------------------------------------------


def frame(opcode: int, payload: bytes) -> bytes:
    return bytes([0x80 | opcode, len(payload)]) + payload


def upgrade(peer: Peer) -> None:
    head = peer.request()
    key = next(line[19:] for line in head.split(b"\r\n") if line.startswith(b"Sec-WebSocket-Key: "))
    digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
    peer.send(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + base64.b64encode(digest) + b"\r\n\r\n" + frame(1, b"hello")
    )


def with_websocket(behave: Callable[[Peer], None]) -> Callable[[Peer], None]:
    """Answer what is no WebSocket rightly."""

    def either(peer: Peer) -> None:
        while not (data := peer.more()):
            pass
        (behave if data.startswith(b"GET /socket ") else forever())(peer)

    return either


def load_with_websocket(server: Server, **more: Any) -> Load:
    return Load(server.url, rate=5.0, websocket="/socket", beside=1, **more)


def test_a_websocket_that_is_closed_properly_is_opened_again_and_no_failure() -> None:
    def close(peer: Peer) -> None:
        upgrade(peer)
        peer.send(frame(8, b"\x03\xe9"))
        peer.wait_for_the_end()

    with Server(with_websocket(close)) as server:
        happened = put(
            load_with_websocket(server),
            lambda total: total["counts"].get("websocket ended by the server", 0) >= 2,
        )
    assert not happened["failures"]
    assert happened["counts"]["websocket messages"] >= 2


def test_a_websocket_that_is_cut_is_a_failure() -> None:
    def cut(peer: Peer) -> None:
        upgrade(peer)
        peer.finish()

    with Server(with_websocket(cut)) as server:
        happened = put(load_with_websocket(server), failed(2))
    assert {(one["lane"], one["kind"]) for one in happened["failures"]} == {("websocket", Kind.CLOSED)}


def test_a_websocket_that_a_wave_may_end_is_no_failure_when_it_is_closed_and_opened_again() -> None:
    def cut(peer: Peer) -> None:
        upgrade(peer)
        peer.finish()

    with Server(with_websocket(cut)) as server:
        happened = put(
            load_with_websocket(server, in_waves=True),
            lambda total: total["counts"].get("websocket ended by the server", 0) >= 2,
        )
    assert not happened["failures"]


def test_a_websocket_that_does_not_answer_a_ping_is_a_failure() -> None:
    def ignore(peer: Peer) -> None:
        upgrade(peer)
        peer.wait_for_the_end()

    with Server(with_websocket(ignore)) as server:
        happened = put(load_with_websocket(server, timeout=0.5), failed(1))
    assert happened["failures"][0]["kind"] == Kind.TIMEOUT


def test_a_websocket_that_answers_its_pings_stays() -> None:
    def pong(peer: Peer) -> None:
        upgrade(peer)
        while True:
            peer.more()
            peer.send(frame(10, b"drill"))

    with Server(with_websocket(pong)) as server:
        happened = put(
            load_with_websocket(server, timeout=20.0),
            lambda total: total["counts"].get("websocket pongs", 0) >= 2,
        )
    assert not happened["failures"]
    assert happened["counts"]["websocket tried"] == 1


def with_events(*pieces: bytes) -> Callable[[Peer], None]:
    def behave(peer: Peer) -> None:
        while True:
            if peer.request().startswith(b"GET /events "):
                for piece in pieces:
                    peer.send(piece)
                return
            peer.send(OK)

    return behave


def test_an_event_stream_that_ends_properly_is_opened_again_and_no_failure() -> None:
    with Server(with_events(CHUNKED, b"9\r\ndata: 1\n\n\r\n", b"0\r\n\r\n")) as server:
        happened = put(
            Load(server.url, rate=5.0, sse="/events", beside=1),
            lambda total: total["counts"].get("sse ended by the server", 0) >= 2,
        )
    assert not happened["failures"]
    assert happened["counts"]["sse events"] >= 2


def test_an_event_stream_that_is_cut_is_a_failure() -> None:
    with Server(with_events(CHUNKED, b"9\r\ndata: 1\n\n\r\n")) as server:
        happened = put(Load(server.url, rate=5.0, sse="/events", beside=1), failed(2))
    assert {(one["lane"], one["kind"]) for one in happened["failures"]} == {("sse", Kind.CLOSED)}
