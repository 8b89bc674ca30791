"""Changing an incident exactly once, alone or in a batch. Each change is described in its own file.

A first run may have to read before it writes: an acknowledgement would reopen an incident
that was resolved meanwhile. A repeated run always reads: the first one may have worked. PagerDuty
cannot read and write in one step, so changes by others in between cannot be distinguished.
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
COMMON_CODES = frozenset({1007, 1014, 1015, 2006})  # errors about the change that all have in common, or about the key
READ_AGAIN = frozenset({ALREADY_RESOLVED, ALREADY_ACKNOWLEDGED, 1006, 1011, 1012})  # resolved meanwhile?
COMMON_STATUSES = frozenset({401, 402})  # not 403: it may be about one incident's team
EVIDENCE = "pagerelay_evidence"  # beside the incident's own fields: what ``Change.evidence`` returned
COMPARED = ("assignments", "escalation_policy", "pending_actions", EVIDENCE)  # what shows whether a change was made


class ChangeParameters(Parameters):
    """The parameters that every change of an incident has."""

    @property
    def incident(self) -> str:
        """Return the id of the incident."""
        incident_id: str = getattr(self, "incidentId")  # noqa: B009 - the connector's spelling
        return incident_id

    @property
    def user(self) -> str:
        """Return the id of the user in whose name the change is made."""
        user_id: str = getattr(self, "userId")  # noqa: B009 - as above
        return user_id


@dataclass(frozen=True, slots=True)
class Change:
    """One kind of change.

    ``fields`` are the values to set. ``holds`` returns whether an incident shows the change,
    given its state before the first run (``before``, None if it was not read).
    ``reads_first``: whether a first run has to read as well. ``send`` makes the request; None:
    a plain update of the incident. ``resolves``: a resolved incident counts as success. ``evidence`` reads what the
    incident itself does not show of an earlier change; ``holds`` finds it under ``EVIDENCE``.
    """

    parameters: type[ChangeParameters]
    fields: Callable[[Any], Json]
    holds: Callable[[Json, Any, Json | None], bool]
    reads_first: bool = False
    resolves: bool = False
    send: Callable[[Client, Any, str], Awaitable[Json]] | None = None
    evidence: Callable[[Client, Json, Any], Awaitable[str | None]] | None = None

    async def run(self, action_run: ActionRun, parameters: ChangeParameters) -> Succeeded:
        """Run one action."""
        before: Json | None = None
        await action_run.sender(parameters.user)
        if action_run.repeated or self.reads_first:
            before = await self._with_evidence(
                action_run.client, await _read(action_run.client, parameters.incident), parameters
            )
            if success := self.settled(parameters, before, action_run.action.before, repeated=action_run.repeated):
                return success
        # Always, even in a repeated run: the claim may have been lost meanwhile.
        await action_run.begin({action_run.action.id: _compared_fields(before)})
        return await self._write(action_run, parameters)

    def settled(
        self, parameters: ChangeParameters, incident: Json, before: Json | None, *, repeated: bool
    ) -> Succeeded | None:
        """Return the success that the incident's state proves, or None if the change must still be made."""
        if lenient_json.status(incident) is IncidentStatus.RESOLVED:
            outcome = Outcome.DONE if repeated else Outcome.ALREADY_DONE
            return Succeeded(outcome if self.resolves else Outcome.OVERTAKEN, objects.incident(incident))
        if repeated and self.holds(incident, parameters, before):
            return Succeeded(Outcome.DONE, objects.incident(incident))
        return None

    async def _with_evidence(self, client: Client, incident: Json, parameters: ChangeParameters) -> Json:
        if self.evidence is None:
            return incident
        return incident | {EVIDENCE: await self.evidence(client, incident, parameters)}

    async def _write(self, action_run: ActionRun, parameters: ChangeParameters) -> Succeeded:
        try:
            changed = await with_sender(
                action_run, parameters.user, lambda sender: self._send(action_run, parameters, sender)
            )
        except errors.Permanent as error:
            if error.code not in READ_AGAIN:
                raise not_found(error, f"incident {parameters.incident}") from None
            incident = await _read(action_run.client, parameters.incident)
            if success := self.settled(parameters, incident, action_run.action.before, repeated=action_run.repeated):
                return success
            if error.code != ALREADY_ACKNOWLEDGED or lenient_json.status(incident) is not IncidentStatus.ACKNOWLEDGED:
                raise
            return Succeeded(Outcome.ALREADY_DONE, objects.incident(incident))
        return Succeeded(Outcome.DONE, objects.incident(changed))

    async def _send(self, action_run: ActionRun, parameters: ChangeParameters, sender: str) -> Json:
        if self.send is not None:
            return await self.send(action_run.client, parameters, sender)
        return await writes.update_incident(action_run.client, parameters.incident, self.fields(parameters), sender)

    # --- many at once

    async def run_batch(self, runs: Sequence[ActionRun]) -> dict[str, RunOutcome]:
        """Run actions of one user with the same change; return outcomes by action id. Missing ones must run alone."""
        members = [
            _Member(run, self.parameters(**run.action.parameters), run.action.before, run.repeated) for run in runs
        ]
        await runs[0].sender(members[0].parameters.user)
        outcomes: dict[str, RunOutcome] = {}
        if self.reads_first or any(run.repeated for run in runs):
            members = await self._settle(members, outcomes)
        if members:
            await runs[0].begin({member.id: member.before for member in members})
            outcomes |= await self._write_all(members)
        return outcomes

    async def _settle(self, members: Sequence[_Member], outcomes: dict[str, RunOutcome]) -> list[_Member]:
        """Return the members that must still be written; add the others to ``outcomes``.

        An incident that is not found is left out: its action runs alone.
        """
        client = members[0].action_run.client
        if len(members) > FEW:
            incidents = await lookups.incidents(client, {member.parameters.incident for member in members})
        else:
            incidents = await _read_singly(client, [member.parameters.incident for member in members])
        left = []
        for member in members:
            incident = incidents.get(member.parameters.incident)
            if incident is None:
                continue
            incident = await self._with_evidence(client, incident, member.parameters)
            if success := self.settled(member.parameters, incident, member.before, repeated=member.repeated):
                outcomes[member.id] = success
            else:
                left.append(member if member.repeated else replace(member, before=_compared_fields(incident)))
        return left

    async def _write_all(self, members: Sequence[_Member]) -> dict[str, RunOutcome]:
        """Make one request for all; after a refusal, split the batch until each error has its action."""
        if len(members) == 1:
            try:
                return {members[0].id: await self._write(members[0].action_run, members[0].parameters)}
            except (errors.ActionError, errors.PagerDutyError) as error:
                return {members[0].id: error}
        action_run, by = members[0].action_run, members[0].parameters.user
        changes = {member.parameters.incident: self.fields(member.parameters) for member in members}
        try:
            changed = await with_sender(
                action_run, by, lambda sender: writes.update_incidents(action_run.client, changes, sender)
            )
        except errors.Permanent as error:
            if error.code in COMMON_CODES or error.status in COMMON_STATUSES:
                return {member.id: error for member in members}
            return await self._bisect(members)
        except (errors.ActionError, errors.Temporary) as error:
            return {member.id: error for member in members}
        return {
            member.id: Succeeded(Outcome.DONE, objects.incident(changed[member.parameters.incident]))
            for member in members
            if member.parameters.incident in changed
        }

    async def _bisect(self, members: Sequence[_Member]) -> dict[str, RunOutcome]:
        """Split a batch after a refusal: some may have been changed before it, and some may have caused it."""
        outcomes: dict[str, RunOutcome] = {}
        try:
            left = await self._settle([replace(member, repeated=True) for member in members], outcomes)
        except errors.PagerDutyError as error:
            return {member.id: error for member in members}
        parts = [left] if len(left) < len(members) else [left[: len(left) // 2], left[len(left) // 2 :]]
        for part in parts:
            if part:
                outcomes |= await self._write_all(part)
        return outcomes


@dataclass(frozen=True, slots=True)
class _Member:
    """One action of a batch."""

    action_run: ActionRun
    parameters: ChangeParameters
    before: Json | None
    repeated: bool

    @property
    def id(self) -> str:
        return self.action_run.action.id


async def with_sender(action_run: ActionRun, user_id: str, write: Callable[[str], Awaitable[Any]]) -> Any:  # noqa: ANN401 - what ``write`` answers
    """Make a change in a user's name; if PagerDuty does not know the e-mail address, look it up again."""
    try:
        return await write(await action_run.sender(user_id))
    except errors.Permanent as error:
        if error.code == CHANGED_MEANWHILE:
            raise errors.Temporary(str(error), status=error.status, code=error.code) from None
        if error.code != SENDER_NOT_FOUND:
            raise
    return await write(await action_run.renewed_sender(user_id))


def not_found(error: errors.Permanent, what: str) -> errors.ActionError | errors.Permanent:
    """Return a "not found" error that names the missing object; any other error unchanged."""
    if error.status != HTTPStatus.NOT_FOUND:
        return error
    message = f"PagerDuty has no {what}, or the API key cannot see it"
    return errors.ActionError("not_found", message, status=error.status, pagerduty_code=error.code)


def _compared_fields(incident: Json | None) -> Json | None:
    return None if incident is None else {name: incident.get(name) for name in COMPARED}


async def _read_singly(client: Client, incident_ids: Sequence[str]) -> dict[str, Json]:
    """Return the incidents that exist, by id."""
    incidents = {}
    for incident_id in incident_ids:
        try:
            incidents[incident_id] = await lookups.incident(client, incident_id)
        except errors.Permanent:
            continue
    return incidents


async def _read(client: Client, incident_id: str) -> Json:
    try:
        return await lookups.incident(client, incident_id)
    except errors.Permanent as error:
        raise not_found(error, f"incident {incident_id}") from None
