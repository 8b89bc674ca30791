"""An account on a clock that stands still, served on loopback, and PagerDuty's own client in Alice's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from anyio.from_thread import start_blocking_portal

from daemon.simulator import Account, Simulator
from tests.simulator.documented import HOOKS
from tests.simulator.writing.client import Rest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio.from_thread import BlockingPortal

    from daemon.simulator.directory import User
    from daemon.simulator.incident import Incident
    from tests.conftest import ManualClock


@pytest.fixture
def account(clock: ManualClock) -> Account:
    return Account(clock=clock, seed=7)


@pytest.fixture
def simulator(account: Account) -> Simulator:
    return Simulator([account])


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    """A thread with an event loop, for servers that tests talk to while they wait themselves."""
    with start_blocking_portal() as running:
        yield running


@pytest.fixture
def url(simulator: Simulator, portal: BlockingPortal) -> Iterator[str]:
    with portal.wrap_async_context_manager(simulator.serving()) as address:
        yield address


@pytest.fixture
def alice(account: Account) -> User:
    return account.directory.user("alice")


@pytest.fixture
def bob(account: Account) -> User:
    return account.directory.user("bob")


@pytest.fixture
def incident(account: Account) -> Incident:
    """One that is triggered and assigned to Alice."""
    return account.trigger("Disk full", service=account.directory.services[0])


@pytest.fixture
def rest(url: str, account: Account, alice: User) -> Iterator[Rest]:
    with Rest(account.api_key, alice.email, base_url=url, trust_env=False, verify=False, event_hooks=HOOKS) as client:
        yield client
