"""The chores beside polling, one file each; every chore is a class with ``run``, which answers when to ask again."""

from __future__ import annotations

from daemon.maintenance.alerting import Alerting
from daemon.maintenance.heartbeat import Heartbeat
from daemon.maintenance.replaying import Replaying
from daemon.maintenance.retention import Retention, prune

__all__ = ["Alerting", "Heartbeat", "Replaying", "Retention", "prune"]
