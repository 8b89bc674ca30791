"""The second transaction: it turns events of the journal into messages and deliveries.

Messages, deliveries and the triggers' watermarks commit together, in the caller's transaction.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from daemon import errors, formats, ids
from daemon.fan_out.condition import Condition
from daemon.formats import standard
from daemon.model import Message
from daemon.storage import connections, journal, messages

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    import sqlalchemy as sa

    from daemon.fan_out import matching
    from daemon.model import Event, Json
    from daemon.settings import Target, Trigger

JOURNAL_PART = 500
MOST_CONDITIONS = 10_000  # evaluated in one transaction, for which other writers wait
LARGEST_BATCH = 100
BATCHES = "batch"  # takes the place of the incident id: a target's batches are sent one after the other

MatchedEvent: TypeAlias = (
    "tuple[int, Event, matching.Match]"  # the event's number, the event, the trigger that sends it
)


@dataclass(frozen=True, slots=True)
class FanOutResult:
    """The result of reading a part of the journal.

    ``messages`` is their number, ``targets`` those with new deliveries, ``more`` whether a part of the journal is left.
    ``condition_errors`` has, for each trigger whose condition was evaluated, an error or None.
    """

    messages: int
    targets: frozenset[str]
    more: bool
    condition_errors: Mapping[str, str | None] = field(default_factory=dict)


class FanOut:
    """The fan-out of a connection's journal into messages of its triggers for ``targets``."""

    def __init__(self, connection: str, triggers: Iterable[Trigger], targets: Mapping[str, Target]) -> None:
        self._connection = connection
        self._targets = targets
        self._conditions = {each.name: Condition(each.condition) for each in triggers if each.condition is not None}

    def part(self, tx: sa.Connection, names: Sequence[str], index: matching.Index, now: datetime) -> FanOutResult:
        """Turn the next part of the journal into messages of these triggers."""
        if not journal.has_unread(tx, self._connection, names):
            return FanOutResult(0, frozenset(), more=False)
        conditions = sum(name in self._conditions for name in names)
        limit = max(1, min(JOURNAL_PART, MOST_CONDITIONS // max(conditions, 1)))
        watermarks = journal.lock_watermarks(tx, names)
        part = journal.read(tx, self._connection, min(watermarks.values()), limit)
        condition_errors: dict[str, str | None] = {}
        matched = list(self._matched(part, watermarks, index, condition_errors))
        new = [*_single_messages(matched, self._targets), *_batches(matched, self._targets)]
        messages.enqueue(tx, new, now)
        connections.record_last_events(tx, {match.trigger.name: event.occurred_at for _, event, match in matched})
        connections.record_condition_errors(tx, condition_errors)
        if part:
            journal.advance(tx, names, part[-1][0])
        woken = frozenset(target for message in new for target in message.targets)
        return FanOutResult(len(new), woken, more=len(part) == limit, condition_errors=condition_errors)

    def _matched(
        self,
        part: Iterable[tuple[int, Event]],
        watermarks: Mapping[str, int],
        index: matching.Index,
        condition_errors: dict[str, str | None],
    ) -> Iterator[MatchedEvent]:
        for seq, event in part:
            document = _EventDocument(event)
            for match in index.match(event):
                if watermarks.get(match.trigger.name, seq) < seq and self._holds(document, match, condition_errors):
                    yield seq, event, match

    def _holds(self, document: _EventDocument, match: matching.Match, condition_errors: dict[str, str | None]) -> bool:
        """Return whether the trigger's condition holds. A failing condition lets the message pass: nothing is lost."""
        name = match.trigger.name
        condition = self._conditions.get(name)
        if condition is None:
            return True
        condition_errors.setdefault(name, None)
        try:
            return condition.holds(document.to(match))
        except errors.ConditionError as error:
            condition_errors[name] = f"the condition fails for some messages, which are sent nevertheless: {error}"
            return True


class _EventDocument:
    """An event as the document that conditions are evaluated on, rendered once for all of them."""

    def __init__(self, event: Event) -> None:
        self._event = event
        self._document: Json | None = None

    def to(self, match: matching.Match) -> Json:
        """Return the document that the trigger would send in the standard format."""
        if self._document is None:
            self._document = standard.document(Message("", match.trigger.name, match.type, self._event))
        return standard.readdressed(self._document, match.type, match.trigger.name)


def _single_messages(matched: Iterable[MatchedEvent], targets: Mapping[str, Target]) -> Iterator[messages.NewMessage]:
    """Yield a message for each event, for the targets without batches whose format sends it."""
    for seq, event, match in matched:
        name = match.trigger.name
        to = tuple(
            each for each in match.trigger.to if not targets[each].options.batch and _sends(targets[each], event)
        )
        if to:
            message_id = ids.message_id(event.id, name)
            yield messages.NewMessage(message_id, seq, name, match.type, event.incident_id, to)


def _batches(matched: Iterable[MatchedEvent], targets: Mapping[str, Target]) -> Iterator[messages.NewMessage]:
    """Yield the batches: one message per trigger and event type, or several if it would be too large."""
    batches: dict[tuple[str, str], list[MatchedEvent]] = {}
    for each in matched:
        batches.setdefault((each[2].trigger.name, each[2].type), []).append(each)
    for (name, kind), events in batches.items():
        _, event, match = events[0]
        to = tuple(each for each in match.trigger.to if targets[each].options.batch and _sends(targets[each], event))
        for start in range(0, len(events) if to else 0, LARGEST_BATCH):
            part = events[start : start + LARGEST_BATCH]
            message_id = ids.batch_id(name, [event.id for _, event, _ in part])
            seqs = tuple(seq for seq, _, _ in part)
            yield messages.NewMessage(message_id, 0, name, kind, BATCHES, to, seqs)


def _sends(target: Target, event: Event) -> bool:
    return formats.REGISTRY[target.format].sends(event)
