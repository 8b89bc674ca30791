"""Calls to PagerDuty: one at a time per connection, each with its own permit.

Reads that fail temporarily are retried a few times here; after that, and at once for permanent failures, the
error says which of the two it is. ``call`` makes one request and never retries: after a write, only the caller
can decide. Nothing is logged except each call, at debug level.
"""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson
import structlog

from daemon import errors
from daemon.model import SUCCESS, Rejected
from daemon.pagerduty import exchange, failures, paths, records
from daemon.pagerduty.credentials import Credentials
from daemon.pagerduty.listing import ListedPage, Listing, PageRequest, Pages, PageSizes, Window, read_all
from daemon.triggers import conference_bridge_updated, lenient_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    import httpx

    from daemon.model import CallPriority, Json
    from daemon.pagerduty.permits import Permits
    from daemon.settings import Connection

log = structlog.get_logger()

CALL_SECONDS = 28.0  # below permits.LONGEST_CALL, which permits rely on
ATTEMPTS = 4
CONNECT_ATTEMPTS = 2  # so that the cause is known within one poll
FIRST_PAUSE = 1.0
LONGEST_PAUSE = timedelta(seconds=60)
BAD_REQUEST = 400
OK = 200
EVENTS_RATE_LIMITED = 403  # the Events API's equivalent of 429

Query = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """A successful response: its JSON object, and PagerDuty's clock when it responded, if the response had a date."""

    body: Json
    server_time: datetime | None

    def one(self, name: str) -> Json:
        """Return the object of this name. Raises Temporary if it is missing: the outcome is unknown then."""
        record = lenient_json.get_object(self.body, name)
        if lenient_json.get_text(record, "id") is None:
            message = f"PagerDuty answered without {name}"
            raise errors.Temporary(message, status=OK)
        return record

    def all(self, name: str) -> list[Json]:
        """Return the list of this name. Raises Temporary if it is missing: the outcome is unknown then."""
        if not isinstance(self.body.get(name), list):
            message = f"PagerDuty answered without {name}"
            raise errors.Temporary(message, status=OK)
        return lenient_json.get_objects(self.body, name)


