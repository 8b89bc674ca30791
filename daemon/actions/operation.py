"""The description of an operation, and what one run of an action may use."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

from pydantic import BaseModel, ConfigDict, StringConstraints

from daemon import errors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from datetime import datetime

    from daemon.model import Action, Json, Outcome
    from daemon.pagerduty import Client

# PagerDuty's ids have changed over the years, so no format is checked.
Id = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\s/\x00-\x1f\x7f]+$")]
# An e-mail address in place of an id would fail only when PagerDuty is asked.
USER_ID = r"^[^\s@/\x00-\x1f\x7f]+$"
UserId = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=USER_ID)]


class Parameters(BaseModel):
    """An operation's parameters, with the connector's names. Unknown ones are rejected."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=False,
        str_strip_whitespace=False,
        hide_input_in_errors=True,
    )


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The success of an action, with the connector's object as the result."""

    outcome: Outcome
    result: Json


@dataclass(frozen=True, slots=True)
class ActionRun:
    """One run of an action, and what it may use.

    ``sender`` returns a user's e-mail address for ``From``; ``renewed_sender`` looks it up again. Await ``begin``
    before the first call that changes anything: it records that the change may be made from now on, and per action id
    what to compare with if the outcome stays unknown. ``others_notes`` are the ids of notes that other actions have
    added to the incident; ``now`` is the clock of ``Action.write_began_at``.
    """

    action: Action
    client: Client
    sender: Callable[[str], Awaitable[str]]
    renewed_sender: Callable[[str], Awaitable[str]]
    begin: Callable[[Mapping[str, Json | None]], Awaitable[None]]
    now: Callable[[], datetime]
    others_notes: frozenset[str] = frozenset()

    @property
    def repeated(self) -> bool:
        """Return whether an earlier run may have made the change."""
        return self.action.write_began_at is not None


Failure: TypeAlias = errors.ActionError | errors.PagerDutyError
RunOutcome: TypeAlias = Succeeded | Failure


@dataclass(frozen=True, slots=True)
class Operation:
    """An operation with the connector's name and parameters; ``result`` names the connector's object.

    ``run`` runs one action. Operations that can change many incidents at once also have ``run_batch``; actions with
    equal ``batch_key`` can go out in one request. ``incident_id`` returns the incident of an action. ``secret`` names
    the parameters that are never shown. ``help`` is one sentence for people.
    """

    name: str
    help: str
    parameters: type[Parameters]
    result: str
    run: Callable[[ActionRun, Any], Awaitable[Succeeded]]
    incident_id: Callable[[Any], str | None] = lambda _parameters: None
    batch_key: Callable[[Any], str | None] = lambda _parameters: None
    run_batch: Callable[[Sequence[ActionRun]], Awaitable[Mapping[str, RunOutcome]]] | None = None
    secret: frozenset[str] = frozenset()
