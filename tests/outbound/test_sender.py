"""One attempt at a target: limited in time and size, signed, and without any secret in its result."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gzip
import time
import zlib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import SecretStr
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from daemon import errors
from daemon.formats import pagerduty_v3
from daemon.model import Content
from daemon.outbound import connection, http_connection, masking, sender
from daemon.settings import Target
from tests.harness.listening import listening
from tests.harness.receivers import SECRET, Receiver, Reply, Request

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

NEW = "whsec_bmV3LXNlY3JldC1uZXctc2VjcmV0LW5ldy1zZWNyZXQ="
BODY = '{"type":"incident.triggered","data":{"title":"Größe geprüft ✓"}}'.encode()
PATH = "/services/canary-path/canary-token"
QUERY = "key=canary-query"
HEADER = "canary-header-value"


def target(url: str, *secrets: str, **more: Any) -> Target:
    """Return a target with a long time-out, however busy the machine is."""
    more.setdefault("timeout", timedelta(seconds=15))
    return Target("ops", SecretStr(url), tuple(SecretStr(each) for each in secrets or (SECRET,)), **more)


def plain(body: bytes) -> Content:
    return Content(body, "application/json")


async def attempt(chosen: Target, body: bytes = BODY) -> sender.SendResult:
    """Make one attempt with a new sender."""
    sending = sender.Sender(chosen)
    try:
        async with asyncio.timeout(20):
            return await sending.send("msg_1", plain(body), int(time.time()))
    finally:
        await sending.close()


async def answered(reply: Reply, **more: Any) -> sender.SendResult:
    """Return the result of an attempt at a receiver with this behaviour."""
    async with Receiver(lambda _request: reply).serving() as url:
        return await attempt(target(url, **more))


def speaking(words: bytes) -> AbstractAsyncContextManager[int]:
    """Run a server that always sends the same bytes and closes the connection; yield its port."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(words)
        await writer.drain()

    return listening(converse)


# --- requests


async def test_the_standard_webhooks_library_verifies_every_request() -> None:
    receiver = Receiver()
    async with receiver.serving() as url:
        answer = await attempt(target(url))
    (request,) = receiver.got
    assert Webhook(SECRET).verify(request.body, request.headers)["data"]["title"] == "Größe geprüft ✓"
    assert request.body == BODY
    assert request.id == "msg_1"
    assert (answer.status, answer.error, answer.excerpt) == (200, None, None)
    with pytest.raises(WebhookVerificationError):
        Webhook(NEW).verify(request.body, request.headers)


@pytest.mark.parametrize("changed", ["webhook-id", "webhook-timestamp"])
async def test_the_signature_covers_id_time_and_body(changed: str) -> None:
    receiver = Receiver()
    async with receiver.serving() as url:
        await attempt(target(url))
    (request,) = receiver.got
    other = request.headers | {changed: str(int(time.time()) + 1)}
    for headers, body in ((other, BODY), (request.headers, BODY + b" ")):
        with pytest.raises(WebhookVerificationError):
            Webhook(SECRET).verify(body, headers)


async def test_several_secrets_sign_in_their_order() -> None:
    receiver = Receiver()
    async with receiver.serving() as url:
        for secrets in ((SECRET, NEW), (SECRET,), (NEW,)):
            await attempt(target(url, *secrets))
    both, first, second = receiver.got
    for secret in (SECRET, NEW):
        Webhook(secret).verify(both.body, both.headers)
    assert [len(each.headers["webhook-signature"].split(" ")) for each in (both, first, second)] == [2, 1, 1]
    at = datetime.fromtimestamp(int(both.headers["webhook-timestamp"]), UTC)
    in_turn = [Webhook(secret).sign("msg_1", at, BODY.decode()) for secret in (SECRET, NEW)]
    assert both.headers["webhook-signature"].split(" ") == in_turn


async def test_key_pairs_sign_beside_shared_secrets_and_are_hidden_from_formats() -> None:
    pair = "whsk_nWGxne/9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A="
    keys: list[tuple[str, ...]] = []

    def sign(_body: bytes, secrets: Sequence[str]) -> dict[str, str]:
        keys.append(tuple(secrets))
        return {}

    sending = sender.Sender(target("http://127.0.0.1:1/", pair, SECRET), sign)
    headers = sending.headers("msg_1", plain(BODY), 1)
    assert [each.partition(",")[0] for each in headers["webhook-signature"].split(" ")] == ["v1a", "v1"]
    assert keys == [(SECRET,)]


