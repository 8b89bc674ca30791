"""docs/migrating.md: its tables are complete, and its configurations, template and commands work with a daemon."""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import shlex
import shutil
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import httpx

from daemon import actions, config, formats, triggers
from daemon.formats import pagerduty_v3
from daemon.simulator import Account
from tests.cli import running_daemon
from tests.cli.conftest import invoke
from tests.harness.eventually import eventually_in_thread
from tests.harness.receivers import SECRET

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "migrating.md").read_text(encoding="utf-8")
RECEIVERS = (ROOT / "docs" / "receivers.md").read_text(encoding="utf-8")
V3, CONNECTOR, PDALTAGENT = re.split(r"^## From .*\n", TEXT, flags=re.MULTILINE)[1:]
TEMPLATE_FILE = "${file:/etc/pagerelay/v2.j2}"
TOKEN = "a-token"
PATIENCE = 30.0


def blocks(kind: str, text: str = TEXT) -> list[str]:
    """Return the blocks of code of one kind, without their indentation."""
    matches = re.findall(rf"^( *)```{kind}\n(.*?)^ *```", text, flags=re.MULTILINE | re.DOTALL)
    return [re.sub(rf"^{indentation}", "", block, flags=re.MULTILINE) for indentation, block in matches]


def rows(text: str, head: str) -> list[list[str]]:
    """Return the cells of the table with this head."""
    lines = text.partition(f"\n{head}\n")[2].splitlines()
    assert lines, head
    end = next((number for number, line in enumerate(lines) if not line.startswith("|")), len(lines))
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines[1:end]]


def names(cell: str) -> list[str]:
    """Return the texts in backticks."""
    return re.findall(r"`([^`]+)`", cell)


# --- the tables


def test_v3_types_are_sent_as_the_table_shows() -> None:
    table = rows(V3, "| event type of V3 | in `pagerduty-v3` | in the other formats |")
    told = {name: (v3, other) for cell, v3, other in table for name in names(cell)}
    ours = {*triggers.REGISTRY, *triggers.SUBTYPES}
    of_v3 = {*map(str, pagerduty_v3.TYPES), *triggers.SUBTYPES} - {"incident.assigned"}
    assert {name for name, (v3, _) in told.items() if v3 == "yes"} == of_v3
    assert {name for name, (_, other) in told.items() if other == "yes"} == told.keys() & ours
    assert {each for _, other in told.values() for each in names(other)} <= ours


def test_the_connector_triggers_match_the_registry() -> None:
    table = rows(CONNECTOR, "| trigger | `on` | its parameter |")
    assert {names(name)[0]: names(on)[0] for name, on, _ in table} == {
        operation: kind.name for operation, kind in triggers.BY_OPERATION.items()
    }
    filters = {names(on)[0]: tuple(names(parameter)[1:]) for _, on, parameter in table}
    assert filters == {kind.name: kind.filters for kind in triggers.BY_OPERATION.values()}


def commands() -> dict[str, list[str]]:
    """Return the command line of each action, and the parameters that it has over HTTP."""
    table = rows(CONNECTOR, "| action | command line | `parameters` over HTTP |")
    return {names(line)[0]: re.findall(r'"(\w+)"', body) for _, line, body in table}


def test_the_connector_actions_match_the_registry_with_their_parameters() -> None:
    on_the_line = {line.split()[2]: re.findall(r" (\w+)=", line) for line in commands()}
    over_http = {line.split()[2]: parameters for line, parameters in commands().items()}
    expected = {each.name: list(each.parameters.model_fields) for each in actions.REGISTRY.values()}
    assert on_the_line == over_http == expected


# --- runnable examples


@dataclass
class Inbox:
    """The requests that receivers at one address received, by path."""

    url: str = ""
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    def at(self, path: str) -> list[Any]:
        """Return the bodies that were sent to a path."""
        return [json.loads(body) for where, _, body in list(self.got) if where == path]


