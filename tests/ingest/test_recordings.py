"""PagerDuty's recorded responses, replayed to the poller: whole, in pieces, and with each field malformed in turn.

Without the recordings, all tests here are skipped.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import time
from base64 import b64encode
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import hypothesis
import orjson
import pytest
import sqlalchemy as sa
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from daemon import detection, formats, ids
from daemon.fan_out import matching
from daemon.formats import standard
from daemon.model import Event, LogEntry, Message, Rejected
from daemon.outbound import signing
from daemon.pagerduty import records
from daemon.settings import Options, Trigger, Where
from daemon.storage import journal, schema
from tests.conftest import START
from tests.harness import recordings
from tests.harness.fake_pagerduty import FakePagerDuty
from tests.harness.polling import ALL, Daemon

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from daemon.model import Json
    from daemon.storage.database import Database
    from tests.conftest import ManualClock

RECORDED = recordings.log_entries()
INCIDENTS = recordings.incidents()
__test__ = bool(RECORDED)

# Counted by hand: triggered, assigned, acknowledged, annotated, resolved, unacknowledged.
COUNTS = {
    "2013-remedy": (1, 2, 1, 1, 1, 1),
    "2015-openapi": (1, 0, 0, 0, 0, 0),
    "2017-v2-webhooks": (1, 1, 1, 0, 1, 0),
    "2018-2022-single": (2, 1, 0, 0, 1, 0),
    "2021-faros": (3, 0, 0, 0, 0, 0),
    "2022-devlake": (3, 15, 5, 1, 1, 0),
    "2025-port": (4, 0, 0, 0, 0, 0),
    "rest-openapi": (1, 0, 0, 0, 1, 0),
}
KINDS = ("triggered", "assigned", "acknowledged", "annotated", "resolved", "unacknowledged")
BY_TYPE = {
    "trigger": "triggered",
    "assign": "assigned",
    "escalate": "assigned",
    "delegate": "assigned",
    "acknowledge": "acknowledged",
    "annotate": "annotated",
    "resolve": "resolved",
    "unacknowledge": "unacknowledged",
}
MISSING = object()
VALUES: dict[str, Any] = {
    "missing": MISSING,
    "null": None,
    "number": 7,
    "string": "spoilt",
    "list": [1, {"id": 2}, "three", None],
    "object": {"id": {"id": 1}, "at": []},
}
OPENED = ("agent", "incident", "channel", "assignees")
PICKY = [
    replace(ALL[0], name="service", where=Where(services=frozenset({"P"}))),
    replace(ALL[0], name="team", where=Where(teams=frozenset({"P"}), urgencies=frozenset({"high"}))),
    replace(ALL[0], name="policy", where=Where(escalation_policies=frozenset({"P"}))),
]
WANTED = [
    Trigger(f"{each.name}-{number}", each.on, each.connection, each.to, where=picky.where)
    for each in ALL
    for number, picky in enumerate([each, *PICKY])
]
SECRET = "whsec_" + b64encode(b"the secret of a receiver in a test").decode()


@dataclass
class Replay(FakePagerDuty):
    """An account whose log was recorded: listed by when things happened, whatever a record says itself."""

    times: list[str] = field(default_factory=list)

    def _log(self, since: str, until: str) -> list[Json]:
        found = zip(self.entries, self.times, strict=True)
        return [entry for entry, at in found if since <= at < until][::-1]


def replay(clock: ManualClock, name: str, entries: Sequence[Json]) -> Replay:
    """Return the account of a recording, a minute before its first entry."""
    moments = [recordings.happened_at(entry) for entry in RECORDED[name]]
    clock.now = moments[0].astimezone(UTC) - timedelta(minutes=1)
    times = [moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ") for moment in moments]
    return Replay(clock, entries=list(entries), times=times)


def entries_of(name: str, *, whole: bool) -> list[Json]:
    """Return a recording in order; ``whole``: with its incidents, as ``include[]=incidents`` returns them."""
    known = INCIDENTS.get(name, {}) if whole else {}
    return [entry | {"incident": known.get(entry["incident"]["id"], entry["incident"])} for entry in RECORDED[name]]


def expected_events(entries: Sequence[Json]) -> list[tuple[str, str, str]]:
    """Return what entries mean, read from the records alone: kind, log entry and event id, in order."""
    found: list[tuple[str, str, str]] = []
    existing: set[str] = set()
    delegated = {
        (each["incident"]["id"], each["created_at"]) for each in entries if each["type"] == "delegate_log_entry"
    }
    for entry in entries:
        incident = entry["incident"]["id"]
        kind = BY_TYPE.get(entry["type"].removesuffix("_log_entry"))
        if kind is None or (kind == "triggered" and incident in existing):
            continue
        automatic = entry["type"] == "assign_log_entry" and (entry.get("channel") or {}).get("type") == "auto"
        if automatic and (incident, entry["created_at"]) in delegated:
            continue
        if kind == "triggered":
            existing.add(incident)
        kinds = ["annotated", kind] if kind == "resolved" and entry.get("note") else [kind]
        found += [(each, entry["id"], event_id(incident, each, entry["id"])) for each in kinds]
    return found


def event_id(incident: str, kind: str, entry: str) -> str:
    """Return an event's id, as receivers may rely on it."""
    text = "\x1f".join(("acme", incident, f"incident.{kind}", "" if kind == "triggered" else entry))
    return "evt_" + hashlib.sha256(text.encode()).hexdigest()[:26]


