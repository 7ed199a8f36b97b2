from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from substitute.drill.load import Load
from substitute.http.answer import Answer
from substitute.http.failures import FailedError, Kind

CHUNKED = (
    b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5\r\nhello\r\n7;x=y\r\n, world\r\n0\r\nTrailer: x\r\n\r\n"
)
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\nhello, world"


@given(st.sampled_from([CHUNKED, LENGTH]), st.lists(st.integers(0, 200), max_size=10))
def test_an_answer_is_the_same_however_it_is_cut_into_pieces(answer: bytes, cuts: list[int]) -> None:
    body = bytearray()
    read = Answer(body.extend)
    edges = sorted({0, len(answer), *(cut for cut in cuts if cut < len(answer))})
    whole = [read.feed(answer[start:end]) for start, end in pairwise(edges)]
    assert whole == [False] * (len(whole) - 1) + [True]
    assert body == b"hello, world"


@pytest.mark.parametrize(
    ("said", "version"),
    [
        (b"X-Version: 7\r\nX-Substitute-Slot: b\r\n", "7"),
        (b"X-Substitute-Slot: b\r\n", "slot b"),
        (b"X-Version:\r\nX-Substitute-Slot: b\r\n", "slot b"),
        (b"", ""),
    ],
)
def test_a_version_is_what_the_app_calls_itself_and_else_the_slot_that_haproxy_names(
    said: bytes, version: str
) -> None:
    read = Answer()
    assert read.feed(b"HTTP/1.1 200 OK\r\n" + said + b"Content-Length: 0\r\n\r\n")
    assert read.head
    assert Load("http://127.0.0.1").version(read.head) == version


@given(st.sampled_from([CHUNKED, LENGTH]), st.integers(0, 200))
def test_an_answer_that_ends_before_its_end_was_closed_early(answer: bytes, length: int) -> None:
    read = Answer()
    part = answer[: min(length, len(answer) - 1)]
    assert not read.feed(part)
    with pytest.raises(FailedError) as caught:
        read.end()
    assert caught.value.kind is Kind.CLOSED


@given(st.binary(max_size=300))
def test_no_bytes_are_more_than_a_failure(data: bytes) -> None:
    read = Answer()
    try:
        read.feed(data)
        read.end()
    except FailedError:
        pass


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: -1",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1_0",
        b"HTTP/1.1 2000 OK",
        b"HTTP/2 200",
        b"HTTP/1.1 200 OK\r\nno header",
    ],
)
def test_a_head_is_read_strictly(head: bytes) -> None:
    with pytest.raises(FailedError) as caught:
        Answer().feed(head + b"\r\n\r\n")
    assert caught.value.kind is Kind.BODY


def test_the_answer_to_head_has_no_body_whatever_its_length_says() -> None:
    assert Answer(bodiless=True).feed(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n")


def test_lines_may_end_in_a_bare_line_feed() -> None:
    body = bytearray()
    assert Answer(body.extend).feed(b"HTTP/1.1 200 OK\nContent-Length: 4\n\n\r\n\r\n")
    assert body == b"\r\n\r\n"


@pytest.mark.parametrize("answer", [CHUNKED, LENGTH])
def test_bytes_after_the_end_are_a_failure_of_a_whole_answer(answer: bytes) -> None:
    read = Answer()
    with pytest.raises(FailedError, match="3 bytes after the end of the answer") as caught:
        read.feed(answer + b"xyz")
    assert caught.value.kind is Kind.BODY
    assert read.whole
