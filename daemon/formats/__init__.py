"""The registry of payload formats: one file per format, one line here.

The configuration check and the documentation's table are derived from ``REGISTRY``.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from daemon.formats import cloudevents, connector, pagerduty_v3, standard, template
from daemon.formats.format import Format

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from daemon.settings import Target

REGISTRY: dict[str, Format] = {
    "standard": standard.FORMAT,
    "pagerduty-v3": pagerduty_v3.FORMAT,
    "cloudevents": cloudevents.FORMAT,
    "connector": connector.FORMAT,
    "template": template.FORMAT,
}


def signing(target: Target) -> Callable[[bytes, Sequence[str]], Mapping[str, str]]:
    """Return the function of a target's format that signs: it maps body and secrets to headers."""
    return functools.partial(REGISTRY[target.format].sign, target.name)


def supports_actions(target: Target) -> bool:
    """Return whether a target's format supports action results."""
    return REGISTRY[target.format].supports("action.succeeded")


__all__ = ["REGISTRY", "Format", "signing", "supports_actions"]
