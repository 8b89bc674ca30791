"""The contents of messages that are kept for the next target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.delivery import contents
from tests.delivery.loop_setup import claim, fill, target

if TYPE_CHECKING:
    import pytest

    from daemon.storage.database import Database


async def test_contents_are_kept_up_to_a_number_and_a_size(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    ops = target("ops", "http://127.0.0.1:9/")
    fill(database, [f"P{number}" for number in range(4)], ["ops"])
    claimed = claim(database)
    everything = await contents.Contents(database).load([(ops, claimed)])
    assert len(everything["ops"]) == 4
    size = max(contents._size(each) for each in everything["ops"].values())
    for most, most_bytes, expected in ((4, 4 * size, 4), (3, 4 * size, 3), (4, 2 * size, 2), (4, 1, 0)):
        monkeypatch.setattr(contents, "KEPT", most)
        monkeypatch.setattr(contents, "KEPT_BYTES", most_bytes)
        some = contents.Contents(database)
        assert await some.load([(ops, claimed)]) == everything
        assert (len(some._kept), some._kept_bytes) == (expected, sum(map(contents._size, some._kept.values())))
        assert await some.load([(ops, claimed)]) == everything
