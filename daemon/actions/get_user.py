"""The operation GetUser."""

from __future__ import annotations

from daemon import errors
from daemon.actions import objects
from daemon.actions.change import not_found
from daemon.actions.operation import ActionRun, Operation, Parameters, Succeeded, UserId
from daemon.model import Outcome
from daemon.pagerduty import lookups


class GetUser(Parameters):
    """The user to look up."""

    userId: UserId  # noqa: N815 - the connector's name


async def run(action_run: ActionRun, parameters: GetUser) -> Succeeded:
    """Return the user."""
    try:
        user = await lookups.user(action_run.client, parameters.userId)
    except errors.Permanent as error:
        raise not_found(error, f"user {parameters.userId}") from None
    return Succeeded(Outcome.DONE, objects.user(user))


OPERATION = Operation(
    name="GetUser",
    help="Look up a user, with contact methods, notification rules and teams.",
    parameters=GetUser,
    result="User",
    run=run,
)
