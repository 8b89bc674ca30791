"""A simulated PagerDuty: accounts in memory, with its real quirks. Only the command line and tests import it."""

from __future__ import annotations

from daemon.simulator.account import Account
from daemon.simulator.faults import Fault
from daemon.simulator.lifecycles import Lifecycles, history
from daemon.simulator.server import Simulator, serve

__all__ = ["Account", "Fault", "Lifecycles", "Simulator", "history", "serve"]
