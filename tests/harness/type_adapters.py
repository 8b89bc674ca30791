"""A cache of what FastAPI derives from the types of its routes.

Each application derives the same adapters again, and most tests of the API create an application: without the cache
that takes two thirds of their time. Equal annotations share an adapter; the routes themselves are created as always.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

if TYPE_CHECKING:
    import pytest

PLACE = "fastapi._compat.v2.TypeAdapter"


def share(patch: pytest.MonkeyPatch) -> None:
    """Let all applications of this process share their adapters until ``patch`` is undone."""
    adapters: dict[object, TypeAdapter[Any]] = {}

    def adapter(annotated: Any, *, config: Any = None) -> TypeAdapter[Any]:
        key = (annotated.__origin__, repr(annotated.__metadata__), repr(config))
        if key not in adapters:
            adapters[key] = TypeAdapter(annotated, config=config)
        return adapters[key]

    patch.setattr(PLACE, adapter)
