"""The interpreter's settings of a running daemon."""

from __future__ import annotations

import gc
import sys

from daemon.runtime import interpreter


def test_modules_are_not_collected_collections_are_rare_and_threads_take_short_turns() -> None:
    before, collections, marker = sys.getswitchinterval(), gc.get_threshold(), [object()]
    try:
        interpreter.tune()
        assert sys.getswitchinterval() == interpreter.SWITCH_SECONDS
        assert gc.get_threshold()[0] == interpreter.NEW_OBJECTS
        assert not any(each is marker for each in gc.get_objects())
    finally:
        sys.setswitchinterval(before)
        gc.set_threshold(*collections)
