"""Foreign text and secrets in what people read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from daemon import text


@pytest.mark.parametrize(
    ("secret", "message", "shown"),
    [
        ("e", "the connection broke", "the connection broke"),
        ("1", "could not connect: error 111 after 1 s", "could not connect: error 111 after 1 s"),
        ("on", "the connection to on broke", "the connection to *** broke"),
        ("abc", "xabcx abc-abc", "xabcx ***-***"),
        ("", "the connection broke", "the connection broke"),
        ("abcde", "xabcdex", "x***x"),
        ("a+b", "a+b, aa+bb", "***, aa+bb"),
    ],
)
def test_short_secrets_do_not_make_messages_unreadable(secret: str, message: str, shown: str) -> None:
    assert text.mask(message, [secret]) == shown


NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2h", NOW - timedelta(hours=2)),
        (" 1h ago ", NOW - timedelta(hours=1)),
        ("90", NOW - timedelta(seconds=90)),
        ("2026-11-01T01:00:00+01:00", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T00:00", datetime(2026, 11, 1, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", None),
        ("0h", None),
        ("99999999999d", None),
        ("2026-11-01 ago", None),
        ("yesterday", None),
        ("", None),
    ],
)
def test_a_time_is_an_age_or_an_instant(written: str, moment: datetime | None) -> None:
    assert text.moment(written, NOW, UTC) == moment
    assert text.moment(written, NOW) == (None if written == "2026-11-01T00:00" else moment)