class Client:
    """The client of one connection. ``calls`` counts the requests made so far.

    Each request takes at most ``call_seconds``, from its start to the last byte of the response.
    Every method raises Temporary or Permanent if its calls fail.
    """

    def __init__(
        self,
        connection: Connection,
        permits: Permits,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
        call_seconds: float = CALL_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._host = urlsplit(connection.api_url).netloc
        self._credentials = Credentials(connection, transport, clock)
        self._permits = permits
        self._sleep = sleep
        self._call_seconds = call_seconds
        self._page_sizes = PageSizes(clock)
        self.calls = 0
        self._http = exchange.client(
            connection.api_url,
            connection.proxy,
            transport,
            {"Accept": "application/vnd.pagerduty+json;version=2"},
        )
        self._events = exchange.client(
            connection.events_url, connection.proxy, transport, {"Accept": "application/json"}
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        await self._events.aclose()
        await self._credentials.close()

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
        """Make one request to the REST API. ``sender`` is the e-mail address for ``From``, which writes require.

        A request that was rejected because its access token is not valid any more is made once more with a new one.
        """
        headers = {} if sender is None else {b"From": sender.encode()}
        request = self._http.build_request(
            method, path, params=tuple(query or ()), content=_encoded(body), headers=headers
        )
        try:
            return await self._authorized(request, priority, room)
        except errors.Permanent as error:
            if error.status != HTTPStatus.UNAUTHORIZED or not self._credentials.replace(_authorization(request)):
                raise
        return await self._authorized(request, priority, room)

    async def _authorized(self, request: httpx.Request, priority: CallPriority, room: int) -> ApiResponse:
        header = await self._credentials.header()
        request.headers["Authorization"] = header
        secrets, remedies = self._credentials.secrets, self._credentials.remedies
        try:
            return await self._call(self._http, request, priority, secrets, remedies, room=room)
        except errors.Temporary as error:
            if error.status == failures.TOO_MANY_REQUESTS:
                await self._permits.block(error.delay)
            raise

    async def create_event(self, path: str, body: Json, priority: CallPriority) -> Json:
        """Make one request to the Events API, which has no key but the service's own, and its own rate limit."""
        request = self._events.build_request("POST", path, content=_encoded(body))
        try:
            # The error may quote the service's key, so it is masked.
            return (await self._call(self._events, request, priority, lambda: (body["service_key"],))).body
        except errors.Permanent as error:
            if error.status == EVENTS_RATE_LIMITED:
                raise errors.Temporary(str(error), status=error.status, request_id=error.request_id) from None
            raise

    async def log_entries(self, since: datetime, until: datetime, priority: CallPriority) -> Window:
        """Return every log entry from ``since`` to ``until``: the complete list or an error.

        Raises WindowTooLarge if PagerDuty cannot list that many or takes too long.
        """
        query = [
            ("since", _utc(since)),
            ("until", _utc(until)),
            ("time_zone", "UTC"),
            ("is_overview", "false"),
            ("include[]", "incidents"),
            ("include[]", "channels"),
        ]
        pages = await self._list("log_entries", query, priority, large=("include[]", "channels"))
        converted = [records.log_entry(record) for record in pages.records]
        entries = tuple(record for record in converted if not isinstance(record, Rejected))
        rejected = [record for record in converted if isinstance(record, Rejected)]
        rejected += [
            records.rejected("the record is too large, so its channel was not read", each) for each in pages.oversized
        ]
        return Window(entries, tuple(rejected), pages.server_time, pages.calls)

    async def open_incidents(self, priority: CallPriority) -> Listing:
        """Return every incident that is triggered or acknowledged, of any age. Raises WindowTooLarge above 10,000.

        An incident without a conference bridge has null there, since the list was asked for it.
        """
        query = [
            ("statuses[]", "triggered"),
            ("statuses[]", "acknowledged"),
            ("date_range", "all"),
            ("sort_by", "incident_number:asc"),
            ("include[]", "conference_bridge"),
        ]
        pages = await self._list("incidents", query, priority)
        converted = [records.incident(record) for record in pages.records]
        complete = (record for record in converted if not isinstance(record, Rejected))
        incidents = {incident_id: {conference_bridge_updated.PART: None} | each for incident_id, each in complete}
        return Listing(incidents, tuple(record for record in converted if isinstance(record, Rejected)))

    async def incident(self, incident_id: str, priority: CallPriority) -> Json | Rejected | None:
        """Return one incident: None if it was deleted, Rejected if the response does not contain a valid incident."""
        try:
            response, _ = await self._get(paths.to("incidents", incident_id), [], priority)
        except errors.Permanent as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise
        record = records.incident(response.get("incident"))
        return record if isinstance(record, Rejected) else record[1]

    async def find_user(self, email: str, priority: CallPriority) -> str | None:
        """Return the id of the user with exactly this e-mail address, in any case."""
        pages = await self._list("users", [("query", email)], priority)
        for user in pages.records:
            if (lenient_json.get_text(user, "email") or "").lower() == email.lower():
                return lenient_json.get_text(user, "id")
        return None

    async def _list(
        self, name: str, query: Query, priority: CallPriority, *, large: tuple[str, str] | None = None
    ) -> Pages:
        """Read the list at ``/name``. Without the part ``large`` of the query, records are small."""

        async def fetch(page: PageRequest) -> ListedPage:
            parts = [part for part in query if not (page.brief and part == large)]
            return await self._page(name, parts, page, priority)

        return await read_all(fetch, self._page_sizes, name)

    async def _page(self, name: str, query: Query, page: PageRequest, priority: CallPriority) -> ListedPage:
        place, path = [("limit", str(page.limit)), ("offset", str(page.offset))], f"/{name}"
        try:
            response, server_time = await self._get(path, [*query, *place], priority, shrinks=True)
        except errors.Permanent as error:
            if error.status == BAD_REQUEST and page.offset:  # the first page was accepted: the list goes no further
                raise errors.WindowTooLarge(
                    str(error), status=error.status, code=error.code, request_id=error.request_id
                ) from None
            raise
        listed = response.get(name)
        if not isinstance(listed, list):
            message = f"{self._host} answered {path} without {name}"
            raise errors.Temporary(message, status=OK)
        more = response.get("more")
        listed = [records.without_bulk(record) for record in listed]
        return ListedPage(listed, more if isinstance(more, bool) else len(listed) >= page.limit, server_time)

    async def _get(
        self, path: str, query: Query, priority: CallPriority, *, shrinks: bool = False
    ) -> tuple[Json, datetime | None]:
        """Make one read, retried while that may help and does not take long.

        With ``shrinks`` the caller can ask for less, so what is too large is not asked for again.
        """
        for attempt in range(1, ATTEMPTS + 1):
            pause = FIRST_PAUSE * 2 ** (attempt - 1) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret
            try:
                response = await self.call("GET", path, priority, query=query)
            except errors.Temporary as error:
                if shrinks and isinstance(error, errors.PageTooLarge):
                    raise
                requested = error.delay or timedelta(0)
                last = CONNECT_ATTEMPTS if isinstance(error, errors.Unreachable) else ATTEMPTS
                if attempt >= last or requested > LONGEST_PAUSE:
                    raise
                pause = max(pause, requested.total_seconds())
            else:
                return response.body, response.server_time
            await self._sleep(pause)
        raise AssertionError

    async def _call(
        self,
        http: httpx.AsyncClient,
        request: httpx.Request,
        priority: CallPriority,
        secrets: Callable[[], Sequence[str]],
        remedies: Mapping[int, str] = MappingProxyType({}),
        *,
        room: int = 1,
    ) -> ApiResponse:
        """Make one request and return its response. Raises Temporary or Permanent."""
        async with self._permits.permit(priority, room):
            self.calls += 1
            started = time.perf_counter()
            status, headers, body = await exchange.send(http, request, self._call_seconds)
        took = (time.perf_counter() - started) * 1000
        host, path = request.url.netloc.decode("ascii"), request.url.path
        call = {"method": request.method, "path": path, "status": status, "request_id": failures.request_id(headers)}
        log.debug("pagerduty.called", **call, took_ms=round(took))
        try:
            answer = records.decode(body)
        except ValueError:
            answer = None
        if status in SUCCESS and isinstance(answer, dict):
            return ApiResponse(answer, _date(headers))
        raise failures.failure(f"{host} answered {path}", status, headers, answer, secrets(), remedies)


def _authorization(request: httpx.Request) -> str:
    return str(request.headers.get("Authorization", ""))


def _encoded(body: Json | None) -> bytes | None:
    return None if body is None else orjson.dumps(body)


def _utc(moment: datetime) -> str:
    """Return a time in UTC, which means the same in every account's time zone."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _date(headers: Mapping[str, str]) -> datetime | None:
    try:
        moment = parsedate_to_datetime(headers.get("date", ""))
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None
