"""Calls to PagerDuty: one at a time per connection, each with a permit of its own.

Readings that fail temporarily are repeated a few times here; then, and for permanent ones
at once, an error says which of the two it is. ``call`` makes one request and repeats
nothing: whoever changes something decides himself. Nothing is logged but calls, at debug level.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import orjson
import structlog
from pydantic import SecretStr

import daemon
from daemon import errors
from daemon.model import SUCCESS, Rejected
from daemon.pagerduty import failures, paths, records
from daemon.pagerduty.listing import PAGE, ListedPage, Listing, Window, read_all
from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from daemon.model import CallPriority, Json
    from daemon.pagerduty.permits import Permits
    from daemon.settings import Connection

log = structlog.get_logger()

CONNECT_SECONDS = 10.0
READ_SECONDS = 20.0
CALL_SECONDS = 28.0  # below permits.LONGEST_CALL, which permits count on
LARGEST_BODY = 32 * 1024 * 1024
ATTEMPTS = 4
FIRST_PAUSE = 1.0
LONGEST_PAUSE = timedelta(seconds=60)
BAD_REQUEST = 400
OK = 200
EVENTS_RATE_LIMITED = 403  # what 429 is elsewhere

Query = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A good answer: its JSON object, and PagerDuty's clock when it was made, if it said so."""

    body: Json
    server_time: datetime | None

    def one(self, name: str) -> Json:
        """The object that was asked for. Raises Temporary if it is not there: nothing is known then."""
        found = lenient_json.get_object(self.body, name)
        if lenient_json.get_text(found, "id") is None:
            message = f"PagerDuty answered without {name}"
            raise errors.Temporary(message, status=OK)
        return found

    def all(self, name: str) -> list[Json]:
        """The list that was asked for. Raises Temporary if it is not there: nothing is known then."""
        if not isinstance(self.body.get(name), list):
            message = f"PagerDuty answered without {name}"
            raise errors.Temporary(message, status=OK)
        return lenient_json.get_objects(self.body, name)


