"""Query parameters that several lists share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from daemon.views import paging


class PageQuery(BaseModel):
    """The parameters of every list. Unknown parameters are rejected."""

    model_config = ConfigDict(extra="forbid")

    after: str | None = Field(None, description="A cursor: the `next` of the previous page")
    limit: int = Field(100, ge=1, le=paging.LARGEST_PAGE, description="The largest number of items")


class IncidentQuery(PageQuery):
    """The parameters of lists that can be filtered by incident."""

    incident: str | None = Field(None, description="Only items about this incident")
