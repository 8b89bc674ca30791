"""The tables in SQLAlchemy Core. Migrations create them; nothing here reads or writes.

The same definitions serve SQLite and PostgreSQL. JSON is stored as text, and times as ``Instant``: timestamptz on
PostgreSQL, microseconds since 1970 on SQLite.
"""

from __future__ import annotations

import sqlalchemy as sa

from daemon.storage import dialects
from daemon.storage.column_types import Counter, Instant

metadata = sa.MetaData()
sa.event.listen(metadata, "before_create", dialects.adapt)

instances = sa.Table(
    "instances",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("hostname", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("started_at", Instant, nullable=False),
    sa.Column("heartbeat_at", Instant, nullable=False),
    sa.Column("clock_ahead_seconds", sa.BigInteger),
    sa.Column("config_hash", sa.Text),
)

connections = sa.Table(
    "connections",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("baseline_at", Instant),
    sa.Column("watermark", Instant),
    sa.Column("next_poll_at", Instant, nullable=False),
    sa.Column("polled_by", sa.Text),
    sa.Column("last_poll_at", Instant),
    sa.Column("last_success_at", Instant),
    sa.Column("failing_since", Instant),
    sa.Column("last_error", sa.Text),
    sa.Column("next_sweep_at", Instant, nullable=False),
    sa.Column("next_reconcile_at", Instant, nullable=False),
    sa.Column("blocked_until", Instant),
    sa.Column("alerted_at", Instant),
)

permits = sa.Table(
    "permits",
    metadata,
    sa.Column("id", Counter, primary_key=True, autoincrement=True),
    sa.Column("connection", sa.Text, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("priority", sa.SmallInteger, nullable=False),
    sa.Index("permits_by_time", "connection", "at"),
)

permit_waits = sa.Table(
    "permit_waits",
    metadata,
    sa.Column("connection", sa.Text, primary_key=True),
    sa.Column("priority", sa.SmallInteger, primary_key=True),
    sa.Column("instance", sa.Text, primary_key=True),
    sa.Column("expires_at", Instant, nullable=False),
)

seen_entries = sa.Table(
    "seen_entries",
    metadata,
    sa.Column("connection", sa.Text, primary_key=True),
    sa.Column("entry_id", sa.Text, primary_key=True),
    sa.Column("seen_at", Instant, nullable=False),
    sa.Index("seen_entries_by_time", "seen_at"),
)

_OPEN = sa.text("status <> 'resolved'")

snapshots = sa.Table(
    "snapshots",
    metadata,
    sa.Column("connection", sa.Text, primary_key=True),
    sa.Column("incident_id", sa.Text, primary_key=True),
    sa.Column("created", sa.Boolean, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("status_at", Instant, nullable=False),
    sa.Column("assigned", sa.Text, nullable=False),
    sa.Column("incident", sa.Text, nullable=False),
    sa.Column("announced", sa.Text, nullable=False),
    sa.Column("read_at", Instant, nullable=False),
    sa.Index("snapshots_by_status", "connection", "status", "status_at"),
    sa.Index("snapshots_open", "status_at", "incident_id", "connection", sqlite_where=_OPEN),
)

events = sa.Table(
    "events",
    metadata,
    sa.Column("seq", Counter, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("connection", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("incident_id", sa.Text, nullable=False),
    sa.Column("occurred_at", Instant, nullable=False),
    sa.Column("detected_at", Instant, nullable=False),
    sa.Column("detected_by", sa.Text, nullable=False),
    sa.Column("payload", sa.Text, nullable=False),
    sa.Index("events_by_connection", "connection", "seq"),
    sa.Index("events_by_incident", "incident_id", "seq"),
    sa.Index("events_by_time", "detected_at"),
    sqlite_autoincrement=True,
)

triggers = sa.Table(
    "triggers",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("connection", sa.Text, nullable=False),
    sa.Column("watermark", sa.BigInteger, nullable=False),
    sa.Column("next_poll_at", Instant, nullable=False),
    sa.Column("last_run_at", Instant),
    sa.Column("last_event_at", Instant),
    sa.Column("last_error", sa.Text),
)

users = sa.Table(
    "users",
    metadata,
    sa.Column("connection", sa.Text, primary_key=True),
    sa.Column("email", sa.Text, primary_key=True),
    sa.Column("user_id", sa.Text, nullable=False),
    sa.Column("looked_up_at", Instant, nullable=False),
)

_OF_ACTION = sa.text("action_id IS NOT NULL")

# A message has an event of the journal; with ``event_seq`` 0 it has an action, a batch of events or an alert.
messages = sa.Table(
    "messages",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("event_seq", sa.BigInteger, nullable=False),
    sa.Column("trigger", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("action_id", sa.Text),
    sa.Column("type", sa.Text),
    sa.Column("alert", sa.Text),
    sa.Index("messages_by_event", "event_seq"),
    sa.Index("messages_by_trigger", "trigger", "id"),
    sa.Index("messages_by_action", "action_id", sqlite_where=_OF_ACTION),
)

batched = sa.Table(
    "batched",
    metadata,
    sa.Column("message_id", sa.Text, primary_key=True),
    sa.Column("event_seq", sa.BigInteger, primary_key=True),
    sa.Index("batched_by_event", "event_seq"),
)

targets = sa.Table(
    "targets",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("paused_at", Instant),
    sa.Column("failing_since", Instant),
    sa.Column("last_success_at", Instant),
    sa.Column("last_error", sa.Text),
    sa.Column("paused_reason", sa.Text),
    sa.Column("probe_at", Instant),
    sa.Column("probes", sa.Integer, nullable=False, server_default="0"),
    sa.Column("alerted_at", Instant),
    sa.Column("blocked_until", Instant),
    sa.Column("refusing_since", Instant),
    sa.Column("last_failed", sa.BigInteger),  # the delivery of the last failed attempt
)

_PENDING = sa.text("state = 'pending'")
_LIVE = sa.text("state = 'pending' AND claimed_by IS NULL AND replay IS NULL")
_REPLAYED = sa.text("state = 'pending' AND claimed_by IS NULL AND replay IS NOT NULL")
_OF_REPLAY = sa.text("replay IS NOT NULL")
_RETRYING = sa.text("state = 'pending' AND attempts > 0")
_DEAD = sa.text("state = 'dead'")
_DUE = ("target", "next_attempt_at", "id")
# A claim on PostgreSQL changes no index, and costs half: none names claimed_by, and pages have room for changed rows.
_LIVE_OR_CLAIMED = {dialects.WHERE: sa.text("state = 'pending' AND replay IS NULL")}
_REPLAYED_OR_CLAIMED = {dialects.WHERE: sa.text("state = 'pending' AND replay IS NOT NULL")}

deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("id", Counter, primary_key=True, autoincrement=True),
    sa.Column("message_id", sa.Text, nullable=False),
    sa.Column("target", sa.Text, nullable=False),
    sa.Column("incident_id", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("next_attempt_at", Instant, nullable=False),
    sa.Column("claimed_by", sa.Text),
    sa.Column("finished_at", Instant),
    sa.Column("last_status", sa.Integer),
    sa.Column("last_error", sa.Text),
    sa.Column("replay", sa.BigInteger),
    sa.Column("renewed_at", Instant),
    sa.Column("state_before", sa.Text),
    sa.UniqueConstraint("message_id", "target", name="deliveries_once_per_target"),
    sa.Index("deliveries_due", *_DUE, sqlite_where=_LIVE, info=_LIVE_OR_CLAIMED),
    sa.Index("deliveries_replay_due", *_DUE, sqlite_where=_REPLAYED, info=_REPLAYED_OR_CLAIMED),
    sa.Index("deliveries_by_replay", "replay", "state", sqlite_where=_OF_REPLAY),
    sa.Index("deliveries_in_order", "target", "incident_id", "id", sqlite_where=_PENDING),
    sa.Index("deliveries_retrying", "target", "id", sqlite_where=_RETRYING),
    sa.Index("deliveries_retrying_in_order", "id", "message_id", sqlite_where=_RETRYING),
    sa.Index("deliveries_dead", "target", "id", sqlite_where=_DEAD),
    sa.Index("deliveries_dead_in_order", "id", "message_id", sqlite_where=_DEAD),
    sa.Index("deliveries_by_state", "state", "finished_at", info={dialects.WHERE: sa.text("state <> 'pending'")}),
    sqlite_autoincrement=True,
    info={dialects.FILLED: 40},
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column("id", Counter, primary_key=True, autoincrement=True),
    sa.Column("delivery_id", sa.BigInteger, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("duration_ms", sa.Integer, nullable=False),
    sa.Column("status", sa.Integer),
    sa.Column("error", sa.Text),
    sa.Column("answer", sa.Text),
    sa.Index("attempts_by_delivery", "delivery_id"),
)

replays = sa.Table(
    "replays",
    metadata,
    sa.Column("id", Counter, primary_key=True, autoincrement=True),
    sa.Column("trigger", sa.Text),
    sa.Column("target", sa.Text),
    sa.Column("since", Instant, nullable=False),
    sa.Column("until", Instant, nullable=False),
    sa.Column("delivery_state", sa.Text),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("positions", sa.Text, nullable=False),
    sa.Column("last", sa.BigInteger, nullable=False),
    sa.Column("total", sa.BigInteger, nullable=False),
    sa.Column("taken", sa.BigInteger, nullable=False),
    sa.Column("delivered", sa.BigInteger),
    sa.Column("dead", sa.BigInteger),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("finished_at", Instant),
    sqlite_autoincrement=True,
)

unknown_entry_types = sa.Table(
    "unknown_entry_types",
    metadata,
    sa.Column("connection", sa.Text, primary_key=True),
    sa.Column("type", sa.Text, primary_key=True),
    sa.Column("entries", sa.BigInteger, nullable=False),
    sa.Column("first_seen_at", Instant, nullable=False),
    sa.Column("last_seen_at", Instant, nullable=False),
)

ended_sessions = sa.Table(
    "ended_sessions",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("ended_at", Instant, nullable=False),
)

# Milliseconds; a column for each counts the attempts that took no longer.
LATENCIES = (10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000)

# One row for each target and slot of time, later for each hour; the target "" stands for all of them together.
target_history = sa.Table(
    "target_history",
    metadata,
    sa.Column("target", sa.Text, primary_key=True),
    sa.Column("at", Instant, primary_key=True),
    sa.Column("attempts", sa.BigInteger, nullable=False),
    sa.Column("failures", sa.BigInteger, nullable=False),
    *(sa.Column(f"within_{bound}", sa.BigInteger, nullable=False) for bound in LATENCIES),
    sa.Column("pending", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("dead", sa.BigInteger, nullable=False, server_default="0"),
    sa.Index("target_history_by_time", "at"),
)

connection_history = sa.Table(
    "connection_history",
    metadata,
    sa.Column("connection", sa.Text, primary_key=True),
    sa.Column("at", Instant, primary_key=True),
    sa.Column("events", sa.BigInteger, nullable=False),
    sa.Column("calls", sa.BigInteger, nullable=False),
    sa.Index("connection_history_by_time", "at"),
)

# How far attempts, events and permits were counted, and how far they went when that was last looked at.
history_positions = sa.Table(
    "history_positions",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("counted_to", sa.BigInteger, nullable=False),
    sa.Column("seen_to", sa.BigInteger, nullable=False),
)

quarantine = sa.Table(
    "quarantine",
    metadata,
    sa.Column("id", Counter, primary_key=True, autoincrement=True),
    sa.Column("connection", sa.Text, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("found_at", Instant, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("raw", sa.Text, nullable=False),
    sa.UniqueConstraint("connection", "digest", name="quarantine_once"),
)

_UNFINISHED = "state = 'queued' OR state = 'running'"
UNFINISHED = sa.text(f"({_UNFINISHED})")  # a query that says it like the index uses the index

actions = sa.Table(
    "actions",
    metadata,
    sa.Column("seq", Counter, primary_key=True, autoincrement=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("operation", sa.Text, nullable=False),
    sa.Column("connection", sa.Text, nullable=False),
    sa.Column("parameters", sa.Text, nullable=False),
    sa.Column("secret", sa.Text, nullable=False),
    sa.Column("subject", sa.Text),
    sa.Column("together", sa.Text),
    sa.Column("notify", sa.Text, nullable=False),
    sa.Column("idempotency_key", sa.Text, unique=True),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("claimed_by", sa.Text),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("next_try_at", Instant, nullable=False),
    sa.Column("started_at", Instant),
    sa.Column("written_at", Instant),
    sa.Column("trace", sa.Text),
    sa.Column("outcome", sa.Text),
    sa.Column("result", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("finished_at", Instant),
    sa.Index("actions_waiting", "connection", "seq", sqlite_where=sa.text(_UNFINISHED)),
    sa.Index("actions_of_subject", "connection", "subject", "seq"),
    sa.Index("actions_finished", "finished_at"),
    sqlite_autoincrement=True,
)
