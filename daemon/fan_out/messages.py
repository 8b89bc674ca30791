"""From the journal to messages and deliveries: which trigger sends which event, to which targets, in which messages.

Everything happens in the caller's transaction: messages, deliveries and the triggers' watermarks commit together.
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
MOST_ASKED = 10_000  # conditions in one transaction: others want to write, too
LARGEST_BATCH = 100
BATCHES = "batch"  # stands for an incident where order is kept: a target's batches wait for one another

Wanted: TypeAlias = "tuple[int, Event, matching.Match]"  # an event of the journal, its number there, who sends it


@dataclass(frozen=True, slots=True)
class FanOutResult:
    """What one reading of the journal gave: messages made, targets that have work, whether more is left.

    ``complaints`` say of the conditions that were asked what was wrong with them, None for nothing.
    """

    messages: int
    targets: frozenset[str]
    more: bool
    complaints: Mapping[str, str | None] = field(default_factory=dict)


class FanOut:
    """Turns a connection's journal into messages of its triggers for ``targets``."""

    def __init__(self, connection: str, triggers: Iterable[Trigger], targets: Mapping[str, Target]) -> None:
        self._connection = connection
        self._targets = targets
        self._conditions = {each.name: Condition(each.condition) for each in triggers if each.condition is not None}

    def part(self, tx: sa.Connection, names: Sequence[str], index: matching.Index, now: datetime) -> FanOutResult:
        """Let the triggers of these names read a part of the journal."""
        if not journal.has_unread(tx, self._connection, names):
            return FanOutResult(0, frozenset(), more=False)
        asking = sum(name in self._conditions for name in names)
        limit = max(1, min(JOURNAL_PART, MOST_ASKED // max(asking, 1)))
        marks = journal.lock_watermarks(tx, names)
        part = journal.read(tx, self._connection, min(marks.values()), limit)
        complaints: dict[str, str | None] = {}
        wanted = list(self._wanted(part, marks, index, complaints))
        new = [*_singly(wanted, self._targets), *_together(wanted, self._targets)]
        messages.enqueue(tx, new, now)
        connections.record_last_events(tx, {match.trigger.name: event.occurred_at for _, event, match in wanted})
        connections.record_condition_errors(tx, complaints)
        if part:
            journal.advance(tx, names, part[-1][0])
        woken = frozenset(target for message in new for target in message.targets)
        return FanOutResult(len(new), woken, more=len(part) == limit, complaints=complaints)

    def _wanted(
        self,
        part: Iterable[tuple[int, Event]],
        marks: Mapping[str, int],
        index: matching.Index,
        complaints: dict[str, str | None],
    ) -> Iterator[Wanted]:
        for seq, event in part:
            shown = _Shown(event)
            for match in index.match(event):
                if marks.get(match.trigger.name, seq) < seq and self._is_meant(shown, match, complaints):
                    yield seq, event, match

    def _is_meant(self, shown: _Shown, match: matching.Match, complaints: dict[str, str | None]) -> bool:
        """Whether the trigger's condition holds. One that fails lets the message pass: better told than not told."""
        name = match.trigger.name
        condition = self._conditions.get(name)
        if condition is None:
            return True
        complaints.setdefault(name, None)
        try:
            return condition.holds(shown.to(match))
        except errors.ConditionError as error:
            complaints[name] = f"the condition fails for some messages, which are sent nevertheless: {error}"
            return True


class _Shown:
    """An event as conditions see it: made when the first one asks, for all that ask."""

    def __init__(self, event: Event) -> None:
        self._event = event
        self._document: Json | None = None

    def to(self, match: matching.Match) -> Json:
        """The document that the trigger would send in the format standard."""
        if self._document is None:
            self._document = standard.document(Message("", match.trigger.name, match.type, self._event))
        return standard.readdressed(self._document, match.type, match.trigger.name)


def _singly(wanted: Iterable[Wanted], targets: Mapping[str, Target]) -> Iterator[messages.NewMessage]:
    """A message for each event, for those targets whose format sends it."""
    for seq, event, match in wanted:
        name = match.trigger.name
        to = tuple(
            each for each in match.trigger.to if not targets[each].options.batch and _sends(targets[each], event)
        )
        if to:
            message_id = ids.message_id(event.id, name)
            yield messages.NewMessage(message_id, seq, name, match.type, event.incident_id, to)


def _together(wanted: Iterable[Wanted], targets: Mapping[str, Target]) -> Iterator[messages.NewMessage]:
    """What the targets get that want a trigger's events in one message: one for each name of events."""
    batches: dict[tuple[str, str], list[Wanted]] = {}
    for each in wanted:
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