def events_of(daemon: Daemon) -> list[Event]:
    """Return every event, in the journal's order."""
    return [event for _, event in daemon.database.read_now(journal.read, "acme", 0, 100_000)]


def quarantined(daemon: Daemon) -> list[str]:
    """Return the raw texts of the quarantined records."""
    return list(daemon.database.read_now(lambda tx: tx.execute(sa.select(schema.quarantine.c.raw)).scalars().all()))


def named(events: Sequence[Event]) -> list[tuple[str, str, str]]:
    """Return events in the form of ``expected_events``."""
    return [(event.type.removeprefix("incident."), event.payload["log_entry"]["id"], event.id) for event in events]


@pytest.mark.parametrize("incidents", ["as recorded", "included"])
@pytest.mark.parametrize("name", RECORDED)
async def test_a_recording_yields_exactly_the_expected_events(
    database: Database, clock: ManualClock, name: str, incidents: str
) -> None:
    entries = entries_of(name, whole=incidents == "included")
    daemon = Daemon(database, replay(clock, name, entries))
    await daemon.poll(0)
    assert events_of(daemon) == []
    clock.now = recordings.happened_at(entries[-1]).astimezone(UTC)
    await daemon.poll(60)

    events = events_of(daemon)
    assert named(events) == expected_events(entries)
    counted = Counter(event.type.removeprefix("incident.") for event in events)
    assert tuple(counted[kind] for kind in KINDS) == COUNTS[name]
    assert quarantined(daemon) == []
    by_id = {entry["id"]: entry for entry in entries}
    for event in events:
        entry = by_id[event.payload["log_entry"]["id"]]
        assert event.occurred_at == recordings.happened_at(entry)
        assert event.incident_id == event.payload["incident"]["id"] == entry["incident"]["id"]
        assert event.payload["agent"] == entry.get("agent")
        if event.type == "incident.assigned":
            assert event.payload["assignees"] == entry.get("assignees", [])
        if event.type == "incident.annotated":
            assert event.payload["note"]["content"] == entry.get("note")

    sent = daemon.sent()
    assert sent == len(events)
    await daemon.poll(60)
    await daemon.sweep.run()
    await daemon.poll(60)
    assert named(events_of(daemon)) == expected_events(entries)
    assert daemon.sent() == sent


@pytest.mark.parametrize("name", RECORDED)
async def test_a_recording_polled_step_by_step_yields_the_same_events(
    database: Database, clock: ManualClock, name: str
) -> None:
    entries = entries_of(name, whole=True)
    daemon = Daemon(database, replay(clock, name, entries))
    await daemon.poll(0)
    polled = clock.now
    for moment in sorted({recordings.happened_at(entry).astimezone(UTC) for entry in entries}):
        if moment >= polled + timedelta(seconds=30):
            polled = clock.now = moment
            await daemon.poll(0)
    await daemon.poll(60)
    assert named(events_of(daemon)) == expected_events(entries)
    assert quarantined(daemon) == []