async def test_path_query_and_headers_are_sent_as_configured() -> None:
    receiver = Receiver()
    async with receiver.serving() as url:
        headers = (("X-Team", SecretStr("blue")), ("Authorization", SecretStr("Bearer x")))
        await attempt(target(url.replace("/hook", "/a%2Fb/?c=d&e=%20"), headers=headers))
    (request,) = receiver.got
    assert request.path == "/a%2Fb/?c=d&e=%20"
    assert (request.headers["x-team"], request.headers["authorization"]) == ("blue", "Bearer x")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["user-agent"].startswith("pagerelay/")
    assert "accept-encoding" not in request.headers


async def test_proxies_from_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy, receiver = Receiver(), Receiver()
    async with proxy.serving() as between, receiver.serving() as url:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, between)
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)
        assert (await attempt(target(url))).status == 200
    assert (len(receiver.got), proxy.got) == (1, [])


# --- responses


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
async def test_every_2xx_is_a_success(status: int) -> None:
    answer = await answered(Reply(status, {"retry-after": "5"}, b"" if status == 204 else b"thanks"))
    body = None if status == 204 else "thanks"
    assert (answer.status, answer.error, answer.retry_after, answer.excerpt) == (status, None, None, body)


@pytest.mark.parametrize("status", [300, 304, 400, 401, 404, 410, 429, 500, 503, 599, 999])
async def test_every_other_status_is_a_failure_with_an_excerpt_of_the_response(status: int) -> None:
    answer = await answered(Reply(status, {"retry-after": "5"}, b"" if status == 304 else b"no thanks"))
    body = None if status == 304 else "no thanks"
    assert (answer.status, answer.error, answer.retry_after) == (status, f"answered {status}", "5")
    assert answer.excerpt == body


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed_but_named_without_path_and_query(status: int) -> None:
    elsewhere = Receiver()
    async with elsewhere.serving() as other:
        answer = await answered(Reply(status, {"location": f"{other}{PATH}?{QUERY}"}))
    moved = f"answered {status}: moved to {other.removesuffix('/hook')}/…; update the URL"
    assert (answer.status, answer.error, elsewhere.got) == (status, moved, [])


@pytest.mark.parametrize("location", ["ftp://canary/", "http://[", "http://canary name/", "//user:canary@/", "\xff"])
async def test_a_redirect_to_nowhere_is_a_failure_all_the_same(location: str) -> None:
    words = f"HTTP/1.1 308 Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n".encode("latin-1")
    async with speaking(words) as port:
        answer = await attempt(target(f"http://127.0.0.1:{port}/"))
    assert (answer.status, answer.error) == (308, "answered 308")


async def test_an_attempt_times_out_without_an_answer() -> None:
    answer = await answered(Reply(how="hang"), timeout=timedelta(milliseconds=300))
    assert (answer.status, answer.error) == (None, "no response within 0.3 s")
    assert 0.29 <= answer.seconds < 5


@pytest.mark.parametrize(("first", "then", "pause", "status"), [(15, 0.3, 60, None), (1.5, 15, 1.6, 200)])
async def test_each_request_on_a_kept_connection_has_its_own_time(
    first: float, then: float, pause: float, status: int | None
) -> None:
    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for seconds in (0, pause):
            await reader.readuntil(BODY)
            await asyncio.sleep(seconds)
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    async with listening(converse) as port, asyncio.timeout(10):
        url = f"http://127.0.0.1:{port}/"
        client = connection.PinnedClient(url, target(url))
        assert (await client.post({}, BODY, first)).status == 200
        answer = None
        with contextlib.suppress(errors.NoAnswer):
            answer = await client.post({}, BODY, then)
        await client.close()
    assert (answer and answer.status) == status


@pytest.mark.parametrize(("status", "error"), [(200, None), (500, "answered 500")])
@pytest.mark.parametrize("seconds", [0.3, 15])
async def test_the_status_counts_after_a_moment_even_if_bytes_keep_trickling_in(
    status: int, error: str | None, seconds: float
) -> None:
    answer = await answered(Reply(status, how="drip"), timeout=timedelta(seconds=seconds))
    assert (answer.status, answer.error) == (status, error)
    assert set(answer.excerpt or "") == {"."}
    assert 0.29 <= answer.seconds < 5


