"""One FastAPI application for all tests of a process: creating it takes longer than most of them.

It is what the daemon keeps across reloads, too: database and configuration are looked up at each request.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from daemon import api

if TYPE_CHECKING:
    from fastapi import FastAPI

    from daemon.storage.database import Database


class Standing:
    """Stands for the object of the test that is running."""

    def __init__(self) -> None:
        self.standing_for: Any = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.standing_for, name)


DATABASE, CURRENT = Standing(), Standing()


@functools.cache
def _application() -> FastAPI:
    return api.create(DATABASE, CURRENT)  # type: ignore[arg-type]


def application(database: Database, current: api.Current) -> FastAPI:
    """Return the application, over a test's own database and configuration until the next test asks for it.

    Its page is a new one. A test that needs two applications, or one that nobody has sent a wrong token to, creates
    its own.
    """
    DATABASE.standing_for, CURRENT.standing_for = database, current
    shared = _application()
    vars(shared).pop("page", None)
    return shared