@pytest.mark.parametrize("name", RECORDED)
def test_a_trigger_event_repeated_later_is_not_an_event(name: str) -> None:
    entries = entries_of(name, whole=False)
    latest = max(recordings.happened_at(entry) for entry in entries) + timedelta(minutes=1)
    again = [
        entry | {"id": f"{entry['id']}AGAIN", "created_at": latest.isoformat()}
        for entry in entries
        if entry["type"] == "trigger_log_entry"
    ]
    assert again or name == "2018-2022-single"
    assert named(read(name, [records.log_entry(entry) for entry in entries + again])) == expected_events(entries)


@pytest.mark.parametrize("name", [name for name in RECORDED if name in INCIDENTS])
def test_events_found_by_reconciliation_are_not_repeated_by_the_log_and_nothing_else_is_suppressed(
    name: str,
) -> None:
    entries, from_the_log = parsed_recording(name, whole=True)
    history = datetime(2015, 1, 1, tzinfo=UTC)
    shown = [
        (incident_id, INCIDENTS[name][incident_id])
        for incident_id in {each.incident_id for each in entries}
        if incident_id in INCIDENTS[name]
    ]
    first = detection.reconcile("acme", {}, shown, history=history, settled=START, read_at=START, now=START)
    snapshots = {each.incident_id: each for each in first.snapshots}
    later = START + timedelta(seconds=1)
    then = detection.read("acme", snapshots, entries[::-1], (), history=history, read_at=later, now=later)
    announced, told_then, by_the_log = (
        Counter((each.incident_id, each.type) for each in events)
        for events in (first.events, then.events, from_the_log)
    )
    assert announced + told_then == announced | by_the_log


# --- each field malformed

EVERY = 5  # has no factor in common with the number of VALUES, so that every value is tried


def some(mutants: Iterator[tuple[str, Json]], request: pytest.FixtureRequest) -> Iterator[tuple[str, Json]]:
    """Return a fifth of the mutants, another one for another seed; all of them with the thorough profile."""
    if hypothesis.settings().max_examples > hypothesis.settings.get_profile("pagerelay").max_examples:
        return mutants
    return itertools.islice(mutants, int(request.config.getoption("--hypothesis-seed") or 0) % EVERY, None, EVERY)


def spoilt(entry: Json, opened: Sequence[str]) -> Iterator[tuple[str, Json]]:
    """Yield the entry with each of its fields, and each field of the ``opened`` ones, missing or of another type."""
    for key, inside in entry.items():
        yield from _each_value(entry, key)
        if key in opened and isinstance(inside, dict):
            for inner in inside:
                yield from ((f"{key}.{how}", entry | {key: value}) for how, value in _each_value(inside, inner))
        if key in opened and isinstance(inside, list):
            for number, item in enumerate(inside):
                for how, value in _items(item):
                    changed = [*inside[:number], *value, *inside[number + 1 :]]
                    yield f"{key}[{number}].{how}", entry | {key: changed}


def _each_value(record: Json, key: str) -> Iterator[tuple[str, Json]]:
    for how, value in VALUES.items():
        if value is MISSING:
            yield f"{key}={how}", {other: each for other, each in record.items() if other != key}
        else:
            yield f"{key}={how}", record | {key: value}


def _items(item: object) -> Iterator[tuple[str, list[Any]]]:
    """Yield the values that may replace a list's item."""
    for how, value in VALUES.items():
        yield how, [] if value is MISSING else [value]
    if isinstance(item, dict):
        for key in item:
            yield from ((how, [value]) for how, value in _each_value(item, key))


def read(name: str, parsed: Sequence[LogEntry | Rejected]) -> list[Event]:
    """Return the events of a log that is read at once; the log is in order."""
    entries = [each for each in reversed(parsed) if isinstance(each, LogEntry)]
    history = recordings.happened_at(RECORDED[name][0]) - timedelta(minutes=1)
    return list(detection.read("acme", {}, entries, (), history=history, read_at=START, now=START).events)


def source(event: Event) -> str:
    """Return the id of an event's log entry."""
    return str(event.payload["log_entry"]["id"])


