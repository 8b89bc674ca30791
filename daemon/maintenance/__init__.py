"""Periodic chores beside polling, one file each; each is a class whose ``run`` returns when to run again."""

from __future__ import annotations

from daemon.maintenance.alerting import Alerting
from daemon.maintenance.clock import SetBack
from daemon.maintenance.heartbeat import EVERY as HEARTBEAT_EVERY
from daemon.maintenance.heartbeat import Heartbeat, Self
from daemon.maintenance.history import History
from daemon.maintenance.replaying import Replaying
from daemon.maintenance.retention import Retention, count_expired, prune

__all__ = [
    "HEARTBEAT_EVERY",
    "Alerting",
    "Heartbeat",
    "History",
    "Replaying",
    "Retention",
    "Self",
    "SetBack",
    "count_expired",
    "prune",
]