async def test_an_attempt_times_out_while_a_status_line_trickles_in() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for byte in b"HTTP/1.1 " + b" " * 1000:
            writer.write(bytes([byte]))
            await asyncio.sleep(0.02)

    async with listening(drip) as port:
        answer = await attempt(target(f"http://127.0.0.1:{port}/", timeout=timedelta(milliseconds=300)))
    assert (answer.status, answer.error) == (None, "no response within 0.3 s")
    assert answer.seconds < 5


async def test_at_most_64_kib_of_a_response_are_read() -> None:
    sent = 0

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 500 Big\r\ntransfer-encoding: chunked\r\n\r\n")
        try:
            while True:
                writer.write(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
                await writer.drain()
                sent += 0x1000
        except ConnectionError:
            disconnected.set()

    disconnected = asyncio.Event()
    async with listening(endless) as port, asyncio.timeout(20):
        answer = await attempt(target(f"http://127.0.0.1:{port}/hook"))
        await disconnected.wait()
    assert (answer.status, answer.excerpt) == (500, "x" * 1024)
    assert sent < 16 * 1024 * 1024  # the data in buffers counts as well


async def test_a_compressed_response_is_not_decompressed() -> None:
    bomb = gzip.compress(b"a" * 50_000_000)
    assert len(bomb) < connection.LARGEST_BODY
    for encoding in ("gzip", "deflate", "br", "zstd"):
        answer = await answered(Reply(500, {"content-encoding": encoding}, bomb))
        assert answer.status == 500
        assert answer.excerpt is not None
        assert "aaaa" not in answer.excerpt
        assert len(answer.excerpt) <= sender.EXCERPT
    assert (await answered(Reply(200, {"content-encoding": "gzip"}, b"junk"))).status == 200


async def test_a_response_that_would_decompress_to_256_mib_takes_no_memory() -> None:
    packer = zlib.compressobj(wbits=31)
    head = packer.compress(b"") + packer.flush(zlib.Z_FULL_FLUSH)
    mebibyte = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    bomb = head + mebibyte * 256
    assert len(zlib.decompressobj(wbits=31).decompress(head + mebibyte * 2)) == 2 << 20
    before = _peak(anew=True)
    for code in (200, 500):
        answer = await answered(Reply(code, {"content-encoding": "gzip"}, bomb))
        assert answer.status == code
    assert _peak() - before < 32 * 1024


def _peak(*, anew: bool = False) -> int:
    """Return this process's peak memory in KiB; ``anew`` resets it first."""
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
    (line,) = (each for each in Path("/proc/self/status").read_text().splitlines() if each.startswith("VmHWM:"))
    return int(line.split()[1])


async def test_the_excerpt_of_a_response_is_text_whatever_its_bytes() -> None:
    answer = await answered(Reply(500, {}, b"\x00\xff\xfe ok \xc3"))
    assert answer.excerpt == "\ufffd\ufffd\ufffd ok \ufffd"
    assert (await answered(Reply(500, {}, b""))).excerpt is None


@pytest.mark.parametrize("value", ["\xff\xfe", "\xe9t\xe9"])
async def test_a_retry_after_that_is_not_text_counts_as_absent(value: str) -> None:
    async with speaking(
        f"HTTP/1.1 503 No\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n".encode("latin-1")
    ) as port:
        answer = await attempt(target(f"http://127.0.0.1:{port}/"))
    assert (answer.status, answer.retry_after, answer.error) == (503, None, "answered 503")


# --- errors


async def test_a_refused_connection_is_named_in_the_error() -> None:
    async with Receiver().serving() as url:
        pass
    answer = await attempt(target(f"{url}?{QUERY}"))
    assert (answer.status, answer.error) == (None, "could not connect: Connection refused (os error 111)")


async def test_an_unknown_host_is_named_in_the_error() -> None:
    nowhere = f"http://{'x' * 64}.invalid/hook?{QUERY}"  # the label is too long, so no lookup is needed
    answer = await attempt(target(nowhere))
    assert answer.status is None
    assert answer.error == f"{'x' * 64}.invalid cannot be resolved: Name or service not known"


async def test_a_broken_connection_is_named_in_the_error() -> None:
    answer = await answered(Reply(how="reset"))
    assert answer.error == "the connection broke: connection closed before message completed"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", http_connection.NOT_HTTP),
        (b"H", http_connection.NOT_HTTP),
        (b"HTTP/1.1 abc\r\n\r\n", http_connection.NOT_HTTP),
        (b"HTTP/1.1 2000 OK\r\n\r\n", http_connection.NOT_HTTP),
        (b"HTTP/1.1 100 Continue\r\n\r\n", "the connection broke: connection closed before message completed"),
        (b"", "the connection broke: connection closed before message completed"),
    ],
)
async def test_a_response_that_is_not_http_is_a_readable_error(words: bytes, error: str) -> None:
    async with speaking(words) as port:
        answer = await attempt(target(f"http://127.0.0.1:{port}/hook"))
    assert answer.status is None
    assert answer.error == error