INDEX = matching.Index(WANTED, {})


def use(event: Event) -> None:
    """Process an event as the daemon does: store it, match it, render it in every format.

    Whatever a record contains, receivers get objects, lists of objects with an id, and texts where they expect them.
    """
    orjson.dumps(event.payload)
    agent, assignees, note = (event.payload[key] for key in ("agent", "assignees", "note"))
    assert agent is None or isinstance(agent, dict)
    assert isinstance(event.payload["incident"], dict)
    assert all(isinstance(each["id"], str) for each in assignees or ())
    assert note is None or isinstance(note["content"], str | None)
    for match in INDEX.match(event):
        for kind in formats.REGISTRY.values():
            name = match.trigger.name
            expected_events = Message(ids.message_id(event.id, name), name, match.type, event)
            kind.content(expected_events, Options())


@cache
def parsed_recording(name: str, *, whole: bool) -> tuple[tuple[LogEntry, ...], tuple[Event, ...]]:
    """Return a recording's records and events, unmodified."""
    parsed = [records.log_entry(entry) for entry in entries_of(name, whole=whole)]
    entries = tuple(each for each in parsed if isinstance(each, LogEntry))
    assert len(entries) == len(parsed)
    return entries, tuple(read(name, entries))


def check_others_are_untouched(name: str, position: int, mutant: Json, *, whole: bool) -> None:
    """Read the recording with one malformed record: the events of all other records are unchanged."""
    parsed, unspoilt = parsed_recording(name, whole=whole)
    original = parsed[position]
    changed = records.log_entry(mutant)
    if isinstance(changed, Rejected):
        assert changed.reason
        assert orjson.loads(changed.raw).keys() <= mutant.keys()
        mine = {original.id}
    else:
        mine = {original.id, changed.id}
    events = read(name, [*parsed[:position], changed, *parsed[position + 1 :]])
    if original.type == "delegate_log_entry":  # without it, the assignment is an event of its own
        before = {event.id for event in unspoilt}
        beside = {each.id for each in parsed if each.created_at == original.created_at}
        events = [event for event in events if event.id in before or source(event) not in beside]
    assert [event for event in events if source(event) not in mine] == [
        event for event in unspoilt if source(event) != original.id
    ]
    for event in events:
        if source(event) in mine:
            use(event)


def different(entries: Sequence[Json]) -> Iterator[tuple[int, Json]]:
    """Yield the entries with their positions; of those with the same type and the same keys only the first and last."""
    alike: dict[tuple[str, frozenset[str]], list[int]] = {}
    for position, entry in enumerate(entries):
        alike.setdefault((entry["type"], frozenset(keys(entry))), []).append(position)
    for position in sorted({end for each in alike.values() for end in (each[0], each[-1])}):
        yield position, entries[position]


@pytest.mark.parametrize("name", RECORDED)
def test_a_malformed_field_in_a_recorded_entry_affects_no_other_record(
    name: str, request: pytest.FixtureRequest
) -> None:
    for position, entry in different(entries_of(name, whole=False)):
        for how, mutant in some(spoilt(entry, OPENED), request):
            try:
                check_others_are_untouched(name, position, mutant, whole=False)
            except Exception as error:
                error.add_note(f"{entry['type']} {entry['id']} with {how}")
                raise


@pytest.mark.parametrize("name", [name for name in RECORDED if name in INCIDENTS])
def test_a_malformed_field_in_an_included_incident_affects_no_other_record(
    name: str, request: pytest.FixtureRequest
) -> None:
    done = set()
    for position, entry in enumerate(entries_of(name, whole=True)):
        kind = entry["incident"]["id"], entry["type"]
        if kind in done:
            continue
        done.add(kind)
        for how, mutant in some(spoilt({"incident": entry["incident"]}, OPENED), request):
            try:
                check_others_are_untouched(name, position, entry | mutant, whole=True)
            except Exception as error:
                error.add_note(f"{entry['type']} {entry['id']} with {how}")
                raise


