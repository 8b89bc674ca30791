"""Delivering messages to targets."""

from __future__ import annotations

from daemon.delivery.loop import Deliveries

__all__ = ["Deliveries"]
