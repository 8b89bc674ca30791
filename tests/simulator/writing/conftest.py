"""PagerDuty's own client in Alice's name; every answer that it gets is held against the documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.simulator.documented import HOOKS
from tests.simulator.writing.client import Rest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from daemon.simulator import Account
    from daemon.simulator.directory import User


@pytest.fixture
def rest(url: str, account: Account, alice: User) -> Iterator[Rest]:
    """Yield the client, with the key of the account."""
    with Rest(account.api_key, alice.email, base_url=url, trust_env=False, verify=False, event_hooks=HOOKS) as client:
        yield client
