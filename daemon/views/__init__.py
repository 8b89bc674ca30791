"""What people see of the database: status and lists, as read-only functions on an open transaction.

API and command line show the same frozen values. Nothing here writes, and no secret is in any answer.
"""

from __future__ import annotations

from daemon.views.actions import action, actions
from daemon.views.lists import deliveries, delivery, events
from daemon.views.overview import connection_statuses, living, status, target_statuses, trigger_statuses
from daemon.views.paging import LARGEST_PAGE, legible, quoted
from daemon.views.readiness import unready
from daemon.views.replays import replay, replays
from daemon.views.values import (
    ActionError,
    ActionItem,
    ActionQueue,
    Actions,
    Attempt,
    Budget,
    ConnectionStatus,
    Deliveries,
    DeliveryDetail,
    DeliveryItem,
    EventItem,
    Events,
    Health,
    Instance,
    Journal,
    ReplayFilters,
    ReplayItem,
    Replays,
    Status,
    TargetStatus,
    TriggerStatus,
)

__all__ = [
    "LARGEST_PAGE",
    "ActionError",
    "ActionItem",
    "ActionQueue",
    "Actions",
    "Attempt",
    "Budget",
    "ConnectionStatus",
    "Deliveries",
    "DeliveryDetail",
    "DeliveryItem",
    "EventItem",
    "Events",
    "Health",
    "Instance",
    "Journal",
    "ReplayFilters",
    "ReplayItem",
    "Replays",
    "Status",
    "TargetStatus",
    "TriggerStatus",
    "action",
    "actions",
    "connection_statuses",
    "deliveries",
    "delivery",
    "events",
    "legible",
    "living",
    "quoted",
    "replay",
    "replays",
    "status",
    "target_statuses",
    "trigger_statuses",
    "unready",
]
