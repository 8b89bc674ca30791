"""Delivering messages to targets."""

from __future__ import annotations

from daemon.delivery.deliveries import LOOK_SECONDS, Deliveries

__all__ = ["LOOK_SECONDS", "Deliveries"]
