"""What an operation's file has to say about itself, and what a try has at hand."""

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

# What PagerDuty takes as an id: no format is checked, since it has changed over the years.
Id = Annotated[str, StringConstraints(min_length=1, max_length=255, pattern=r"^[^\s/\x00-\x1f\x7f]+$")]


class Parameters(BaseModel):
    """An operation's parameters, by the connector's names; one that is unknown is a mistake."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        populate_by_name=False,
        str_strip_whitespace=False,
        hide_input_in_errors=True,
    )


@dataclass(frozen=True, slots=True)
class Done:
    """How an action succeeded, with its result: the connector's object."""

    outcome: Outcome
    result: Json


@dataclass(frozen=True, slots=True)
class Try:
    """One try of an action, and what it may use.

    ``sender`` gives the e-mail address of a user, for ``From``; ``renewed_sender`` looks it up anew.
    ``begin`` has to be awaited before the first call that changes something: it notes that the
    change may be made from now on, and for each action's id what to compare with if the try ends in
    the dark. ``others_notes`` are the ids of notes that other actions have added to the incident;
    ``now`` is the clock of ``Action.write_began_at``.
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
        """Whether an earlier try may have made the change."""
        return self.action.write_began_at is not None


Failure: TypeAlias = errors.ActionError | errors.PagerDutyError
Ended: TypeAlias = Done | Failure


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation: name and parameters as the connector has them, ``result`` the name of the connector's object.

    ``run`` carries out one action. Operations on many incidents at once have ``run_together`` as
    well, and ``together``: actions for which it answers the same can be sent in one request.
    ``subject`` answers the incident that an action is about. ``secret`` names the parameters
    that are never shown. ``help`` is one sentence for people.
    """

    name: str
    help: str
    parameters: type[Parameters]
    result: str
    run: Callable[[Try, Any], Awaitable[Done]]
    subject: Callable[[Any], str | None] = lambda _parameters: None
    together: Callable[[Any], str | None] = lambda _parameters: None
    run_together: Callable[[Sequence[Try]], Awaitable[Mapping[str, Ended]]] | None = None
    secret: frozenset[str] = frozenset()
