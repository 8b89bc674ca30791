"""The declaration of a payload format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from daemon.model import Content, Event, Message
    from daemon.settings import Options


def _everything(_event: Event) -> bool:
    return True


def _nothing(_target: str, _body: bytes, _secrets: Sequence[str]) -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class Format:
    """One payload format.

    ``content`` depends only on the stored message and the target's options: every attempt sends the same bytes. It
    returns None for a message type that the format does not support, and raises FormatError for a message that it
    cannot render. ``types`` are the supported message types; None means all. ``sends`` returns whether deliveries are
    created for an event. ``sign`` returns headers in addition to those of Standard Webhooks, from the target's name,
    the body and the target's shared secrets, the newest first. ``slow`` formats render in a thread. ``options`` names
    the supported fields of ``Options``.
    """

    content: Callable[[Message, Options], Content | None]
    help: str
    types: frozenset[str] | None = None
    sends: Callable[[Event], bool] = _everything
    sign: Callable[[str, bytes, Sequence[str]], Mapping[str, str]] = _nothing
    slow: bool = False
    options: frozenset[str] = frozenset()

    @property
    def signs(self) -> bool:
        """Return whether the format adds its own signatures, which need a shared secret."""
        return self.sign is not _nothing

    def supports(self, kind: str) -> bool:
        """Return whether messages of a type such as ``incident.resolved`` or ``action.failed`` are supported."""
        return self.types is None or kind in self.types
