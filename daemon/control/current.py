"""The configuration in force, and the parts that work for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.control.services import Services
from daemon.settings import fingerprint

if TYPE_CHECKING:
    from daemon.settings import Settings


class Current:
    """The configuration and parts that requests use. They read it whenever needed, because a reload replaces it."""

    def __init__(self, settings: Settings, services: Services | None = None) -> None:
        self.use(settings, services or Services())

    def use(self, settings: Settings, services: Services) -> None:
        """Let requests see another configuration from now on."""
        self.settings = settings
        self.services = services
        self.config_hash = fingerprint(settings)
