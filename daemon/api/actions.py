"""Asking for actions: one route for each operation, made from the registry. And what became of them."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

import structlog
from fastapi import APIRouter, Header, Path, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema, create_model
from starlette.exceptions import HTTPException

from daemon import actions, errors, formats, text
from daemon.api import problems
from daemon.api.reading import AboutIncidents
from daemon.api.waiting import ENDED
from daemon.model import ActionState  # noqa: TC001 - read while running
from daemon.storage import action_queue
from daemon.text import did_you_mean
from daemon.views import action_list, paging

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    import sqlalchemy as sa

    from daemon.api import Work
    from daemon.settings import Settings
    from daemon.storage.database import Database

log = structlog.get_logger()

LONGEST_WAIT = 60
LONGEST_KEY = 255

ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"model": action_list.ActionItem, "description": "It has ended: ``state`` says how"},
    202: {
        "description": "It is queued, or being carried out",
        "headers": {"Location": {"schema": {"type": "string"}, "description": "Where to look for its end"}},
    },
    400: {"model": problems.Problem, "description": "The body is no JSON that can be read"},
    409: {"model": problems.Problem, "description": "The Idempotency-Key came before, with another request"},
    413: {"model": problems.Problem, "description": "The body is too large"},
}
NOT_FOUND: dict[int | str, dict[str, Any]] = {
    404: {"model": problems.Problem, "description": "There is no such action, or it was pruned"}
}


class Asked(BaseModel):
    """What an action is asked for with. Each operation has its own ``parameters``."""

    model_config = ConfigDict(extra="forbid")

    connection: str | None = Field(None, description="May be left out where there is only one")
    parameters: dict[str, Any]
    notify: list[str] | None = Field(
        None, description="The targets that are told its outcome; without it, those that the configuration names"
    )


class OfActions(AboutIncidents):
    """Which actions."""

    state: ActionState | None = Field(None, description="Only in this state")
    operation: str | None = Field(
        None, description="Only of this operation", json_schema_extra={"enum": [*actions.REGISTRY]}
    )
    connection: str | None = Field(None, description="Only of this connection")


Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="Repeated with the same request it answers the same action, which is carried out once",
        min_length=1,
        max_length=LONGEST_KEY,
        pattern=r"^[\x21-\x7e]+$",
    ),
]
Wait = Annotated[
    float,
    Query(description="How many seconds to wait for its end", ge=0, le=LONGEST_WAIT, allow_inf_nan=False),
]


def router(database: Database, settings: Settings, work: Work) -> APIRouter:
    """The routes."""
    made = APIRouter(tags=["actions"])
    desk = _Desk(database, settings, work)
    for operation in actions.REGISTRY.values():
        made.add_api_route(
            f"/actions/{operation.name}",
            desk.endpoint(operation),
            methods=["POST"],
            status_code=HTTPStatus.ACCEPTED,
            summary=operation.help,
            description=f"{operation.help} The result is the connector's {operation.result}.",
            operation_id=operation.name,
            responses=ANSWERS,
        )

    @made.post("/actions/{operation}", include_in_schema=False)
    async def unknown(operation: str) -> None:
        hint = did_you_mean(operation, actions.REGISTRY) or f" (there are: {', '.join(actions.REGISTRY)})"
        raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no operation {text.quoted(operation)}{hint}")

    @made.get("/actions")
    async def list_actions(wanted: Annotated[OfActions, Query()]) -> paging.Page[action_list.ActionItem]:
        """Actions, oldest first."""
        if wanted.operation is not None and wanted.operation not in actions.REGISTRY:
            hint = did_you_mean(wanted.operation, actions.REGISTRY)
            raise errors.UsageError(f"no operation {text.quoted(wanted.operation)}{hint}")
        return await database.read(action_list.read, **wanted.model_dump())

    @made.get("/actions/{id}", responses=NOT_FOUND)
    async def one_action(
        action_id: Annotated[str, Path(alias="id", description="The action's id")],
    ) -> action_list.ActionItem:
        """One action."""
        found = await database.read(action_list.find, action_id)
        if found is None:
            detail = f"there is no action {text.quoted(action_id)} (it may have been pruned)"
            raise HTTPException(HTTPStatus.NOT_FOUND, detail)
        return found

    return made


class _Desk:
    """Takes requests in: checks them, queues them, and waits with those who want to."""

    def __init__(self, database: Database, settings: Settings, work: Work) -> None:
        self._database = database
        self._settings = settings
        self._work = work

    def endpoint(self, operation: actions.Operation) -> Callable[..., Awaitable[action_list.ActionItem]]:
        """What handles the requests for an operation."""

        async def ask(
            asked: Asked, request: Request, response: Response, idempotency_key: Key = None, wait: Wait = 0
        ) -> action_list.ActionItem:
            wanted = self._request(operation, asked, idempotency_key)
            item, new = await self._database.write(self._accept, wanted)
            if new:
                log.info("action.accepted", action=item.id, operation=item.operation, connection=item.connection)
            self._work.wake(item.connection)

            async def look() -> action_list.ActionItem:
                return await self._database.read(action_list.find, item.id) or item

            item = await self._work.waiting.until_ended(item, wait, look, lambda: _gone(request))
            response.headers["Location"] = f"/v1/actions/{item.id}"
            response.status_code = HTTPStatus.OK if item.state in ENDED else HTTPStatus.ACCEPTED
            return item

        ask.__annotations__["asked"] = _body(operation)  # FastAPI's way to learn it: there is one for each operation
        return ask

    def _request(self, operation: actions.Operation, asked: Asked, key: str | None) -> action_queue.NewAction:
        """What is to be queued. Raises RequestValidationError with everything that is wrong."""
        mistakes: list[tuple[tuple[str, ...], str]] = []
        known, targets = self._settings.connections, self._settings.targets
        name = next(iter(known), "") if asked.connection is None else asked.connection
        if asked.connection is None and len(known) != 1:
            mistakes.append((("connection",), f"is missing (there are several: {', '.join(known)})"))
        elif name not in known:
            mistakes.append((("connection",), f"is no connection{did_you_mean(name, known)}"))
        for place, target in enumerate(asked.notify or ()):
            if target not in targets:
                mistakes.append((("notify", str(place)), f"is no target{did_you_mean(target, targets)}"))
            elif not formats.tells_actions(targets[target]):
                mistakes.append(
                    (("notify", str(place)), f"has format {targets[target].format}, which tells no actions")
                )
        try:
            checked = actions.check(operation, asked.parameters)
        except errors.ParameterError as error:
            mistakes += [(("parameters", *filter(None, [name])), what) for name, what in error.problems]
            raise _refusal(mistakes) from None
        if mistakes:
            raise _refusal(mistakes)
        return action_queue.NewAction(
            operation.name,
            name,
            checked.parameters,
            checked.subject,
            checked.together,
            checked.secret,
            self._settings.actions_notify if asked.notify is None else tuple(dict.fromkeys(asked.notify)),
            key,
        )

    def _accept(self, tx: sa.Connection, wanted: action_queue.NewAction) -> tuple[action_list.ActionItem, bool]:
        """The action, and whether it is a new one."""
        now = self._database.now(tx)
        accepted = action_queue.accept(tx, wanted, now)
        item = action_list.find(tx, accepted.id)
        assert item is not None  # noqa: S101 - for the type checker: it is in the same transaction
        return item, item.created_at == now


def _refusal(mistakes: Collection[tuple[tuple[str, ...], str]]) -> RequestValidationError:
    return RequestValidationError(
        [{"type": "value_error", "loc": ("body", *place), "msg": what} for place, what in mistakes]
    )


def _body(operation: actions.Operation) -> type[Asked]:
    """The body of an operation's requests.

    Its parameters are only described here: what is wrong with them, ``actions.check`` tells, in its own words.
    """
    described = operation.parameters.model_json_schema()
    parameters = Annotated[dict[str, Any], WithJsonSchema(described)]
    return create_model(f"{operation.name}Request", __base__=Asked, parameters=(parameters, ...))


async def _gone(request: Request) -> None:
    """Returns when whoever asked is no longer there."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
