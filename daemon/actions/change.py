"""How an incident is changed once, alone or together with others. The changes themselves are in their own files.

A first try may have to look before it writes: an acknowledgement would re-open an incident
that was resolved meanwhile. A repeat always looks: the first try may have worked. PagerDuty
has no way to look and write in one step; what happens in between cannot be told apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from daemon import errors
from daemon.actions import objects
from daemon.actions.error_codes import (
    ALREADY_ACKNOWLEDGED,
    ALREADY_RESOLVED,
    CHANGED_MEANWHILE,
    SENDER_NOT_FOUND,
)
from daemon.actions.operation import ActionRun, Parameters, Succeeded
from daemon.model import IncidentStatus, Outcome
from daemon.pagerduty import lookups, writes
from daemon.triggers import lenient_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from daemon.actions.operation import RunOutcome
    from daemon.model import Json
    from daemon.pagerduty import Client

FEW = 4
OF_ALL = frozenset({1007, 1014, 1015, 2006})  # what is wrong with what all of them set, or with the key
LOOK_AGAIN = frozenset({ALREADY_RESOLVED, ALREADY_ACKNOWLEDGED, 1006, 1011, 1012})  # perhaps resolved meanwhile
REFUSED_FOR_ALL = frozenset({401, 402})  # not 403: it may be about one incident's team
TRACED = ("assignments", "escalation_policy", "pending_actions")  # by which it is seen that a change was made


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

    async def run(self, given: ActionRun, parameters: ChangeParameters) -> Succeeded:
        """Carry out one."""
        before: Json | None = None
        await given.sender(parameters.user)
        if given.repeated or self.looks_first:
            before = await _look(given.client, parameters.incident)
            if ended := self.settled(parameters, before, given.action.before, repeated=given.repeated):
                return ended
        await given.begin({given.action.id: _trace(before)})  # each time: it may have been taken from us meanwhile
        return await self._write(given, parameters)

    def settled(
        self, parameters: ChangeParameters, incident: Json, trace: Json | None, *, repeated: bool
    ) -> Succeeded | None:
        """What the incident says about the action, if that is the end of it."""
        if lenient_json.status(incident) is IncidentStatus.RESOLVED:
            done = Outcome.DONE if repeated else Outcome.ALREADY_DONE
            return Succeeded(done if self.resolves else Outcome.OVERTAKEN, objects.incident(incident))
        if repeated and self.holds(incident, parameters, trace):
            return Succeeded(Outcome.DONE, objects.incident(incident))
        return None

    async def _write(self, given: ActionRun, parameters: ChangeParameters) -> Succeeded:
        try:
            changed = await with_sender(given, parameters.user, lambda sender: self._send(given, parameters, sender))
        except errors.Permanent as error:
            if error.code not in LOOK_AGAIN:
                raise not_found(error, f"incident {parameters.incident}") from None
            incident = await _look(given.client, parameters.incident)
            if ended := self.settled(parameters, incident, given.action.before, repeated=given.repeated):
                return ended
            if error.code != ALREADY_ACKNOWLEDGED or lenient_json.status(incident) is not IncidentStatus.ACKNOWLEDGED:
                raise
            return Succeeded(Outcome.ALREADY_DONE, objects.incident(incident))
        return Succeeded(Outcome.DONE, objects.incident(changed))

    async def _send(self, given: ActionRun, parameters: ChangeParameters, sender: str) -> Json:
        if self.send is not None:
            return await self.send(given.client, parameters, sender)
        return await writes.update_incident(given.client, parameters.incident, self.fields(parameters), sender)

    # --- many at once

    async def run_batch(self, tries: Sequence[ActionRun]) -> dict[str, RunOutcome]:
        """Carry out several, by action id; they are by one user, and set the same. What is left out is to run alone."""
        members = [
            _Member(each, self.parameters(**each.action.parameters), each.action.before, each.repeated)
            for each in tries
        ]
        await tries[0].sender(members[0].parameters.user)
        ended: dict[str, RunOutcome] = {}
        if self.looks_first or any(each.repeated for each in tries):
            members = await self._look_at(members, ended)
        if members:
            await tries[0].begin({each.id: each.trace for each in members})
            ended |= await self._write_all(members)
        return ended

    async def _look_at(self, members: Sequence[_Member], ended: dict[str, RunOutcome]) -> list[_Member]:
        """Those that have still to be written; what the incidents settle goes into ``ended``.

        An incident that is not found takes a closer look, alone.
        """
        client = members[0].given.client
        if len(members) > FEW:
            found = await lookups.incidents(client, {each.parameters.incident for each in members})
        else:
            found = await _look_singly(client, [each.parameters.incident for each in members])
        left = []
        for each in members:
            incident = found.get(each.parameters.incident)
            if incident is None:
                continue
            if settled := self.settled(each.parameters, incident, each.trace, repeated=each.repeated):
                ended[each.id] = settled
            else:
                left.append(each if each.repeated else replace(each, trace=_trace(incident)))
        return left

    async def _write_all(self, members: Sequence[_Member]) -> dict[str, RunOutcome]:
        """One request for all. One that is refused falls apart, until it is clear which of them were wrong."""
        if len(members) == 1:
            try:
                return {members[0].id: await self._write(members[0].given, members[0].parameters)}
            except (errors.ActionError, errors.PagerDutyError) as error:
                return {members[0].id: error}
        given, by = members[0].given, members[0].parameters.user
        changes = {each.parameters.incident: self.fields(each.parameters) for each in members}
        try:
            changed = await with_sender(
                given, by, lambda sender: writes.update_incidents(given.client, changes, sender)
            )
        except errors.Permanent as error:
            if error.code in OF_ALL or error.status in REFUSED_FOR_ALL:
                return {each.id: error for each in members}
            return await self._bisect(members)
        except (errors.ActionError, errors.Temporary) as error:
            return {each.id: error for each in members}
        return {
            each.id: Succeeded(Outcome.DONE, objects.incident(changed[each.parameters.incident]))
            for each in members
            if each.parameters.incident in changed
        }

    async def _bisect(self, members: Sequence[_Member]) -> dict[str, RunOutcome]:
        """After a refusal: some may have been changed before it came, some may be what it was about."""
        ended: dict[str, RunOutcome] = {}
        try:
            left = await self._look_at([replace(each, repeated=True) for each in members], ended)
        except errors.PagerDutyError as error:
            return {each.id: error for each in members}
        parts = [left] if len(left) < len(members) else [left[: len(left) // 2], left[len(left) // 2 :]]
        for part in parts:
            if part:
                ended |= await self._write_all(part)
        return ended


@dataclass(frozen=True, slots=True)
class _Member:
    """One action among several that are sent together."""

    given: ActionRun
    parameters: ChangeParameters
    trace: Json | None
    repeated: bool

    @property
    def id(self) -> str:
        return self.given.action.id


async def with_sender(given: ActionRun, user_id: str, write: Callable[[str], Awaitable[Any]]) -> Any:  # noqa: ANN401 - what ``write`` answers
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
    if error.status != HTTPStatus.NOT_FOUND:
        return error
    message = f"PagerDuty has no {what}, or the key may not see it"
    return errors.ActionError("not_found", message, status=error.status, pagerduty_code=error.code)


def _trace(incident: Json | None) -> Json | None:
    return None if incident is None else {name: incident.get(name) for name in TRACED}


async def _look_singly(client: Client, incidents: Sequence[str]) -> dict[str, Json]:
    """The incidents that PagerDuty has."""
    found = {}
    for incident_id in incidents:
        try:
            found[incident_id] = await lookups.incident(client, incident_id)
        except errors.Permanent:
            continue
    return found


async def _look(client: Client, incident_id: str) -> Json:
    try:
        return await lookups.incident(client, incident_id)
    except errors.Permanent as error:
        raise not_found(error, f"incident {incident_id}") from None
