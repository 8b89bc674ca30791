"""The interpreter's settings of a running daemon."""

from __future__ import annotations

import gc
import sys

from daemon.runtime import interpreter


def test_modules_are_not_collected_and_threads_take_short_turns() -> None:
    before, marker = sys.getswitchinterval(), [object()]
    try:
        interpreter.tune()
        assert sys.getswitchinterval() == interpreter.SWITCH_SECONDS
        assert not any(each is marker for each in gc.get_objects())
    finally:
        sys.setswitchinterval(before)
