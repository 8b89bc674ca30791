"""Settings of the Python interpreter for a process in which one thread sends and others use the database."""

from __future__ import annotations

import gc
import sys

SWITCH_SECONDS = 0.001
NEW_OBJECTS = 50_000  # between two collections of the youngest objects; Python's own number is 700 or 2,000


def tune() -> None:
    """Let the event loop wait less: for garbage collection, and for threads that hold the interpreter's lock.

    Each full collection would look at all modules, for a tenth of a second, and claimed deliveries are as many objects
    as make a collection due. A database thread that computes would keep the lock for 5 ms; with 1 ms, the last
    deliveries of a poll leave earlier.
    """
    gc.freeze()
    gc.set_threshold(NEW_OBJECTS, *gc.get_threshold()[1:])
    sys.setswitchinterval(SWITCH_SECONDS)