class Client:
    """One connection's client. ``calls`` counts the requests made so far.

    Each takes ``call_seconds`` at most, from its start to the last byte of its answer.
    Every method raises Temporary or Permanent if its calls do not work.
    """

    def __init__(
        self,
        connection: Connection,
        permits: Permits,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self._host = urlsplit(connection.api_url).netloc
        self._key = connection.api_key
        self._permits = permits
        self._sleep = sleep
        self._call_seconds = call_seconds
        self.calls = 0
        self._http = _http(
            connection.api_url,
            connection.proxy,
            transport,
            {
                "Accept": "application/vnd.pagerduty+json;version=2",
                "Authorization": f"Token token={connection.api_key.get_secret_value()}",
            },
        )
        self._events = _http(connection.events_url, connection.proxy, transport, {"Accept": "application/json"})

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        await self._events.aclose()

    async def call(
        self,
        method: str,
        path: str,
        priority: CallPriority,
        *,
        query: Query | None = None,
        body: Json | None = None,
        sender: str | None = None,
        room: int = 1,
    ) -> ApiResponse:
        """One request to the REST API. ``sender`` is the e-mail address for ``From``, which changes need."""
        headers = {} if sender is None else {b"From": sender.encode()}
        request = self._http.build_request(
            method, path, params=tuple(query or ()), content=_encoded(body), headers=headers
        )
        try:
            return await self._call(self._http, request, priority, self._key, room)
        except errors.Temporary as error:
            if error.status == failures.TOO_MANY_REQUESTS:
                await self._permits.block(error.delay)
            raise

    async def create_event(self, path: str, body: Json, priority: CallPriority) -> Json:
        """One request to the Events API, which has no key but the service's own, and a limit of its own."""
        request = self._events.build_request("POST", path, content=_encoded(body))
        try:
            # What it says may repeat the service's key, and is shortened.
            return (await self._call(self._events, request, priority, SecretStr(body["service_key"]))).body
        except errors.Permanent as error:
            if error.status == EVENTS_RATE_LIMITED:
                raise errors.Temporary(str(error), status=error.status, request_id=error.request_id) from None
            raise

    async def log_entries(self, since: datetime, until: datetime, priority: CallPriority) -> Window:
        """Every log entry from ``since`` to ``until``, whole or not at all.

        Raises WindowTooLarge if PagerDuty cannot list that many or takes too long for it.
        """
        query = [
            ("since", _utc(since)),
            ("until", _utc(until)),
            ("time_zone", "UTC"),
            ("is_overview", "false"),
            ("include[]", "incidents"),
            ("include[]", "channels"),
        ]
        pages = await read_all(lambda offset: self._page("/log_entries", "log_entries", query, offset, priority))
        read = [records.log_entry(record) for record in pages.records]
        entries = tuple(each for each in read if not isinstance(each, Rejected))
        rejected = tuple(each for each in read if isinstance(each, Rejected))
        return Window(entries, rejected, pages.server_time, pages.calls)

    async def open_incidents(self, priority: CallPriority) -> Listing:
        """Every incident that is triggered or acknowledged, however old. Raises WindowTooLarge above 10,000."""
        query = [
            ("statuses[]", "triggered"),
            ("statuses[]", "acknowledged"),
            ("date_range", "all"),
            ("sort_by", "incident_number:asc"),
        ]
        pages = await read_all(lambda offset: self._page("/incidents", "incidents", query, offset, priority))
        read = [records.incident(record) for record in pages.records]
        incidents = dict(each for each in read if not isinstance(each, Rejected))
        return Listing(incidents, tuple(each for each in read if isinstance(each, Rejected)))

    async def incident(self, incident_id: str, priority: CallPriority) -> Json | Rejected | None:
        """One incident; None if PagerDuty has it no more, Rejected if the answer is none."""
        try:
            answer, _ = await self._get(paths.to("incidents", incident_id), [], priority)
        except errors.Permanent as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        found = records.incident(answer.get("incident"))
        return found if isinstance(found, Rejected) else found[1]

    async def find_user(self, email: str, priority: CallPriority) -> str | None:
        """The id of the user with exactly this e-mail address, whatever its case."""
        query = [("query", email)]
        pages = await read_all(lambda offset: self._page("/users", "users", query, offset, priority))
        for user in pages.records:
            if (lenient_json.get_text(user, "email") or "").lower() == email.lower():
                return lenient_json.get_text(user, "id")
        return None

    async def _page(self, path: str, name: str, query: Query, offset: int, priority: CallPriority) -> ListedPage:
        place = [("limit", str(PAGE)), ("offset", str(offset))]
        try:
            answer, server_time = await self._get(path, [*query, *place], priority)
        except errors.Permanent as error:
            if error.status == BAD_REQUEST and offset:  # the first page was fine: it lists no more than that
                raise errors.WindowTooLarge(
                    str(error), status=error.status, code=error.code, request_id=error.request_id
                ) from None
            raise
        found = answer.get(name)
        if not isinstance(found, list):
            message = f"{self._host} answered {path} without {name}"
            raise errors.Temporary(message, status=OK)
        more = answer.get("more")
        return ListedPage(found, more if isinstance(more, bool) else len(found) >= PAGE, server_time)

    async def _get(self, path: str, query: Query, priority: CallPriority) -> tuple[Json, datetime | None]:
        """One reading, repeated while that may help and does not take long."""
        for attempt in range(1, ATTEMPTS + 1):
            pause = FIRST_PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
            try:
                answer = await self.call("GET", path, priority, query=query)
            except errors.Temporary as error:
                asked = error.delay or timedelta(0)
                if attempt == ATTEMPTS or asked > LONGEST_PAUSE:
                    raise
                pause = max(pause, asked.total_seconds())
            else:
                return answer.body, answer.server_time
            await self._sleep(pause)
        raise AssertionError

    async def _call(
        self, http: httpx.AsyncClient, request: httpx.Request, priority: CallPriority, secret: SecretStr, room: int = 1
    ) -> ApiResponse:
        """One request and its answer. Raises Temporary or Permanent."""
        async with self._permits.permit(priority, room):
            self.calls += 1
            started = time.perf_counter()
            status, headers, body = await self._send(http, request)
        took = (time.perf_counter() - started) * 1000
        host, path = request.url.netloc.decode("ascii"), request.url.path
        told = {"method": request.method, "path": path, "status": status, "request_id": failures.request_id(headers)}
        log.debug("pagerduty.called", **told, took_ms=round(took))
        try:
            answer = records.decode(body)
        except ValueError:
            answer = None
        if status in SUCCESS and isinstance(answer, dict):
            return ApiResponse(answer, _date(headers))
        raise failures.failure(f"{host} answered {path}", status, headers, answer, secret)

    async def _send(self, http: httpx.AsyncClient, request: httpx.Request) -> tuple[int, Mapping[str, str], bytes]:
        host, path = request.url.netloc.decode("ascii"), request.url.path
        try:
            async with asyncio.timeout(self._call_seconds):
                response = await http.send(request, stream=True)
                try:
                    return response.status_code, response.headers, await _bounded(response, f"{host} answered {path}")
                finally:
                    await response.aclose()
        except TimeoutError:
            message = f"{host} did not answer within {self._call_seconds:g} s"
            raise errors.Temporary(message) from None
        except httpx.HTTPError as error:
            # The library's own words may hold the request's headers, and with them the key.
            message = f"the call to {host} broke off ({type(error).__name__})"
            raise errors.Temporary(message) from None


def _http(
    url: str, proxy: SecretStr | None, transport: httpx.AsyncBaseTransport | None, headers: dict[str, str]
) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=url,
        headers=headers | {"Content-Type": "application/json", "User-Agent": f"pagerelay/{daemon.__version__}"},
        timeout=httpx.Timeout(READ_SECONDS, connect=CONNECT_SECONDS),
        follow_redirects=False,
        trust_env=False,
        proxy=None if proxy is None else proxy.get_secret_value(),
        verify=_tls(),
        transport=transport,
    )


def _encoded(body: Json | None) -> bytes | None:
    return None if body is None else orjson.dumps(body)


async def _bounded(response: httpx.Response, what: str) -> bytes:
    """The body of an answer, unless it is too large."""
    parts: list[bytes] = []
    size = 0
    async for part in response.aiter_bytes():
        parts.append(part)
        size += len(part)
        if size > LARGEST_BODY:
            message = f"{what} with more than {LARGEST_BODY} bytes"
            raise errors.Temporary(message, status=response.status_code)
    return b"".join(parts)


@cache
def _tls() -> ssl.SSLContext:
    """One context for all connections: making one costs tens of milliseconds."""
    return ssl.create_default_context()


def _utc(moment: datetime) -> str:
    """A time that no account's time zone can change the meaning of."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _date(headers: Mapping[str, str]) -> datetime | None:
    try:
        moment = parsedate_to_datetime(headers.get("date", ""))
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
