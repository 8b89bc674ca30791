"""What a real account may answer one way or another: nothing tells for sure, so a client has to bear all of it."""

from __future__ import annotations

import enum
from typing import Literal

import pydantic


class Repeat(enum.StrEnum):
    """The answer to a status that an incident has already."""

    REFUSED = "refused"  # 400 with 1001 or 1002
    SILENT = "silent"  # 200, nothing changes
    RENEWED = "renewed"  # 200, and acknowledged anew: one more log entry; nothing for a resolution


class Bulk(enum.StrEnum):
    """What becomes of many updates in one request when one of them cannot be made."""

    WHOLE = "whole"  # the request is refused, nothing changes
    SKIPPED = "skipped"  # 200 with those that could be made
    MARKED = "marked"  # 200; the others are listed with their error
    HALFWAY = "halfway"  # refused, but what stood before it has been made


class Habits(pydantic.BaseModel, extra="forbid", validate_assignment=True):
    """An account's habits. ``missing_from`` is the code for a write without ``From``.

    With ``suppressed``, events are accepted and nothing comes of them.
    """

    repeat: Repeat = Repeat.REFUSED
    bulk: Bulk = Bulk.WHOLE
    note_status: Literal[200, 201] = 201
    missing_from: int = 1008
    suppressed: bool = False
