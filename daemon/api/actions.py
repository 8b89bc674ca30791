"""/v1/actions: one route per operation, made from the registry, and the queue."""

from __future__ import annotations

import functools
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, create_model

from daemon import actions, errors, text
from daemon.api import problem_documents
from daemon.api.queries import IncidentQuery
from daemon.control import actions as control
from daemon.control.waiting import FINISHED
from daemon.model import ActionState  # noqa: TC001 - FastAPI reads the annotations
from daemon.text import did_you_mean
from daemon.views import action_list, paging

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from daemon.control import Current
    from daemon.storage.database import Database

LONGEST_WAIT = 60
LONGEST_KEY = 255

ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": action_list.ActionItem, "description": "Finished: see ``state``"},
    202: {
        "description": "Queued or running",
        "headers": {"Location": {"schema": {"type": "string"}, "description": "The URL of the action"}},
    },
    400: {"model": problem_documents.Problem, "description": "The body is not valid JSON"},
    409: {"model": problem_documents.Problem, "description": "The Idempotency-Key was used with a different request"},
    413: {"model": problem_documents.Problem, "description": "The body is too large"},
}
NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"model": problem_documents.Problem, "description": "Unknown action, or it was pruned"}
}

NOT_QUEUED: dict[int | str, dict[str, Any]] = {
    409: {"model": problem_documents.Problem, "description": "The action is not queued any more"}
}


class ActionRequest(BaseModel):
    """A request for an action. Each operation has its own ``parameters``."""

    model_config = ConfigDict(extra="forbid")

    connection: str | None = Field(None, description="Optional if there is only one")
    parameters: dict[str, Any]
    notify: list[str] | None = Field(
        None, description="The targets that receive its result; the default is actions.notify of the configuration"
    )


class ActionQuery(IncidentQuery):
    """Filters of actions."""

    state: ActionState | None = Field(None, description="Only actions in this state")
    operation: str | None = Field(
        None, description="Only actions of this operation", json_schema_extra={"enum": [*actions.REGISTRY]}
    )
    connection: str | None = Field(None, description="Only actions of this connection")


Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Repeating the request with the same key returns the same action, which takes effect once",
        min_length=1,
        max_length=LONGEST_KEY,
        pattern=r"^[\x21-\x7e]+$",
    ),
]
Wait = Annotated[
    float,
    Query(description="How many seconds to wait for the result", ge=0, le=LONGEST_WAIT, allow_inf_nan=False),
]


def router(database: Database, current: Current) -> APIRouter:
    """Return the routes."""
    routes = APIRouter(tags=["actions"])
    endpoint = ActionEndpoint(database, current)
    for operation in actions.REGISTRY.values():
        routes.add_api_route(
            f"/actions/{operation.name}",
            endpoint.handler(operation),
            methods=["POST"],
            status_code=HTTPStatus.ACCEPTED,
            summary=operation.help,
            description=f"{operation.help} The result is the connector's {operation.result}.",
            operation_id=operation.name,
            responses=ANSWERS,
        )

    @routes.post("/actions/{id}/cancel", responses=NOT_FOUND | NOT_QUEUED)
    async def cancel(
        action_id: Annotated[str, Path(alias="id", description="The action's id")],
    ) -> action_list.ActionItem:
        """Cancel a queued action: it fails with the code ``cancelled``."""
        return await control.cancel(database, current.services, action_id)

    @routes.post("/actions/{operation}", include_in_schema=False)
    async def unknown(operation: str) -> None:
        control.operation_named(operation)

    @routes.get("/actions")
    async def list_actions(query: Annotated[ActionQuery, Query()]) -> paging.Page[action_list.ActionItem]:
        """List actions, oldest first."""
        if query.operation is not None and query.operation not in actions.REGISTRY:
            hint = did_you_mean(query.operation, actions.REGISTRY)
            raise errors.UsageError(f"unknown operation {text.quoted(query.operation)}{hint}")
        return await database.read(action_list.read, **query.model_dump())

    @routes.get("/actions/{id}", responses=NOT_FOUND)
    async def one_action(
        action_id: Annotated[str, Path(alias="id", description="The action's id")],
    ) -> action_list.ActionItem:
        """Show an action."""
        item = await database.read(action_list.find, action_id)
        return problem_documents.existing(item, f"action {text.quoted(action_id)}")

    return routes


class ActionEndpoint:
    """Accepts requests: checks them, queues them, and waits for the result if asked to."""

    def __init__(self, database: Database, current: Current) -> None:
        self._database = database
        self._current = current

    def handler(self, operation: actions.Operation) -> Callable[..., Awaitable[action_list.ActionItem]]:
        """Return the function that handles requests for an operation."""

        async def handle(
            body: ActionRequest, request: Request, response: Response, idempotency_key: Key = None, wait: Wait = 0
        ) -> action_list.ActionItem:
            order = control.ActionOrder(operation, body.parameters, body.connection, body.notify, idempotency_key)
            settings, services = self._current.settings, self._current.services
            item = await control.queue(self._database, settings, services, order)

            async def look() -> action_list.ActionItem:
                return await self._database.read(action_list.find, item.id) or item

            item = await services.waiting.until_finished(item, wait, look, lambda: _disconnected(request))
            response.headers["Location"] = f"/v1/actions/{item.id}"
            response.status_code = HTTPStatus.OK if item.state in FINISHED else HTTPStatus.ACCEPTED
            return item

        handle.__annotations__["body"] = _body(operation)  # FastAPI reads it from here; each operation has its own
        return handle


@functools.cache
def _body(operation: actions.Operation) -> type[ActionRequest]:
    """Return the model of an operation's request body.

    It only describes the parameters: ``actions.check`` validates them, with messages of its own.
    """
    schema = operation.parameters.model_json_schema()
    parameters = Annotated[dict[str, Any], WithJsonSchema(schema)]
    return create_model(f"{operation.name}Request", __base__=ActionRequest, parameters=(parameters, ...))


async def _disconnected(request: Request) -> None:
    """Return when the client has disconnected."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
