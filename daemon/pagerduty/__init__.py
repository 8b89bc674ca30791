"""The only package that talks to PagerDuty."""

from __future__ import annotations

from daemon.pagerduty.client import Client
from daemon.pagerduty.listing import Listing, Window

__all__ = ["Client", "Listing", "Window"]