@pytest.mark.parametrize("status", [204, 200, 429, 500])
@pytest.mark.parametrize(
    "rest",
    [
        b"",
        b" ",
        b" No\r\n",
        b" No\r\nretry-after: 5\r\n",
        b" No\r\nretry-after: 5\r\ncontent-length: 10\r\n\r\nabc",
        b" No\r\nretry-after: 5\r\ntransfer-encoding: chunked\r\n\r\nzzz\r\n",
        b" No\r\nretry-after: 5\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b" No\r\nretry-after: 5\r\ncontent-length: 1\r\ncontent-length: 3\r\n\r\nabc",
        b" No\r\nretry-after : 5\r\ncontent-length: -1\r\n\r\nabc",
        b" No\r\nx: a\r\n  b\r\nretry-after:\r\n 5\r\ny: \x00\x01\x7f\xff\r\nno colon\r\n\r\nabc",
        b" No\nretry-after: 5\n\nabc",
        b" N\x00\xff\r\nretry-after: 5\r\n: \r\n\xe9: a\r\n\r\nabc",
        b" No\r\n" + b"x: y\r\n" * 10_000 + b"retry-after: 5\r\n\r\nabc",
        b" No\r\nretry-after: 5\r\ncontent-length: 3\r\n\r\nabcHTTP/1.1 500 Another\r\n\r\n",
    ],
    ids=str,
)
async def test_what_follows_the_status_line_changes_no_verdict(status: int, rest: bytes) -> None:
    words = b"HTTP/1.1 100 Continue\r\nx: y\r\n\r\nHTTP/1.1 103\r\n\r\nHTTP/1.1 %d%b" % (status, rest)
    async with speaking(words) as port:
        answer = await attempt(target(f"http://127.0.0.1:{port}/hook"))
    good = status in range(200, 300)
    assert (answer.status, answer.error) == (status, None if good else f"answered {status}")
    assert answer.retry_after == (None if good or b"\n\r\n" not in rest.replace(b"\n\n", b"\n\r\n") else "5")


@pytest.mark.parametrize("status", [413, 401, 429])
async def test_an_answer_before_the_body_was_sent_counts(status: int) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 %d No\r\nretry-after: 7\r\ncontent-length: 3\r\n\r\nbig" % status)
        await writer.drain()
        writer.transport.abort()

    async with listening(refuse) as port:
        answer = await attempt(target(f"http://127.0.0.1:{port}/hook"), b"x" * 20_000_000)
    assert (answer.status, answer.retry_after, answer.excerpt) == (status, "7", "big")


async def test_a_request_on_a_connection_that_was_closed_meanwhile_is_sent_once_more() -> None:
    requests = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal requests
        await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(len(BODY))
        requests += 1
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")  # the next request is not answered
        writer.transport.abort()

    async with listening(serve) as port:
        sending = sender.Sender(target(f"http://127.0.0.1:{port}/hook"))
        for _ in range(3):
            assert (await sending.send("msg_1", plain(BODY), 1)).status == 200
        await sending.close()
    assert requests == 3


async def test_header_names_are_spelt_as_configured_and_as_pagerduty_spells_them() -> None:
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 OK\r\n\r\n")

    async with listening(serve) as port:
        chosen = target(f"http://127.0.0.1:{port}/hook", headers=(("X-TeAm", SecretStr("blue")),))
        sending = sender.Sender(chosen, functools.partial(pagerduty_v3.sign, "ops"))
        assert (await sending.send("msg_1", plain(BODY), 1)).status == 204
        await sending.close()
    (head,) = heads
    assert head.startswith(b"POST /hook HTTP/1.1\r\n")
    assert b"\r\nX-TeAm: blue\r\n" in head
    assert b"\r\nX-PagerDuty-Signature: v1=" in head
    assert b"expect" not in head.lower()


