"""The log of a long upgrade of the schema."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from daemon.app.schema_upgrade import SchemaUpgrade
from daemon.storage.database import HEAD, Database
from tests.harness.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest


def test_an_upgrade_logs_each_revision_and_meanwhile_for_how_long_it_has_been_working(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch()
    upgrade = SchemaUpgrade(watch)
    database = Database(f"sqlite:///{tmp_path / 'pagerelay.db'}")

    def slowly(_database: Database, report: Callable[[str], None]) -> str:
        report("0002")
        watch.seconds += 25
        upgrade.tick()
        report(HEAD)
        return HEAD

    with structlog.testing.capture_logs() as lines:
        upgrade.tick()
        with monkeypatch.context() as patch:
            patch.setattr(Database, "upgrade", slowly)
            upgrade.run(database)
        upgrade.tick()
    level = {"log_level": "info", "target": HEAD}
    assert lines == [
        level | {"event": "schema.upgraded", "revision": "0002"},
        level | {"event": "schema.upgrading", "revision": "0002", "working_for": "25 s"},
        level | {"event": "schema.upgraded", "revision": HEAD},
    ]
    database.close()