@contextlib.contextmanager
def listening() -> Iterator[Inbox]:
    """Run receivers that accept everything."""
    inbox = Inbox()

    class Taking(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            inbox.got.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Taking) as server:
        inbox.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield inbox
        server.shutdown()
        thread.join(PATIENCE)


def environment(pagerduty: str, inbox: str, api: str) -> dict[str, str]:
    """Variables that put this test's addresses over those of the document."""
    targets = ("CRM", "CRM_REAL", "LEGACY")
    return {
        **{f"PAGERELAY_TARGETS__{name}__URL": f"{inbox}/{name.lower()}" for name in targets},
        **{f"FLOW_{name}_URL": f"{inbox}/{name.lower()}" for name in ("CREATED", "ASSIGNED", "NOTES")},
        **{f"{name}_SECRET": SECRET for name in ("CRM", "FLOW", "LEGACY")},
        "PAGERDUTY_API_KEY": "simulator",
        "PAGERELAY_TOKEN": TOKEN,
        "PAGERELAY_API__LISTEN": api,
        "PAGERELAY_CONNECTIONS__ACME__API_URL": pagerduty,
        "PAGERELAY_CONNECTIONS__ACME__EVENTS_URL": pagerduty,
        "PAGERELAY_CONNECTIONS__ACME__LIMITS__CALLS": "100000",
        "PAGERELAY_CONNECTIONS__ACME__LIMITS__POLL_INTERVAL": "500ms",
    }


def configuration(folder: Path, account: Account) -> Path:
    """Return everything that the document configures in one file, with the account's services and user."""
    merged: dict[str, str] = {}
    for block in blocks("yaml"):
        for section, entries in re.findall(r"^(\w+:)(.*(?:\n .*)*)", block, flags=re.MULTILINE):
            merged[section] = merged.get(section, "") + (entries if entries not in merged.get(section, "") else "")
    (template,) = blocks("jinja")
    (folder / "v2.j2").write_text(template, encoding="utf-8")
    text = "\n".join(f"{section}{entries}" for section, entries in merged.items())
    text = text.replace(TEMPLATE_FILE, f"${{file:{folder}/v2.j2}}")
    path = folder / "config.yaml"
    services = ", ".join(each.id for each in account.directory.services)
    path.write_text(text.replace("PSVC1", services), encoding="utf-8")
    return path


def test_each_example_is_a_configuration_that_passes_the_check(tmp_path: Path) -> None:
    (tmp_path / "v2.j2").write_text(blocks("jinja")[0], encoding="utf-8")
    values = {
        name: "https://example.com/" if name.endswith("URL") else SECRET for name in re.findall(r"\${(\w+)}", TEXT)
    }
    for part in (V3, CONNECTOR, PDALTAGENT):
        whole = blocks("yaml", part)[0].replace(TEMPLATE_FILE, f"${{file:{tmp_path}/v2.j2}}")
        (tmp_path / "config.yaml").write_text(whole, encoding="utf-8")
        assert config.load(tmp_path / "config.yaml", values).triggers


