"""What a format's file has to say about itself."""

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

    ``content`` depends on what is stored and on the target's options alone: every attempt sends the
    same bytes. It answers None for a message that the format cannot tell, and raises FormatError if
    this one message cannot be put into it. ``types`` are those of the messages that it has a form for;
    None means all. ``sends`` says of an event whether a delivery is made for it at all. ``sign`` gives
    headers besides those of Standard Webhooks, from the target's name, the body and the texts of the
    target's shared secrets, the newest first. ``slow``: ``content`` may take its time, and is asked in a thread.
    ``options`` names what it takes of ``Options``.
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
        """Whether it has signatures of its own, for which the receiver has to know a secret."""
        return self.sign is not _nothing

    def supports(self, kind: str) -> bool:
        """Whether it has a form for messages of this type, such as ``incident.resolved`` or ``action.failed``."""
        return self.types is None or kind in self.types
