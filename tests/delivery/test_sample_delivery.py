"""Testing targets with samples: which samples are sent, and how responses are reported, over HTTP and in a terminal."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from daemon import api, config, triggers
from daemon.cli import targets as cli_targets
from daemon.delivery import sample_delivery
from daemon.formats import samples
from daemon.settings import Trigger
from daemon.storage import schema
from tests.api.client import client_of
from tests.cli.conftest import invoke
from tests.conftest import START
from tests.delivery.loop_setup import rows, target
from tests.harness import sample_data
from tests.harness.receivers import OK, SECRET, Receiver, Reply

if TYPE_CHECKING:
    from pathlib import Path

    from daemon.settings import Settings
    from daemon.storage.database import Database

LONGEST = timedelta(seconds=20)
CONFIGURATION = """
database: {{url: "{database}"}}
api: {{listen: "127.0.0.1:0", token: {token}}}
connections:
  acme: {{api_key: a-key, api_url: "http://127.0.0.1:1"}}
targets:
  ops: {{url: "{url}", secret: {secret}}}
  spare: {{url: "{url}", secret: {secret}}}
triggers:
  new: {{on: incident.triggered, to: [ops]}}
  notes: {{on: incident.annotated, to: [ops]}}
  again: {{on: incident.triggered, to: [ops]}}
actions: {{notify: [ops]}}
alerts: {{to: [ops]}}
"""
KINDS = ["incident.triggered", "incident.annotated", "action.succeeded", "action.failed", *samples.ALERTS]


def settings(folder: Path, url: str, database: str = "") -> Settings:
    path = folder / "config.yaml"
    of = {"database": (database or f"sqlite:///{folder / 'none.db'}").replace("+psycopg", ""), "url": url}
    path.write_text(CONFIGURATION.format(token=sample_data.TOKEN, secret=SECRET, **of))
    return config.load(path, os.environ)


@pytest.mark.parametrize(("name", "expected"), [("ops", KINDS), ("spare", ["incident.triggered"])])
def test_a_target_is_tested_with_each_kind_of_message_it_receives(
    tmp_path: Path, name: str, expected: list[str]
) -> None:
    made = settings(tmp_path, "http://127.0.0.1:1/")
    assert (
        sample_delivery.kinds(made.targets[name], made.triggers.values(), made.actions_notify, made.alerts_to)
        == expected
    )


@pytest.mark.parametrize(
    ("form", "on", "expected"),
    [
        ("standard", ("incident.*",), list(triggers.REGISTRY)),
        ("standard", ("incident.escalated", "incident.snoozed"), ["incident.escalated", "incident.snoozed"]),
        ("pagerduty-v3", ("incident.snoozed", "incident.delegated"), ["incident.delegated"]),
    ],
)
def test_a_target_is_tested_with_every_event_type_of_its_triggers_and_format(
    form: str, on: tuple[str, ...], expected: list[str]
) -> None:
    assert (
        sample_delivery.kinds(target("ops", "", format=form), [Trigger("one", on, "acme", ("ops",))], (), ())
        == expected
    )


async def test_samples_are_signed_marked_as_samples_and_new_each_time() -> None:
    receiver = Receiver()
    async with receiver.serving() as url:
        tried = [await sample_delivery.run(target("ops", url), KINDS, START, LONGEST) for _ in range(2)]
    assert [[(each.type, each.status, each.error) for each in some] for some in tried] == [
        [(kind, 200, None) for kind in KINDS]
    ] * 2
    bodies = [json.loads(request.body) for request in receiver.got]
    assert sorted(body["type"] for body in bodies) == sorted(KINDS * 2)
    ids = [request.id for request in receiver.got]
    assert len(set(ids)) == 2 * len(KINDS)
    assert all(each.startswith("msg_test") for each in ids)
    assert sorted(each.message_id for some in tried for each in some) == sorted(ids)
    assert "Test of pagerelay" in next(each.body.decode() for each in receiver.got if b"triggered" in each.body)


async def test_each_response_is_reported_and_a_missing_one_ends_the_test_in_time() -> None:
    def behave(request: Any) -> Reply:
        kind = json.loads(request.body)["type"]
        return {"action.failed": Reply(500, body=b"out of order"), "target.failing": Reply(how="hang")}.get(kind, OK)

    async with Receiver(behave).serving() as url:
        tried = await sample_delivery.run(target("ops", url), KINDS[2:5], START, timedelta(seconds=1))
    taken, failed, late = tried
    assert (taken.status, taken.error, taken.answer) == (200, None, None)
    assert (failed.status, failed.error, failed.answer) == (500, "answered 500", "out of order")
    assert (late.status, late.error) == (None, "no response within 1 s, the limit for all samples together")


async def test_a_format_without_a_form_for_a_sample_is_named() -> None:
    (tried,) = await sample_delivery.run(
        target("ops", "http://127.0.0.1:1/", format="connector"), ["action.failed"], START, LONGEST
    )
    assert (tried.status, tried.error) == (None, "the format connector does not support this type")


async def test_a_paused_target_is_tested_over_http_and_nothing_is_recorded(tmp_path: Path, database: Database) -> None:
    receiver = Receiver()
    database.write_now(sample_data.insert, schema.targets, {"name": "ops", "paused_at": START})
    async with receiver.serving() as url:
        made = settings(tmp_path, url)
        async with client_of(api.create(database, api.Current(made))) as client:
            answer = await client.post("/v1/targets/ops/test")
            missing = await client.post("/v1/targets/opps/test")
    assert answer.status_code == 200
    assert [(each["type"], each["status"]) for each in answer.json()["items"]] == [(kind, 200) for kind in KINDS]
    assert len(receiver.got) == len(KINDS)
    assert rows(database) == []
    assert (missing.status_code, missing.json()["title"]) == (404, "Not Found")


def test_the_command_prints_one_line_per_response_and_exits_with_1_on_failure(tmp_path: Path) -> None:
    made = settings(tmp_path, f"http://127.0.0.1:1/{SECRET}")
    result = invoke("-c", str(made.source), "targets", "test", "spare")
    assert result.exit_code == 1
    head, line = (" ".join(each.split()) for each in result.stdout.splitlines())
    assert head == "Sample Took Response"
    assert line.startswith("incident.triggered ")
    assert line.endswith("could not connect: Connection refused (os error 111)")
    found = json.loads(invoke("-c", str(made.source), "targets", "test", "spare", "--json").stdout)
    assert [each["type"] for each in found["items"]] == ["incident.triggered"]
    assert SECRET not in result.output
    assert invoke("-c", str(made.source), "targets", "test", "opps").exit_code == 2


@pytest.mark.parametrize(
    ("results", "lines"),
    [
        ([(204, None)] * 3, ["3 samples accepted: 204, in 5 to 1,007 ms (each of them: --json)"]),
        (
            [(503, "answered 503")] * 2,
            ["2 samples not accepted: answered 503: busy, in 5 to 506 ms (each of them: --json)"],
        ),
        (
            [(204, None), (503, "answered 503")],
            ["Sample Took Response", "one 5 ms 204", "one 506 ms answered 503: busy"],
        ),
        ([(204, None)], ["Sample Took Response", "one 5 ms 204"]),
    ],
)
def test_the_command_prints_a_single_line_if_all_samples_have_the_same_response(
    results: list[tuple[int, str | None]], lines: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    trials = [
        sample_delivery.Trial("one", "msg", status, error, "busy" if error else None, 5 + 501 * number)
        for number, (status, error) in enumerate(results)
    ]
    cli_targets._print_trials(trials)
    assert [" ".join(each.split()) for each in capsys.readouterr().out.splitlines()] == lines
