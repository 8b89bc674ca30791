"""How an incident is changed once, alone or together with others. The changes themselves are in their own files.

A first try may have to look before it writes: an acknowledgement would re-open an incident
that was resolved meanwhile. A repeat always looks: the first try may have worked. PagerDuty
has no way to look and write in one step; what happens in between cannot be told apart.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from daemon import errors, resource
from daemon.actions import objects
from daemon.actions.operation import Done, Parameters, Try
from daemon.actions.problems import (
    ALREADY_ACKNOWLEDGED,
    ALREADY_RESOLVED,
    CHANGED_MEANWHILE,
    SENDER_NOT_FOUND,
)
from daemon.model import Outcome, Status
from daemon.pagerduty import lookups, writes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from daemon.actions.operation import Ended
    from daemon.model import Json
    from daemon.pagerduty import Client

FEW = 4
TRACED = ("assignments", "escalation_policy", "pending_actions")  # by which it is seen that a change was made
NOT_FOUND = 404


class ChangeParameters(Parameters):
    """What every change of an incident names, under the connector's names."""

    @property
    def incident(self) -> str:
        """The incident."""
        incident_id: str = getattr(self, "incidentId")  # noqa: B009 - the connector's spelling
        return incident_id

    @property
    def user(self) -> str:
        """Who does it."""
        user_id: str = getattr(self, "userId")  # noqa: B009 - as above
        return user_id


