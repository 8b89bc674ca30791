"""What every section of the file has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A part of the file. Unknown keys are mistakes."""

    model_config = ConfigDict(
        extra="forbid",
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        defer_build=True,  # only the whole file is validated; its parts need no validators of their own
    )
