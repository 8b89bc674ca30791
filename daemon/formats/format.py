"""What a format's file has to say about itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from daemon.model import Message


@dataclass(frozen=True, slots=True)
class Format:
    """One payload format. ``body`` depends on what is stored alone: every attempt sends the same bytes."""

    content_type: str
    body: Callable[[Message], bytes]
    help: str
