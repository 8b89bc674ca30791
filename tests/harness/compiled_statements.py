"""A cache of compiled SQL statements that all engines of the test process share.

Each test opens a database of its own, and each engine compiles its statements anew: without the cache that takes a
third of the time of a test with a database. Engines with the same kind of dialect share; what runs is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

if TYPE_CHECKING:
    import pytest


class SharedCache(dict[Any, Any]):
    """Compiled statements by the kind of dialect, instead of by the dialect of one engine."""

    def get(self, key: Any, default: Any = None) -> Any:
        """Return the compiled statement of a key, as SQLAlchemy's own cache does."""
        return super().get(_shared(key), default)

    def __setitem__(self, key: Any, value: Any) -> None:
        """Keep a compiled statement."""
        super().__setitem__(_shared(key), value)


def _shared(key: Any) -> Any:
    return (type(key[0]), *key[1:])


def share(patch: pytest.MonkeyPatch) -> None:
    """Let all engines of this process share their compiled statements until ``patch`` is undone."""
    cache = SharedCache()
    create = sa.create_engine

    def create_engine(*args: Any, **options: Any) -> sa.Engine:
        engine = create(*args, **options)
        engine._compiled_cache = cache
        return engine

    patch.setattr(sa, "create_engine", create_engine)
