"""The registry of payload formats: one file per format, one line here.

The configuration check and the documentation's table are derived from ``REGISTRY``.
"""

from __future__ import annotations

from daemon.formats import cloudevents, connector, pagerduty_v3, standard
from daemon.formats.format import Format

REGISTRY: dict[str, Format] = {
    "standard": standard.FORMAT,
    "pagerduty-v3": pagerduty_v3.FORMAT,
    "cloudevents": cloudevents.FORMAT,
    "connector": connector.FORMAT,
}

__all__ = ["REGISTRY", "Format"]
