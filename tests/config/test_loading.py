"""What a configuration becomes: where it is found, its defaults, what is accepted, and files that cannot be used."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from daemon import config, errors, model, triggers
from daemon.settings import HOSTS, ApiSettings, Limits, RateLimit, Retry, Trigger, Where
from tests.cli.conftest import invoke
from tests.config.conftest import MINIMAL, mistakes

if TYPE_CHECKING:
    from daemon.triggers.event_type import EventType
    from tests.config.conftest import Load

NEW = "triggers:\n  new: {on: incident.triggered, to: [ops]}\n"


def test_the_defaults_are_the_documented_ones(load: Load) -> None:
    settings = load(MINIMAL + NEW)
    retention = settings.database.retention
    assert settings.database.url.get_secret_value() == "sqlite:///pagerelay.db"
    assert [retention.events, retention.deliveries, retention.dead, retention.actions] == [
        timedelta(days=each) for each in (30, 7, 30, 30)
    ]
    assert (settings.log.format, settings.log.level) == ("auto", "info")
    assert settings.api == ApiSettings("127.0.0.1", 8421, None, hosts=())
    connection = settings.connections["acme"]
    assert (connection.api_url, connection.events_url) == HOSTS["us"]
    assert connection.limits == Limits(30, timedelta(seconds=60), timedelta(seconds=30))
    assert connection.overlap == timedelta(minutes=5)
    assert (connection.sweep_every, connection.reconcile_every) == (timedelta(minutes=15), timedelta(minutes=10))
    target = settings.targets["ops"]
    assert (target.format, target.headers, target.rate_limit) == ("standard", (), None)
    assert (target.timeout, target.order, target.concurrency) == (timedelta(seconds=15), model.Order.PER_INCIDENT, 8)
    assert target.retry == Retry(timedelta(seconds=5), 3, timedelta(hours=8), timedelta(hours=76))
    assert settings.triggers["new"] == Trigger(
        name="new", on=("incident.triggered",), connection="acme", to=("ops",), every=timedelta(seconds=30)
    )
    assert settings.actions_notify == ()


def test_europe_has_its_own_hosts(load: Load) -> None:
    connection = load("connections: {acme: {api_key: k, region: eu}}").connections["acme"]
    assert connection.api_url == "https://api.eu.pagerduty.com"
    assert connection.events_url == "https://events.eu.pagerduty.com"


def test_every_configured_value_is_loaded(load: Load) -> None:
    settings = load(
        """
        api: {listen: null}
        actions: {notify: [chat, ops]}
        connections:
          acme: {api_key: k, api_url: "https://proxy.example.com/", overlap: 10m}
        targets:
          ops:
            url: http://10.0.0.1:8080/in?a=b
            secret: [whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz, whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4]
            headers: {X-Team: ops, X-Number: 7}
            order: none
            rate_limit: {calls: 5, period: 1s}
          chat: {url: "https://chat.example.com", secret: whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIz}
        triggers:
          new:
            on: incident.triggered
            to: [ops, chat]
            every: 1h
            where: {services: [PSVC1, PSVC2], urgencies: [high]}
            start: 2026-11-01T02:00:00+02:00
        """
    )
    assert settings.api is None
    assert settings.actions_notify == ("chat", "ops")
    assert settings.connections["acme"].api_url == "https://proxy.example.com"
    target = settings.targets["ops"]
    assert target.url.get_secret_value() == "http://10.0.0.1:8080/in?a=b"
    assert [each.get_secret_value()[:10] for each in target.secrets] == ["whsec_MDEy", "whsec_YWJj"]
    assert {name: value.get_secret_value() for name, value in target.headers} == {"X-Team": "ops", "X-Number": "7"}
    assert (target.order, target.rate_limit) == (model.Order.NONE, RateLimit(5, timedelta(seconds=1)))
    trigger = settings.triggers["new"]
    assert trigger.where == Where(services=frozenset({"PSVC1", "PSVC2"}), urgencies=frozenset({"high"}))
    assert (trigger.every, trigger.start) == (timedelta(hours=1), datetime(2026, 11, 1, tzinfo=UTC))


@pytest.mark.parametrize("kind", triggers.BY_OPERATION.values(), ids=triggers.BY_OPERATION)
def test_a_trigger_may_be_named_by_the_connectors_operation_id(load: Load, kind: EventType) -> None:
    settings = load(f"{MINIMAL}triggers: {{one: {{on: {kind.operation}, to: [ops]}}}}")
    assert settings.triggers["one"].on == (kind.name,)


@pytest.mark.parametrize(
    ("written", "on"),
    [
        ("incident.resolved", ("incident.resolved",)),
        ("incident.*", ("incident.*",)),
        ("[OnIncidentAssigned, incident.snoozed]", ("incident.assigned", "incident.snoozed")),
        ("[incident.escalated, incident.delegated]", ("incident.escalated", "incident.delegated")),
    ],
)
def test_a_trigger_may_be_for_one_event_type_for_several_or_for_all(load: Load, written: str, on: tuple[str]) -> None:
    assert load(f"{MINIMAL}triggers: {{one: {{on: {written}, to: [ops]}}}}").triggers["one"].on == on


def test_a_filter_may_be_used_when_every_event_type_of_the_list_supports_it(load: Load) -> None:
    settings = load(
        f"{MINIMAL}triggers: {{one: {{on: [incident.escalated, incident.reassigned], user: PA, to: [ops]}}}}"
    )
    assert settings.triggers["one"].user == "PA"


def test_a_trigger_may_have_a_condition(load: Load) -> None:
    settings = load(f"{MINIMAL}triggers: {{one: {{on: incident.*, to: [ops], if: data.incident.urgency == 'high'}}}}")
    assert settings.triggers["one"].condition == "data.incident.urgency == 'high'"


def test_a_trigger_runs_at_the_poll_interval_of_its_connection_by_default(load: Load) -> None:
    settings = load(MINIMAL.replace("a-key}", "a-key, limits: {poll_interval: 2m}}") + NEW)
    assert settings.triggers["new"].every == timedelta(minutes=2)


@pytest.mark.parametrize("url", ["http://127.0.0.1:8422", "http://127.8.0.1", "http://[::1]:1", "http://localhost:1"])
def test_a_simulator_on_loopback_may_have_looser_limits_and_needs_no_tls(load: Load, url: str) -> None:
    limits = "{calls: 1000, period: 1s, poll_interval: 100ms}"
    connection = load(f'connections: {{sim: {{api_key: k, api_url: "{url}", limits: {limits}}}}}').connections["sim"]
    assert connection.limits == Limits(1000, timedelta(seconds=1), timedelta(milliseconds=100))


def test_with_a_simulator_events_also_go_to_the_simulator_and_not_to_pagerduty(load: Load) -> None:
    connection = load('connections: {sim: {api_key: k, api_url: "http://127.0.0.1:1"}}').connections["sim"]
    assert connection.events_url == "http://127.0.0.1:1"


@pytest.mark.parametrize("host", ["127.0.0.1.example.com", "localhost.example.com", "10.0.0.1", "0.0.0.0", "[::]"])
def test_a_host_that_only_looks_like_loopback_is_not_loopback(load: Load, host: str) -> None:
    limits = "{calls: 31, period: 60s, poll_interval: 30s}"
    problems = mistakes(load, f'connections: {{sim: {{api_key: k, api_url: "http://{host}", limits: {limits}}}}}')
    assert [line.split()[1] for line in problems] == ["connections.sim.api_url:", "connections.sim.limits.calls:"]


def test_the_ceilings_themselves_and_tighter_limits_are_accepted(load: Load) -> None:
    for limits in ("{calls: 30, period: 60s, poll_interval: 30s}", "{calls: 1, period: 1h, poll_interval: 5m}"):
        assert load(f"connections: {{acme: {{api_key: k, limits: {limits}}}}}").connections["acme"].limits.calls <= 30


def test_listening_beyond_loopback_requires_a_token(load: Load) -> None:
    listening = "connections: {acme: {api_key: k}}\napi: {listen: '0.0.0.0:80'"
    assert mistakes(load, listening + "}")[0].startswith("2: api.listen: ")
    assert load(listening + ", token: t-o-k-e-n}").api is not None
    assert load(listening.replace("0.0.0.0", "[::1]") + "}").api == ApiSettings("::1", 80, None, hosts=())


def test_yaml_is_read_as_yaml_1_2(load: Load) -> None:
    trigger = "triggers: {'yes': {on: incident.triggered, to: [no], start: 2026-11-01T00:00:00Z}}"
    settings = load(MINIMAL.replace("ops:", "no:") + trigger)
    assert (list(settings.targets), list(settings.triggers)) == (["no"], ["yes"])


def test_a_value_may_be_reused_through_an_alias(load: Load) -> None:
    settings = load(
        """
        connections: {a: {api_key: k, limits: &slow {calls: 10}}, b: {api_key: k, limits: *slow}}
        """
    )
    assert settings.connections["b"].limits.calls == 10


def test_nested_aliases_are_rejected_before_they_fill_the_memory(load: Load) -> None:
    levels = "\n".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 9))
    (line,) = mistakes(load, f"l0: &l0 [x]\n{levels}\n")
    assert line.endswith(": the file is too large or too deeply nested (check for aliases in aliases)")


# --- where the file is


def test_the_option_goes_before_the_variable_and_the_variable_before_the_default_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    system = tmp_path / "etc" / "config.yaml"
    monkeypatch.setattr(config, "DEFAULT_PATHS", (Path("config.yaml"), system))
    nowhere = f"no configuration file: neither config.yaml nor {system} exists"
    with pytest.raises(errors.ConfigurationError) as caught:
        config.find(None, {})
    assert caught.value.mistakes == [f"{nowhere} (use --config or PAGERELAY_CONFIG, or copy config.example.yaml)"]
    system.parent.mkdir()
    system.touch()
    assert config.find(None, {}) == system
    Path("config.yaml").touch()
    assert config.find(None, {}) == Path("config.yaml")
    assert config.find(None, {"PAGERELAY_CONFIG": ""}) == Path("config.yaml")
    assert config.find(None, {"PAGERELAY_CONFIG": "other.yaml"}) == Path("other.yaml")
    assert config.find(Path("named.yaml"), {"PAGERELAY_CONFIG": "other.yaml"}) == Path("named.yaml")


def test_the_default_paths_are_the_documented_ones() -> None:
    assert (Path("config.yaml"), Path("/etc/pagerelay/config.yaml")) == config.DEFAULT_PATHS


def test_an_unreadable_default_file_is_an_error_and_not_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = tmp_path / "config.yaml"
    loop.symlink_to(loop)
    monkeypatch.setattr(config, "DEFAULT_PATHS", (loop,))
    with pytest.raises(errors.ConfigurationError) as caught:
        config.load(None, {})
    assert caught.value.mistakes == [f"{loop}: cannot be read: Too many levels of symbolic links"]


# --- files that cannot be used


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty (start from a copy of config.example.yaml)"),
        (b"{}", "is empty (start from a copy of config.example.yaml)"),
        (b"[" * 5000, "is nested too deeply (check for brackets in brackets)"),
        (b"#" * (1024 * 1024 + 1), "is larger than 1048576 bytes"),
    ],
)
def test_an_unusable_file_is_reported_on_one_line(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    result = invoke("check", "-c", str(path))
    assert (result.exit_code, result.stdout, result.stderr) == (2, "", f"{path}: {message}\n")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"log:\n  level: caf\xe9\n", "this line is not valid UTF-8"),
        (b"\xef\xbb\xbflog:\n  level: \x00\n", "a control character (remove it)"),
    ],
)
def test_a_line_that_is_not_utf_8_is_named(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(content)
    assert invoke("check", "-c", str(path)).stderr == f"{path}:2: not valid YAML: {message}\n"


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    inside = tmp_path / "config.yaml" / "inside"
    assert invoke("check", "-c", str(tmp_path)).stderr == f"{tmp_path}: cannot be read: Is a directory\n"
    missing = invoke("check", "-c", str(inside))
    assert missing.stderr == f"{inside}: cannot be read: No such file or directory\n"
    inside.parent.touch()
    assert invoke("check", "-c", str(inside)).stderr == f"{inside}: cannot be read: Not a directory\n"
    assert missing.exit_code == 2


def test_control_characters_in_keys_and_paths_are_escaped(load: Load, tmp_path: Path) -> None:
    assert mistakes(load, f'{MINIMAL}"\\e[31m\\nred": 1\n')[0].startswith("6: …: unknown key")
    path = tmp_path / "\x1b[31m\n.yaml"
    assert invoke("check", "-c", str(path)).stderr == (
        f"{tmp_path}/\ufffd[31m\ufffd.yaml: cannot be read: No such file or directory\n"
    )


def test_a_long_key_and_a_long_value_are_not_shown(load: Load) -> None:
    text = f"{MINIMAL}{'k' * 1000}: 1\ntriggers: {{t: {{on: {'v' * 100_000}, to: [ops]}}}}\n"
    assert [len(line) < 250 for line in mistakes(load, text)] == [True, True]
