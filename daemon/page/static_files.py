"""/static: the style sheet, the script and the icon, read once."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING

from starlette.responses import Response

from daemon import errors

if TYPE_CHECKING:
    from daemon.page.visit import Visit

FOLDER = Path(__file__).parent / "static"
TYPES = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


async def show(visit: Visit) -> Response:
    """Return a file."""
    name = visit.path("name")
    if name not in TYPES:
        raise errors.NotFound("unknown file")
    return Response(_content(name), media_type=TYPES[name])


@functools.cache
def _content(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


ROUTES = (("GET", "/static/{name}", show),)