async def test_https_to_a_plain_http_port_is_named_in_the_error() -> None:
    async with speaking(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        answer = await attempt(target(f"https://127.0.0.1:{port}/hook?{QUERY}"))
    assert answer.error == "could not connect: the target does not speak TLS (use http:// or another port)"


# --- secrets


def secretive(url: str) -> Target:
    """Return a target with secrets in every setting."""
    return target(url.replace("/hook", f"{PATH}?{QUERY}"), SECRET, NEW, headers=(("x-key", SecretStr(HEADER)),))


@pytest.mark.parametrize("echo", [PATH, QUERY, f"{PATH}?{QUERY}", SECRET, NEW, HEADER, f"{NEW} {SECRET}{HEADER}"])
@pytest.mark.parametrize("before", [0, 1000, 1020])
async def test_an_excerpt_contains_no_secret_that_the_target_echoes_not_even_half_of_one(
    echo: str, before: int
) -> None:
    receiver = Receiver(lambda _request: Reply(404, {}, b"." * before + f"Cannot POST {echo} here".encode()))
    async with receiver.serving() as url:
        answer = await attempt(secretive(url))
    assert answer.excerpt is not None
    texts = answer.excerpt.lstrip(".")
    assert "Cannot POST *** here".startswith(texts) or "***" in texts
    for secret in (PATH, QUERY, SECRET, NEW, HEADER):
        assert secret[:6] not in texts


async def test_an_excerpt_contains_no_url_of_the_target() -> None:
    receiver = Receiver(lambda request: Reply(404, {}, f"http://{request.headers['host']}{request.path}".encode()))
    async with receiver.serving() as url:
        answer = await attempt(secretive(url))
    assert answer.excerpt == "***"


async def test_no_excerpt_contains_a_token_of_the_url_alone_or_json_escaped() -> None:
    path = "/services/T012345678/B0123456789/sEcretPart012345678901234"
    body = rf'no hook "{path.rpartition("/")[2]}", {{"path": "{path}", "key": "a/&-canary"}}'

    def behave(_request: Request) -> Reply:
        return Reply(404, {}, (body + body.replace("/", r"\/") + body.replace("&", "&amp;")).encode())

    async with Receiver(behave).serving() as url:
        answer = await attempt(target(url.replace("/hook", f"{path}?key=a%2F%26-canary")))
    assert answer.excerpt is not None
    assert "sEcret" not in answer.excerpt
    assert "canary" not in answer.excerpt
    assert list(masking.pieces("https://ops.example.com/incoming-webhooks-of-pagerduty/v2?a=b")) == []


async def test_no_error_and_no_repr_contains_a_secret() -> None:
    texts = []
    for url in ("http://127.0.0.1:1/hook", f"http://{'x' * 64}.invalid/hook"):
        sending = sender.Sender(secretive(url))
        texts += [repr(await sending.send("msg_1", plain(BODY), 1)), repr(sending)]
        await sending.close()
    async with speaking(b"junk") as port:
        texts.append(repr(await attempt(secretive(f"http://127.0.0.1:{port}/hook"))))
    for text in texts:
        for secret in ("canary", SECRET.removeprefix("whsec_"), NEW.removeprefix("whsec_")):
            assert secret not in text
    assert len(texts) == 5


def test_a_short_path_is_not_treated_as_a_secret() -> None:
    short, long = "https://ops.example.com/in?a=b", f"https://ops.example.com{PATH}?{QUERY}"
    assert list(masking.of_url(short)) == [short]
    assert list(masking.of_url(long)) == [long, PATH, QUERY]


async def test_connections_are_reused() -> None:
    receiver = Receiver(lambda request: Reply(200 if request.id == "msg_0" else 500, {}, b"short"))
    async with receiver.serving() as url:
        sending = sender.Sender(target(url))
        for number in range(5):
            await sending.send(f"msg_{number}", plain(BODY), 1)
        await sending.close()
    assert (len(receiver.got), receiver.connections) == (5, 1)
