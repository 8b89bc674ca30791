"""The parser of responses: what it reads, compared with another implementation, and what it forgives."""

from __future__ import annotations

import time
from itertools import pairwise

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from daemon.outbound.http_response import NotHttpError, Response, ResponseParser, read_whole

Outcome = tuple[int, bytes, bool]
TOKENS = st.sampled_from(["x-one", "Server", "DATE", "Set-Cookie"])
VALUES = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), max_size=20)
BODIES = st.binary(max_size=200)


def parsed(data: bytes, cuts: list[int], *, is_closed: bool = False) -> Outcome:
    """Return status, body and whether the connection can be used again, however the bytes arrive."""
    parser = ResponseParser()
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for start, end in pairwise(places):
        if not parser.is_complete:
            parser.feed(data[start:end])
    if is_closed and not parser.is_complete:
        parser.end()
    assert parser.is_complete
    response = parser.response()
    return response.status, response.body, parser.may_reuse


def oracle(data: bytes, *, is_closed: bool = False) -> Outcome:
    """Return what h11 reads. Raises h11.RemoteProtocolError."""
    talk = h11.Connection(h11.CLIENT)
    talk.send(h11.Request(method="POST", target="/", headers=[("host", "x"), ("content-length", "0")]))
    talk.send(h11.EndOfMessage())
    talk.receive_data(data)
    if is_closed:
        talk.receive_data(b"")
    status, body = 0, b""
    while not isinstance(event := talk.next_event(), h11.EndOfMessage):
        assert event is not h11.NEED_DATA
        if isinstance(event, h11.Response):
            status = event.status_code
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
    return status, body, talk.their_state is h11.DONE and not talk.trailing_data[0]


@st.composite
def answers(draw: st.DrawFn) -> bytes:
    """Return a response that any implementation reads alike."""
    status = draw(st.sampled_from([200, 202, 204, 304, 401, 429, 500, 503]))
    lines = [f"{name}: {value}" for name, value in draw(st.lists(st.tuples(TOKENS, VALUES), max_size=8))]
    lines += draw(st.sampled_from([[], ["Connection: close"], ["connection: Keep-Alive"]]))
    body, framing = draw(BODIES), draw(st.sampled_from(["length", "chunked"]))
    if status in {204, 304}:
        body, framed = b"", b""
    elif framing == "length":
        lines.append(f"Content-Length: {len(body)}")
        framed = body
    else:
        lines.append("Transfer-Encoding: chunked")
        size = draw(st.integers(1, 50))
        parts = [body[at : at + size] for at in range(0, len(body), size)]
        framed = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"
    interim = b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n" * draw(st.integers(0, 2))
    version = draw(st.sampled_from(["1.1", "1.0"])) if framing == "length" else "1.1"
    head = "\r\n".join([f"HTTP/{version} {status} Whatever", *draw(st.permutations(lines)), "", ""])
    return interim + head.encode() + framed


@given(data=answers(), cuts=st.lists(st.integers(0, 1000), max_size=6))
def test_answers_by_the_book_are_read_like_another_implementation_reads_them(data: bytes, cuts: list[int]) -> None:
    status, body, may_reuse = parsed(data, cuts)
    expected = oracle(data)
    assert (status, body) == expected[:2]
    if b"HTTP/1.0" not in data:  # h11 keeps no such connection, even if asked
        assert may_reuse == expected[2]


@settings(max_examples=200)
@given(data=answers(), place=st.integers(0, 10_000), new=st.binary(max_size=3), gone=st.integers(0, 3))
def test_a_mutated_answer_has_the_verdict_of_its_status_line(data: bytes, place: int, new: bytes, gone: int) -> None:
    at = place % len(data)
    changed = data[:at] + new + data[at + gone :]
    try:
        expected: Outcome | None = oracle(changed, is_closed=True)
    except h11.RemoteProtocolError:
        expected = None
    try:
        status, body, may_reuse = parsed(changed, [at], is_closed=True)
    except (NotHttpError, AssertionError):
        assert expected is None or not changed.startswith(b"HTTP/1.")
        return
    if expected is not None and status == expected[0]:
        # The same, or less certain: what is ambiguous ends with its connection.
        assert body == expected[1] or not may_reuse
    elif expected is not None:
        raise AssertionError((changed, status, expected))


@settings(max_examples=200)
@given(data=answers(), place=st.integers(0, 10_000), new=st.binary(max_size=3), gone=st.integers(0, 3))
def test_an_answer_that_arrives_in_one_piece_is_read_as_in_several(
    data: bytes, place: int, new: bytes, gone: int
) -> None:
    at = place % len(data)
    for each in (data, data[:at] + new + data[at + gone :]):
        if (whole := read_whole(each)) is not None:
            response, may_reuse = whole
            assert (response.status, response.body, may_reuse) == parsed(each, [at])


def test_the_usual_answer_is_read_in_one_piece() -> None:
    data = b"HTTP/1.1 429 Slow down\r\nDate: now\r\nRetry-After: 7\r\nContent-Length: 2\r\n\r\nno"
    assert read_whole(data) == (Response(429, "7", b"no"), True)
    assert read_whole(data[:-1]) is None
    assert read_whole(data + b"!") is None


def test_an_answer_is_read_byte_by_byte_in_time_that_grows_with_its_size() -> None:
    data = b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 300 + b"content-length: 3\r\n\r\nabc"
    assert parsed(data, list(range(len(data)))) == (200, b"abc", True)


@pytest.mark.parametrize(
    "rest",
    [
        b"content-length: 2\r\ncontent-length: 3\r\n\r\nok",
        b"content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"content-length: 2\r\n\r\nokHTTP/1.1 500 No\r\n\r\n",
        b"content-length: +2\r\n\r\nok",
        b"content-length: 2\r\nx: a\r\n b\r\n\r\nok",
        b"transfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"transfer-encoding: chunked\r\n\r\n2\r\nokay\r\n0\r\n\r\n",
        b"connection: close\r\ncontent-length: 2\r\n\r\nok",
        b"\r\nok",
    ],
    ids=str,
)
def test_a_connection_is_not_used_again_after_an_ambiguous_answer(rest: bytes) -> None:
    status, body, may_reuse = parsed(b"HTTP/1.1 200 OK\r\n" + rest, [], is_closed=True)
    assert (status, body[:2], may_reuse) == (200, b"ok", False)


@pytest.mark.parametrize("data", [b"SSH-2.0\r\n", b"X", b"HTTP/1.1 20\r\n", b"HTTP/1.1 OK\r\n\r\n", b"<html>" * 99])
def test_what_has_no_status_line_is_not_an_answer(data: bytes) -> None:
    with pytest.raises(NotHttpError):
        parsed(data, [], is_closed=True)


@pytest.mark.parametrize("gap", [b" ", b"\t", b"\r", b"a ", b"\r\n "])
def test_reading_odd_headers_takes_time_that_grows_with_their_size(gap: bytes) -> None:
    def seconds(count: int) -> float:
        started = time.process_time()
        assert (
            parsed(b"HTTP/1.1 503 No\r\nretry-after:5" + gap * count + b"5\r\ncontent-length:0\r\n\r\n", [])[0] == 503
        )
        return time.process_time() - started

    assert min(seconds(60_000 // len(gap)) for _ in range(3)) < 0.25  # quadratic: minutes


def test_interim_answers_without_end_are_not_an_answer() -> None:
    with pytest.raises(NotHttpError):
        parsed(b"HTTP/1.1 103 Early Hints\r\n" + b"link: x\r\n" * 10_000, [])
