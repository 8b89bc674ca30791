"""Webhook receivers for the demo: they verify signatures, as real ones should, and count attempts."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections import Counter
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import orjson

from daemon.simulator.http import SimResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from daemon.model import Json
    from daemon.simulator.http import SimRequest

OK = 200
UNAUTHORIZED = 401
UNAVAILABLE = 503
MAINTENANCE = b"down for maintenance, back in a few minutes"


@dataclass(frozen=True, slots=True)
class Received:
    """One attempt at a target: the message, the attempt's number, and the response status."""

    target: str
    message_id: str
    attempt: int
    status: int
    body: Json

    @property
    def event_id(self) -> str:
        """Return the id of the message's event."""
        event_id: str = self.body["data"]["event_id"]
        return event_id


class Receivers:
    """Receives for every target; those in ``moods`` fail that many times before they accept anything.

    Those in ``outages`` fail for that many seconds after the start.
    """

    def __init__(
        self,
        secret: str,
        moods: dict[str, int],
        on_attempt: Callable[[Received], None],
        outages: Mapping[str, float] = MappingProxyType({}),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outages = outages
        self._clock = clock
        self._started = clock()
        self._key = base64.b64decode(secret.removeprefix("whsec_"))
        self._moods = dict(moods)
        self._on_attempt = on_attempt
        self._attempts: Counter[tuple[str, str]] = Counter()
        self.delivered: set[tuple[str, str]] = set()
        self.refused = 0

    async def answer(self, request: SimRequest) -> SimResponse:
        """Return the response to an attempt: 200 if its signature is valid."""
        target, message_id = request.path.strip("/"), request.headers.get("webhook-id", "")
        if not self._verified(request, message_id):
            self.refused += 1
            return SimResponse(UNAUTHORIZED)
        self._attempts[message_id, target] += 1
        status, body = OK, b""
        if self._is_down(target):
            status, body = UNAVAILABLE, MAINTENANCE
        elif self._moods.get(target):
            self._moods[target] -= 1
            status = UNAVAILABLE
        else:
            self.delivered.add((message_id, target))
        attempt = self._attempts[message_id, target]
        self._on_attempt(Received(target, message_id, attempt, status, orjson.loads(request.body)))
        return SimResponse(status, body)

    def _is_down(self, target: str) -> bool:
        return self._clock() - self._started < self._outages.get(target, 0.0)

    def _verified(self, request: SimRequest, message_id: str) -> bool:
        """Verify the signature as in Standard Webhooks: HMAC-SHA256 over id, timestamp and body."""
        signed = f"{message_id}.{request.headers.get('webhook-timestamp', '')}.".encode() + request.body
        expected = b"v1," + base64.b64encode(hmac.digest(self._key, signed, hashlib.sha256))
        signatures = request.headers.get("webhook-signature", "").encode().split(b" ")
        return any(hmac.compare_digest(expected, each) for each in signatures)
