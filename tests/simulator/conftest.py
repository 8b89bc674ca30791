"""An account on a clock that stands still, served on loopback, and PagerDuty's own client in Alice's name."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from daemon.simulator import Account, Simulator
from tests.simulator.loopback import Rest, served

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon.simulator.directory import User
    from tests.conftest import ManualClock


@pytest.fixture
def account(clock: ManualClock) -> Account:
    return Account(clock=clock, seed=7)


@pytest.fixture
def simulator(account: Account) -> Simulator:
    return Simulator([account])


@pytest.fixture
def url(simulator: Simulator) -> Iterator[str]:
    with served(simulator) as where:
        yield where


@pytest.fixture
def alice(account: Account) -> User:
    return account.directory.user("alice")


@pytest.fixture
def bob(account: Account) -> User:
    return account.directory.user("bob")


@pytest.fixture
def rest(url: str, account: Account, alice: User) -> Iterator[Rest]:
    with Rest(url, account, alice.email) as client:
        yield client
