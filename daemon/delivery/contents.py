"""What is to be sent of messages: rendered once for all targets that want them alike, and kept for a while.

What takes its time is left for the target's own turn, and kept as it is.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING

import structlog

from daemon import errors
from daemon.formats import REGISTRY
from daemon.storage import claims, messages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daemon.delivery.lane import Prepared, Rendered
    from daemon.model import Message
    from daemon.settings import Options, Target
    from daemon.storage.database import Database

log = structlog.get_logger()

KEPT = 2000
GONE = "the message is gone"

Key = tuple[str, "Options", str]  # what a rendering depends on: format, its options, and the message


class Contents:
    """The contents of claimed deliveries."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._kept: OrderedDict[Key, Prepared] = OrderedDict()

    async def of(self, claims: Sequence[tuple[Target, claims.Claim]]) -> Mapping[tuple[str, str], Prepared]:
        """What each target gets, by its name and the message's id; what is missing is gone. Raises DatabaseError."""
        wanted = {
            (target.name, each.message_id): (target.format, target.options, each.message_id)
            for target, claim in claims
            for chain in claim.chains
            for each in chain.deliveries
        }
        keys = set(wanted.values())
        found = {key: self._kept[key] for key in keys & self._kept.keys()}
        missing = keys - found.keys()
        if missing:
            loaded = await self._database.read(messages.load, {message_id for _, _, message_id in missing})
            for key in missing:
                if key[2] in loaded:
                    message = loaded[key[2]]
                    found[key] = message if REGISTRY[key[0]].slow else rendered(key[0], key[1], message)
        self._kept.update(found)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return {place: found[key] for place, key in wanted.items() if key in found}


def rendered(name: str, options: Options, message: Message) -> Rendered:
    """A message in a format, or why that failed, or can never be."""
    try:
        content = REGISTRY[name].content(message, options)
    except errors.FormatError as error:
        return error
    except Exception as error:  # or one message that nobody has foreseen would end all sending
        log.exception("format.broken", format=name, message=message.id)
        return errors.FormatError(f"the format {name} failed with {type(error).__name__} (please report it)")
    return content or f"the format {name} cannot tell {message.type}"
