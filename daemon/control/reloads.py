"""The result of reloading the configuration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The dotted paths of what differs from the configuration before, and whether it has taken effect."""

    changed: Sequence[str]
    applied: bool


class Reloads(Protocol):
    """The part of the daemon that reads the configuration again."""

    async def reload(self, *, dry_run: bool = False) -> Reloaded:
        """Read the configuration again. Raises ConfigurationError, and Conflict if a restart is needed."""

    async def admits(self, token: str) -> bool:
        """Return whether the file, as it is now, gives this token full access."""
