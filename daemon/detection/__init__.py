"""Detection of events: pure functions from what PagerDuty shows to events and snapshots.

``log`` reads log entries, ``reconciliation`` compares snapshots with the incidents
themselves. No I/O, no clock, no randomness.
"""

from __future__ import annotations

from daemon.detection.events import Detection
from daemon.detection.log import baseline, read
from daemon.detection.reconciliation import reconcile

__all__ = ["Detection", "baseline", "read", "reconcile"]
