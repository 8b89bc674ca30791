"""The subject of an examination, and the means."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from daemon.outbound import resolver
from daemon.settings import HOSTS
from daemon.storage.database import system_clock

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from daemon.outbound.resolver import Lookup
    from daemon.pagerduty import Client
    from daemon.settings import Settings
    from daemon.storage.database import Clock, Database

US, EU = (HOSTS[region][0] for region in ("us", "eu"))
ELSEWHERE = {US: EU, EU: US}


@dataclass(frozen=True, slots=True)
class Examination:
    """The configuration and the database, which need not be usable, and what else the checks depend on.

    ``clients`` are those of this process if it is the daemon itself; else its API is asked at ``address``, if there is
    one. ``hints`` are what is probably not meant so in the configuration. ``offline`` skips the network; ``send`` sends
    signed samples to the targets. ``elsewhere`` maps the address of each region's REST API to that of the other.
    """

    settings: Settings
    database: Database
    hints: Sequence[str] = ()
    clients: Mapping[str, Client] | None = None
    address: str | None = None
    offline: bool = False
    send: bool = False
    elsewhere: Mapping[str, str] = field(default_factory=lambda: ELSEWHERE)
    lookup: Lookup = resolver.look_up
    clock: Clock = system_clock