@pytest.mark.parametrize("name", RECORDED)
async def test_a_poll_with_malformed_records_succeeds_and_loses_none_of_the_others(
    database: Database, clock: ManualClock, name: str
) -> None:
    luck = random.Random(name)
    entries = entries_of(name, whole=True)
    chosen = set(luck.sample(range(len(entries)), max(1, len(entries) // 3)))
    mutants = {place: luck.choice(list(spoilt(entries[place], OPENED))) for place in sorted(chosen)}
    account = replay(
        clock, name, [mutants[place][1] if place in chosen else entry for place, entry in enumerate(entries)]
    )
    daemon = Daemon(database, account)
    await daemon.poll(0)
    clock.now = recordings.happened_at(entries[-1]).astimezone(UTC)
    await daemon.poll(60)

    assert daemon.state().failing_since is None
    malformed = {entries[place]["id"] for place in chosen}
    kept = [each for each in expected_events(entries) if each[1] not in malformed]
    assert [each for each in named(events_of(daemon)) if each in kept] == kept, mutants
    read_alone = [records.log_entry(mutant) for _, mutant in mutants.values()]
    assert set(quarantined(daemon)) == {each.raw for each in read_alone if isinstance(each, Rejected)}
    for event in events_of(daemon):
        use(event)
    before = named(events_of(daemon))
    await daemon.poll(60)
    assert named(events_of(daemon)) == before


@pytest.mark.parametrize("name", INCIDENTS)
def test_a_malformed_field_in_an_incident_affects_no_other_incident(name: str, request: pytest.FixtureRequest) -> None:
    shown = INCIDENTS[name]
    every = ("assignments", "acknowledgements", *(key for each in shown.values() for key in each))

    def compare(listed: Sequence[Json]) -> list[Event]:
        understood = [each for each in map(records.incident, listed) if not isinstance(each, Rejected)]
        long_ago = datetime(2010, 1, 1, tzinfo=UTC)
        found = detection.reconcile("acme", {}, understood, history=long_ago, settled=START, read_at=START, now=START)
        return list(found.events)

    unspoilt = compare(list(shown.values()))
    assert {event.incident_id for event in unspoilt} == shown.keys()
    for event in unspoilt:
        use(event)
    for incident_id, incident in shown.items():
        others = [each for key, each in shown.items() if key != incident_id]
        for how, mutant in some(spoilt(incident, every), request):
            events = compare([*others, mutant])
            untouched = [event for event in events if event.incident_id in shown and event.incident_id != incident_id]
            assert untouched == [event for event in unspoilt if event.incident_id != incident_id], how
            for event in events:
                if event not in untouched:
                    use(event)


# --- what receivers get


@pytest.mark.parametrize("name", RECORDED)
def test_the_standard_webhooks_library_verifies_every_event(name: str) -> None:
    parsed, events = parsed_recording(name, whole=True)
    entries = {entry.id: entry for entry in parsed}
    receiver = Webhook(SECRET)
    now = int(time.time())
    key = signing.key(SECRET)
    for event in events:
        message = Message(ids.message_id(event.id, "all"), "all", event.type, event)
        body = standard.body(message)
        headers = {
            "webhook-id": message.id,
            "webhook-timestamp": str(now),
            "webhook-signature": signing.signature((key,), message.id, now, body),
        }
        received = receiver.verify(body, headers)
        entry = entries[source(event)]
        assert received["type"] == event.type
        assert recordings.happened_at({"created_at": received["timestamp"]}) == entry.created_at
        assert received["data"]["event_id"] == event.id
        assert received["data"]["agent"] == entry.agent
        assert received["data"]["incident"].items() >= entry.incident.items()
        with pytest.raises(WebhookVerificationError):
            receiver.verify(body.replace(b"incident", b"Incident", 1), headers)


@pytest.mark.parametrize("name", RECORDED)
def test_no_event_contains_contact_details(name: str) -> None:
    _, events = parsed_recording(name, whole=True)
    for event in events:
        assert keys(event.payload).isdisjoint(records.CONTACTS)
        assert "@example.com" not in orjson.dumps(event.payload).decode()


def keys(value: object) -> set[str]:
    """Return all keys, at any depth."""
    if isinstance(value, list):
        return set().union(*map(keys, value))
    if isinstance(value, dict):
        return set(value).union(*map(keys, value.values()))
    return set()
