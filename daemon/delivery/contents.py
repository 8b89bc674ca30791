"""The contents of messages: rendered once for all targets with the same format, and cached for a while.

A slow format renders when the delivery's turn comes, and the result is not cached.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

import structlog

from daemon import errors
from daemon.formats import REGISTRY
from daemon.model import Content, Message
from daemon.runtime.tracing import subject_of
from daemon.storage import messages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daemon.settings import Options, Target
    from daemon.storage.claims import TargetClaim
    from daemon.storage.database import Database

log = structlog.get_logger()

KEPT = 2000
KEPT_BYTES = 32 * 2**20  # of bodies: a message is rarely larger than a few kB


@dataclass(frozen=True, slots=True)
class Unrenderable:
    """The reason why a message has no content; ``final``: it never will."""

    reason: str
    final: bool = False


Rendering: TypeAlias = Content | Unrenderable
Renderable: TypeAlias = Rendering | Message  # a message is rendered when its turn comes
Key = tuple[int, str]  # what determines a rendering: the number of a format with its options, the message's id

MISSING = Unrenderable("the message no longer exists", final=True)


class Contents:
    """The contents of claimed deliveries; ``traced``: with their subjects."""

    def __init__(self, database: Database, *, traced: bool = False) -> None:
        self._database = database
        self._traced = traced
        self._numbers: dict[tuple[str, Options], int] = {}
        self._kept: OrderedDict[Key, Renderable] = OrderedDict()
        self._kept_bytes = 0

    async def load(self, claims: Sequence[tuple[Target, TargetClaim]]) -> Mapping[str, Mapping[str, Renderable]]:
        """Return the contents by the target's name and the message's id; deleted messages are left out."""
        wanted: defaultdict[int, set[str]] = defaultdict(set)
        numbers = {target.name: self._number(target) for target, _ in claims}
        for target, claim in claims:
            ids = wanted[numbers[target.name]]
            for run in claim.runs:
                ids.update([each.message_id for each in run.deliveries])
        contents = {
            number: {each: self._kept[number, each] for each in ids if (number, each) in self._kept}
            for number, ids in wanted.items()
        }
        missing = {(number, each) for number, ids in wanted.items() for each in ids - contents[number].keys()}
        if missing:
            loaded = await self._database.read(messages.load, {message_id for _, message_id in missing})
            kinds = list(self._numbers)
            for number, message_id in missing:
                if message_id in loaded:
                    name, options = kinds[number]
                    message = loaded[message_id]
                    content = message if REGISTRY[name].slow else self._render(name, options, message)
                    contents[number][message_id] = content
                    self._keep((number, message_id), content)
        return {name: contents[number] for name, number in numbers.items()}

    def _number(self, target: Target) -> int:
        """Return the number of a target's format and options, which takes less to look up than they do."""
        return self._numbers.setdefault((target.format, target.options), len(self._numbers))

    def _keep(self, key: Key, content: Renderable) -> None:
        self._kept[key] = content
        self._kept_bytes += _size(content)
        while len(self._kept) > KEPT or self._kept_bytes > KEPT_BYTES:
            self._kept_bytes -= _size(self._kept.popitem(last=False)[1])

    def _render(self, name: str, options: Options, message: Message) -> Rendering:
        content = render(name, options, message)
        return with_subject(content, message) if self._traced else content


def _size(content: Renderable) -> int:
    return len(content.body) if isinstance(content, Content) else 0


def with_subject(content: Rendering, message: Message) -> Rendering:
    """Return the content with what the message is about, from which the ids of its trace are derived."""
    return replace(content, subject=subject_of(message)) if isinstance(content, Content) else content


def render(name: str, options: Options, message: Message) -> Rendering:
    """Render a message in the format called ``name``."""
    try:
        content = REGISTRY[name].content(message, options)
    except errors.FormatError as error:
        return Unrenderable(str(error))
    except Exception as error:  # a single message must not stop all deliveries
        log.exception("format.crashed", format=name, message=message.id)
        return Unrenderable(f"the format {name} failed with {type(error).__name__} (please report it)")
    return content or Unrenderable(f"the format {name} has no payload for {message.type}", final=True)
