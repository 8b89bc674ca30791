"""An invented account on loopback, and PagerDuty's own client library to read it with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from daemon.simulator import Account, Simulator
from tests.simulator.library import KEY, Sdk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from anyio.from_thread import BlockingPortal

    from daemon.simulator.directory import User
    from daemon.simulator.incident import Incident
    from tests.conftest import ManualClock


@pytest.fixture
def account(clock: ManualClock) -> Account:
    """Return an account in New York, on the manual clock."""
    return Account(api_key=KEY, clock=clock)


@pytest.fixture
def simulator(account: Account) -> Simulator:
    """Return PagerDuty with that one account."""
    return Simulator([account])


@pytest.fixture(scope="session")
def portal() -> Iterator[BlockingPortal]:
    """Yield a thread with an event loop, for servers used by blocking tests."""
    with start_blocking_portal() as running:
        yield running


@pytest.fixture
def url(simulator: Simulator, portal: BlockingPortal) -> Iterator[str]:
    """Yield the simulator's URL."""
    with portal.wrap_async_context_manager(simulator.serving()) as address:
        yield address


@pytest.fixture
def sdk(url: str) -> Iterator[Sdk]:
    """Yield PagerDuty's library with the account's key."""
    with Sdk(KEY, base_url=url, trust_env=False, verify=False) as client:
        yield client


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    """Yield a bare HTTP client with the account's key, for what the library hides."""
    headers = {"Authorization": f"Token token={KEY}"}
    with httpx.Client(base_url=url, headers=headers, trust_env=False, verify=False) as client:
        yield client


@pytest.fixture
def alice(account: Account) -> User:
    """Return the user who is on call first for the services of ``ours``."""
    return account.directory.users[0]


@pytest.fixture
def bob(account: Account) -> User:
    """Return the user who is called after Alice, with Carol."""
    return account.directory.users[1]


@pytest.fixture
def incident(account: Account, clock: ManualClock) -> Incident:
    """Return an incident assigned to Alice a minute ago."""
    incident_of = account.trigger("Disk full", service=account.directory.services[0], key="disk")
    clock.advance(60)
    return incident_of
