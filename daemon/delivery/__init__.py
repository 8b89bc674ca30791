"""Delivering messages to targets."""

from __future__ import annotations

from daemon.delivery.deliveries import Deliveries

__all__ = ["Deliveries"]