@dataclass(frozen=True, slots=True)
class Change:
    """One kind of change.

    ``fields`` are what the request sets. ``holds`` answers whether an incident shows the change,
    given what it looked like before the first try (``trace``, None if nobody looked).
    ``looks_first``: whether a first try has to look as well. ``send`` makes the request; None:
    it is a plain update of the incident. ``resolves``: a resolved incident is what is wanted.
    """

    parameters: type[ChangeParameters]
    fields: Callable[[Any], Json]
    holds: Callable[[Json, Any, Json | None], bool]
    looks_first: bool = False
    resolves: bool = False
    send: Callable[[Client, Any, str], Awaitable[Json]] | None = None

    async def run(self, given: Try, parameters: ChangeParameters) -> Done:
        """Carry out one."""
        before: Json | None = None
        await given.sender(parameters.user)
        if given.repeated or self.looks_first:
            before = await _look(given.client, parameters.incident)
            if ended := self.settled(given, parameters, before):
                return ended
        if not given.repeated:
            await given.begin({given.action.id: _trace(before)})
        return await self._write(given, parameters)

    def settled(self, given: Try, parameters: ChangeParameters, incident: Json) -> Done | None:
        """What the incident says about the action, if that is the end of it."""
        if resource.status(incident) is Status.RESOLVED:
            done = Outcome.DONE if given.repeated else Outcome.ALREADY_DONE
            return Done(done if self.resolves else Outcome.OVERTAKEN, objects.incident(incident))
        if given.repeated and self.holds(incident, parameters, given.action.trace):
            return Done(Outcome.DONE, objects.incident(incident))
        return None

    async def _write(self, given: Try, parameters: ChangeParameters) -> Done:
        try:
            changed = await with_sender(given, parameters.user, lambda sender: self._send(given, parameters, sender))
        except errors.Permanent as error:
            if error.code not in {ALREADY_RESOLVED, ALREADY_ACKNOWLEDGED}:
                raise not_found(error, f"incident {parameters.incident}") from None
            incident = await _look(given.client, parameters.incident)
            if settled := self.settled(given, parameters, incident):
                return settled
            if error.code == ALREADY_RESOLVED or resource.status(incident) is not Status.ACKNOWLEDGED:
                raise  # it says one thing and shows another
            return Done(Outcome.ALREADY_DONE, objects.incident(incident))
        return Done(Outcome.DONE, objects.incident(changed))

    async def _send(self, given: Try, parameters: ChangeParameters, sender: str) -> Json:
        if self.send is not None:
            return await self.send(given.client, parameters, sender)
        return await writes.update_incident(given.client, parameters.incident, self.fields(parameters), sender)

    # --- many at once

    async def run_together(self, tries: Sequence[Try]) -> dict[str, Ended]:
        """Carry out several, by action id; they are by one user, and set the same. What is left out is to run alone."""
        given = {each.action.id: (each, self.parameters(**each.action.parameters)) for each in tries}
        ended: dict[str, Ended] = {}
        known: dict[str, Json] = {}
        await tries[0].sender(next(parameters.user for _, parameters in given.values()))
        if self.looks_first or any(each.repeated for each in tries):
            known = await self._look_at_all([parameters.incident for _, parameters in given.values()], tries[0].client)
            for action_id, (one, parameters) in list(given.items()):
                incident = known.get(parameters.incident)
                if incident is None:
                    del given[action_id]  # resolved, or none at all: that takes a closer look
                elif settled := self.settled(one, parameters, incident):
                    ended[action_id] = settled
                    del given[action_id]
        if given:
            traces = {each: _trace(known.get(parameters.incident)) for each, (_, parameters) in given.items()}
            await tries[0].begin(traces)
            ended |= await self._write_all(given)
        return ended

    async def _look_at_all(self, incidents: Sequence[str], client: Client) -> dict[str, Json]:
        if len(incidents) > FEW:
            return await lookups.open_incidents(client, set(incidents))
        found = {}
        for incident_id in incidents:
            try:
                found[incident_id] = await lookups.incident(client, incident_id)
            except errors.Permanent:
                continue
        return found

    async def _write_all(self, given: dict[str, tuple[Try, ChangeParameters]]) -> dict[str, Ended]:
        """One request for all; one that is refused falls apart into halves until it is clear what was wrong."""
        if len(given) == 1:
            ((action_id, (one, parameters)),) = given.items()
            try:
                return {action_id: await self._write(one, parameters)}
            except (errors.ActionError, errors.PagerDutyError) as error:
                return {action_id: error}
        (first, of_first), *_ = given.values()
        changes = {parameters.incident: self.fields(parameters) for _, parameters in given.values()}
        try:
            changed = await with_sender(
                first, of_first.user, lambda sender: writes.update_incidents(first.client, changes, sender)
            )
        except errors.Temporary as error:
            return dict.fromkeys(given, error)
        except errors.ActionError as error:
            return dict.fromkeys(given, error)
        except errors.Permanent:
            return await self._write_halves(given)
        return {
            action_id: Done(Outcome.DONE, objects.incident(changed[parameters.incident]))
            for action_id, (_, parameters) in given.items()
            if parameters.incident in changed
        }

    async def _write_halves(self, given: dict[str, tuple[Try, ChangeParameters]]) -> dict[str, Ended]:
        items = list(given.items())
        middle = len(items) // 2
        return await self._write_all(dict(items[:middle])) | await self._write_all(dict(items[middle:]))


async def with_sender(given: Try, user_id: str, write: Callable[[str], Awaitable[Any]]) -> Any:  # noqa: ANN401 - what ``write`` answers
    """Make a change in a user's name. If PagerDuty does not know the address, it may have changed: look it up anew."""
    try:
        return await write(await given.sender(user_id))
    except errors.Permanent as error:
        if error.code == CHANGED_MEANWHILE:
            raise errors.Temporary(str(error), status=error.status, code=error.code) from None
        if error.code != SENDER_NOT_FOUND:
            raise
    return await write(await given.renewed_sender(user_id))


def not_found(error: errors.Permanent, what: str) -> errors.ActionError | errors.Permanent:
    """A refusal, in words that name what does not exist."""
    if error.status != NOT_FOUND:
        return error
    message = f"PagerDuty has no {what}, or the key may not see it"
    return errors.ActionError("not_found", message, status=error.status, pagerduty_code=error.code)


def _trace(incident: Json | None) -> Json | None:
    return None if incident is None else {name: incident.get(name) for name in TRACED}


async def _look(client: Client, incident_id: str) -> Json:
    try:
        return await lookups.incident(client, incident_id)
    except errors.Permanent as error:
        raise not_found(error, f"incident {incident_id}") from None
