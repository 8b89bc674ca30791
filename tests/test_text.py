"""Foreign text and secrets in what people read."""

from __future__ import annotations

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
