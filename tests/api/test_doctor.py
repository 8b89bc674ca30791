"""GET /v1/doctor: the same findings as those of the command, made by the daemon with its own clients."""

from __future__ import annotations

from typing import TYPE_CHECKING

from daemon.control.doctor import CHECKS
from tests.harness import sample_data

if TYPE_CHECKING:
    import httpx

    from tests.api.action_api import ActionApi


async def test_the_checks_are_those_of_the_command_and_use_the_daemons_clients(action_api: ActionApi) -> None:
    action_api.incident()
    document = (await action_api.http.get("/v1/doctor")).json()
    assert list(document) == ["checks"]
    assert [list(each) for each in document["checks"]] == [["name", "subject", "status", "found", "remedy"]] * len(
        document["checks"]
    )
    names = {each["name"] for each in document["checks"]}
    kinds = {each.partition(".")[0] for each in names}
    assert kinds == {check.__module__.rpartition(".")[2].removesuffix("s") for check in CHECKS}
    assert "daemon.api" not in names, "a daemon does not call itself"
    assert [call.path for call in action_api.simulator.calls] == ["/users/me", "/log_entries", "/incidents"]
    assert action_api.account.effects == []


async def test_offline_makes_no_call(action_api: ActionApi) -> None:
    document = (await action_api.http.get("/v1/doctor", params={"offline": True})).json()
    assert {each["name"].partition(".")[0] for each in document["checks"]} <= {"configuration", "database", "daemon"}
    assert list(action_api.simulator.calls) == []


async def test_no_finding_shows_a_secret(client: httpx.AsyncClient) -> None:
    answer = await client.get("/v1/doctor")
    assert answer.status_code == 200
    assert [each for each in sample_data.CANARIES if each in answer.text] == []
