"""Checks of everything outside the program: one list of checks for the command, the API and the page.

Nothing here changes anything, neither in PagerDuty nor at a target, unless samples are requested.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from daemon.control.doctor import configuration, connections, daemons, database, targets
from daemon.control.doctor.examination import Examination
from daemon.control.doctor.finding import Diagnosis, Finding, Status

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    Check = Callable[[Examination], Awaitable[Sequence[Finding]]]

__all__ = ["Diagnosis", "Examination", "Finding", "Status", "examine"]

CHECKS: tuple[Check, ...] = (configuration.check, database.check, connections.check, targets.check, daemons.check)


async def examine(examination: Examination) -> Diagnosis:
    """Make every check, and return what each of them found, in the order of ``CHECKS``."""
    groups = await asyncio.gather(*(check(examination) for check in CHECKS))
    return Diagnosis(tuple(finding for group in groups for finding in group))
