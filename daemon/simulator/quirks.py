"""Behaviour in which real accounts may differ: it is not documented, so a client must handle every variant."""

from __future__ import annotations

import enum
from typing import Literal

import pydantic


class Repeat(enum.StrEnum):
    """The response to setting the status that an incident already has."""

    REFUSED = "refused"  # 400 with 1001 or 1002
    SILENT = "silent"  # 200, nothing changes
    RENEWED = "renewed"  # 200, and acknowledged again: another log entry; nothing for a resolution


class Bulk(enum.StrEnum):
    """The result of a bulk update when one of its updates is rejected."""

    WHOLE = "whole"  # the request is rejected, nothing changes
    SKIPPED = "skipped"  # 200 with the updates that were accepted
    MARKED = "marked"  # 200; the rejected ones are listed with their error
    HALFWAY = "halfway"  # rejected, but the updates before it took effect


class Habits(pydantic.BaseModel, extra="forbid", validate_assignment=True):
    """An account's quirks. ``missing_from`` is the error code for a write without ``From``.

    With ``suppressed``, events are accepted and have no effect.
    """

    repeat: Repeat = Repeat.REFUSED
    bulk: Bulk = Bulk.WHOLE
    note_status: Literal[200, 201] = 201
    missing_from: int = 1008
    suppressed: bool = False