def test_the_commands_and_requests_shown_work_with_a_daemon(tmp_path: Path) -> None:
    """Run the examples; without curl, skip those that need it."""
    account = Account(api_key="simulator", seed=7)
    known = account.directory
    alice, bob = known.users[0], known.users[1]
    with running_daemon.simulating(account) as pagerduty, listening() as inbox:
        path = configuration(tmp_path, account)
        variables = environment(pagerduty, inbox.url, "127.0.0.1:0")
        with running_daemon.running(path, tmp_path, **variables) as address:
            variables["PAGERELAY_API__LISTEN"] = address.removeprefix("http://")

            def pagerelay(line: str) -> str:
                words = shlex.split(Template(line).substitute(given), comments=True)[1:]
                output = invoke("--config", str(path), *words, **variables)
                assert output.exit_code == 0, (line, output.output)
                return output.output

            def happen(**what: Any) -> str:
                answer = httpx.post(f"{pagerduty}/simulator/happen", json=what).raise_for_status()
                return str(answer.json()["incident_id"])

            given = {"user": alice.id, "colleague": bob.id, "policy": known.policies[1].id, "PAGERELAY_TOKEN": TOKEN}
            eventually_in_thread(lambda: account_is_read(address))
            incident = happen(do="trigger", title="Disk full on db1")
            given |= {"incident": incident, "key": account.incident(incident).key or "", "PAGERELAY": address}
            (tmp_path / "service.key").write_text(known.services[0].key, encoding="utf-8")
            with contextlib.chdir(tmp_path):
                output = "\n".join(pagerelay(f"{line} --wait 30") for line in commands())
                for block in blocks("sh"):
                    if block.startswith("curl"):
                        ran(block, os.environ | given)
                    else:
                        output += "\n".join(pagerelay(line) for line in block.splitlines())
                eventually_in_thread(lambda: len(inbox.at("/notes")) >= 2)
                eventually_in_thread(lambda: "incident.resolve" in v2_events(inbox, incident))
                output += pagerelay(f"pagerelay events --incident {incident}")
    assert output.count(": done: ") == len(commands())
    assert " snoozed " in output  # which no trigger subscribes to
    see_v3(inbox, incident)
    see_connector(inbox, incident)
    see_v2(inbox, incident)


def account_is_read(address: str) -> bool:
    """Return whether the first poll is over."""
    return httpx.get(f"{address}/readyz").status_code == 200


def ran(block: str, variables: dict[str, str]) -> None:
    """Run a block of shell; it must end well."""
    if shutil.which("curl") is not None:
        done = subprocess.run(["sh", "-eu", "-c", block], env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (block, done.stdout, done.stderr)
        assert json.loads(done.stdout)["state"] == "succeeded"


def see_v3(inbox: Inbox, incident: str) -> None:
    """Check PagerDuty's envelopes, with its signature, in order."""
    verifying: dict[str, Any] = {}
    exec(blocks("python", RECEIVERS)[1], verifying)
    mine = [each for each in inbox.got if each[0] == "/crm" and incident.encode() in each[2]]
    assert all(verifying["is_genuine"](SECRET, headers, body) for _, headers, body in mine)
    assert all("x-webhook-id" in headers and "webhook-id" in headers for _, headers, _ in mine)
    kinds = [json.loads(body)["event"]["event_type"] for _, _, body in mine]
    assert kinds[0] == "incident.triggered"
    assert {"incident.annotated", "incident.acknowledged", "incident.reassigned", "incident.resolved"} <= {*kinds}
    samples = [each for each in inbox.at("/crm") if "PTESTINCIDENT" in json.dumps(each)]
    assert len(samples) == len(pagerduty_v3.TYPES) - 1 + len(triggers.SUBTYPES)


def see_connector(inbox: Inbox, incident: str) -> None:
    """Check what the connector's triggers return."""
    ours = [each for each in inbox.at("/created") if each["incidents"][0]["id"] == incident]
    assert [len(each["incidents"]) for each in ours] == [1]
    assert {"notes": [{"content": "On it."}]} in inbox.at("/notes")
    assert all(each["incidents"] for each in inbox.at("/assigned"))
    assert formats.REGISTRY["connector"].options == {"batch"}


def v2_events(inbox: Inbox, incident: str) -> list[str]:
    """Return the V2 events of an incident."""
    messages = [each["messages"][0] for each in inbox.at("/legacy")]
    return [each["event"] for each in messages if each["incident"]["id"] == incident]


def see_v2(inbox: Inbox, incident: str) -> None:
    """Check PagerDuty's V2 body."""
    assert v2_events(inbox, incident)[0] == "incident.trigger"
    assert {"incident.annotate", "incident.assign", "incident.acknowledge"} <= {*v2_events(inbox, incident)}
    entries = [entry for body in inbox.at("/legacy") for each in body["messages"] for entry in each["log_entries"]]
    assert all({"id", "type", "created_at", "agent"} <= entry.keys() for entry in entries)
    assert "On it." in [entry["channel"]["content"] for entry in entries if "channel" in entry]
