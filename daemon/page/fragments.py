"""Fragments that open pages fetch after a signal: what many ask for at once is made once."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.responses import Response

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

FRESH_SECONDS = 2.0  # after a change within them, another signal follows


@dataclass(frozen=True, slots=True)
class Fragment:
    """A fragment that is being made, or was made, since ``began``."""

    began: float
    making: asyncio.Future[Response]


class Fragments:
    """The fragments of the last seconds. ``clock`` is monotonic."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._recent: dict[Hashable, Fragment] = {}

    async def response(self, key: Hashable, make: Callable[[], Awaitable[Response]]) -> Response:
        """Return what ``make`` returns, or has returned for the same key within the last seconds."""
        now = self._clock()
        fragment = self._recent.get(key)
        if fragment is None or now - fragment.began > FRESH_SECONDS:
            self._recent = {
                each: recent for each, recent in self._recent.items() if now - recent.began <= FRESH_SECONDS
            }
            fragment = self._recent[key] = Fragment(now, asyncio.ensure_future(make()))
        response = await asyncio.shield(fragment.making)
        copy = Response(response.body, response.status_code)  # which may get a cookie of its own
        copy.raw_headers = list(response.raw_headers)
        return copy
