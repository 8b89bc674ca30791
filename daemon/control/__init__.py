"""The requests that people may make: the API and the page call the same functions, so nothing is decided twice.

Reading is in ``views``. Nothing here knows HTTP: what goes wrong is an exception of ``daemon.errors``.
"""

from __future__ import annotations

from daemon.control.current import Current
from daemon.control.services import Services
from daemon.control.waiting import Waiting

__all__ = ["Current", "Services", "Waiting"]
