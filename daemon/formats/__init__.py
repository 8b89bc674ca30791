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
    """How a target's format signs: headers from the body and the texts of the secrets."""
    return functools.partial(REGISTRY[target.format].sign, target.name)


def supports_actions(target: Target) -> bool:
    """Whether a target's format has a form for how an action ended."""
    return REGISTRY[target.format].supports("action.succeeded")


__all__ = ["REGISTRY", "Format", "signing", "supports_actions"]
