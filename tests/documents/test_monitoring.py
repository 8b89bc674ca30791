"""The alert rules and the dashboard: what they ask for exists, and each alert has a runbook and tests."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from daemon import app
from daemon.actions import executor
from daemon.api import metrics
from daemon.app.reloading import ReloadMetrics
from daemon.delivery.attempt_metrics import AttemptMetrics
from daemon.pagerduty import permits
from daemon.storage import schema
from daemon.storage.database import Database
from daemon.views import overview
from tests.conftest import ManualClock
from tests.documents.test_package import anchors
from tests.endurance import alerting, prometheus
from tests.harness import sample_data

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "monitoring"
RULES = FOLDER / "pagerelay.rules.yaml"
TESTS = FOLDER / "pagerelay.rules.test.yaml"
DASHBOARD = FOLDER / "grafana-dashboard.json"
RUNBOOKS = "https://docs.example.internal/pagerelay/operating.md#"
# What Prometheus itself adds to every sample.
OF_PROMETHEUS = {"job", "instance"}
OURS = re.compile(r"\b(?:pagerelay|process|node|python)_\w+")


def rules() -> list[dict[str, Any]]:
    """Return the alert rules."""
    return [rule for group in yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"] for rule in group["rules"]]


def alert_names() -> list[str]:
    """Return the names of all alerts."""
    return [rule["alert"] for rule in rules()]


def panels() -> list[dict[str, Any]]:
    """Return the dashboard's panels that show something."""
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def queries() -> list[str]:
    """Return the query of every alert and of every panel."""
    return [rule["expr"] for rule in rules()] + [each["expr"] for panel in panels() for each in panel["targets"]]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, set[str]]]:
    """Return the labels of every metric that a daemon exports, by the metric's name."""
    folder = tmp_path_factory.mktemp("exported")
    clock = ManualClock()
    database = Database(f"sqlite:///{folder / 'pagerelay.db'}", clock=clock)
    database.upgrade()
    database.write_now(sample_data.fill, clock())
    database.write_now(lambda tx: tx.execute(schema.instances.update().values(clock_ahead_seconds=1)) and None)
    settings = sample_data.settings(folder, "sqlite:///elsewhere.db")
    counted = app._registry(database)
    ReloadMetrics(counted).succeeded(settings)
    AttemptMetrics(counted).of_target("ops").count("delivered")
    executor._counter(counted)
    permits._counters(counted)
    for counter in counted._collector_to_names:
        if names := getattr(counter, "_labelnames", ()):
            counter.labels(*names)  # type: ignore[attr-defined]  # only metrics with labels have label names
    parts = settings.connections, settings.triggers, settings.targets
    status = database.read_now(lambda tx: overview.read(tx, *parts, clock()))
    families = text_string_to_metric_families(metrics.text(status, counted).decode())
    samples = [sample for family in families for sample in family.samples]
    yield {
        name: {key for one in samples if one.name == name for key in one.labels} for name in {s.name for s in samples}
    }
    database.close()


def test_every_query_names_metrics_that_exist(exported: dict[str, set[str]]) -> None:
    names = {name for query in queries() for name in OURS.findall(query)}
    assert names - exported.keys() == set()
    assert len(names) > 20


def test_every_query_uses_labels_that_its_metrics_have(exported: dict[str, set[str]]) -> None:
    for query in queries():
        of_metrics = {label for name in OURS.findall(query) for label in exported[name]}
        by = {label for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", query) for label in group.split(", ")}
        selected = {label for group in re.findall(r"\{([^}]*)\}", query) for label in re.findall(r"(\w+)[=!]", group)}
        assert (by | selected) - of_metrics - OF_PROMETHEUS == set(), query


def test_every_metric_about_a_fault_has_an_alert() -> None:
    names = {name for rule in rules() for name in OURS.findall(rule["expr"])}
    table = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"`(pagerelay_\w+)`", table))
    assert names - documented == set()
    faults = {name for name in documented if name.endswith(("_failing", "_paused", "_quarantined_records", "_hash"))}
    assert faults - names == set()


def test_every_alert_has_a_severity_texts_and_a_runbook() -> None:
    headings = anchors((ROOT / "docs" / "operating.md").read_text(encoding="utf-8"))
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}
        notes = rule["annotations"]
        assert set(notes) == {"summary", "description", "runbook_url"}
        assert notes["runbook_url"] == RUNBOOKS + rule["alert"].lower()
        assert notes["runbook_url"].removeprefix(RUNBOOKS) in headings
    assert len(set(alert_names())) == len(rules())


def test_the_documented_command_points_every_alert_to_another_copy_of_the_runbooks(tmp_path: Path) -> None:
    for file in (RULES, TESTS):
        shutil.copy(file, tmp_path)
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert [each.name for each in FOLDER.iterdir() if each.name != "README.md" and f"`{each.name}`" not in text] == []
    (commands,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    without_promtool = "".join(line for line in commands.splitlines(keepends=True) if not line.startswith("promtool"))
    subprocess.run(["sh", "-ec", without_promtool], cwd=tmp_path, check=True, timeout=60)
    changed = yaml.safe_load((tmp_path / RULES.name).read_text(encoding="utf-8"))
    urls = {rule["annotations"]["runbook_url"] for group in changed["groups"] for rule in group["rules"]}
    assert len(urls) == len(rules())
    assert all(url.startswith("https://wiki.your-company.com/pagerelay/operating.md#") for url in urls)
    text = TESTS.read_text(encoding="utf-8")
    assert RUNBOOKS in text
    expected = text.replace(RUNBOOKS, "https://wiki.your-company.com/pagerelay/operating.md#")
    assert yaml.safe_load((tmp_path / TESTS.name).read_text(encoding="utf-8")) == yaml.safe_load(expected)


def test_every_runbook_belongs_to_an_alert() -> None:
    text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^#+ (Pagerelay\w+)$", text, re.MULTILINE)) == set(alert_names())


def test_every_alert_is_tested_firing_and_silent() -> None:
    tested = set()
    for test in yaml.safe_load(TESTS.read_text(encoding="utf-8"))["tests"]:
        for case in test["alert_rule_test"]:
            assert test["name"].startswith(f"{case['alertname']} {'fires' if case['exp_alerts'] else 'is silent'}")
            tested.add((case["alertname"], bool(case["exp_alerts"])))
    assert tested == {(name, fires) for name in alert_names() for fires in (True, False)}


def test_the_long_run_causes_the_fault_of_every_alert() -> None:
    assert sorted(fault.alert for fault in alerting.FAULTS) == sorted(alert_names())


def test_shortening_the_rules_changes_nothing_but_durations() -> None:
    written = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    assert prometheus.shortened(written, 1) != written, "durations are written in milliseconds"
    for shortened, rule in zip(prometheus.shortened(written, 30)["groups"][0]["rules"], rules(), strict=True):
        kept = {key: value for key, value in rule.items() if key not in {"expr", "for"}}
        assert {key: value for key, value in shortened.items() if key not in {"expr", "for"}} == kept
        without = [
            re.sub(r"\[\w+\]|[<>] [0-9.]+$|[<>] [0-9.]+(?= unless)", "", each["expr"]) for each in (shortened, rule)
        ]
        assert without[0] == without[1]
    by_name = {rule["alert"]: rule for rule in prometheus.shortened(written, 30)["groups"][0]["rules"]}
    assert by_name["PagerelayTargetPaused"]["for"] == "30000ms"
    assert "_lag_seconds) > 20\n" in by_name["PagerelayConnectionLagging"]["expr"].replace(" unless", "\nunless")
    assert "[20000ms]" in by_name["PagerelayBudgetExhausted"]["expr"]
    assert by_name["PagerelayClockOff"]["expr"].endswith("> 120"), "a difference of clocks is no duration"


def test_every_panel_has_its_own_id_a_title_and_the_chosen_data_source() -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    numbers = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(numbers)) == len(numbers)
    assert {variable["name"] for variable in dashboard["templating"]["list"]} == {"datasource", "job"}
    for panel in panels():
        assert panel["title"]
        for query in panel["targets"]:
            assert query["datasource"]["uid"] == "${datasource}"
            assert 'job="$job"' in query["expr"]


def promtool(*arguments: str | Path) -> None:
    """Run promtool where it is installed; the end of the test run says where it is not."""
    program = shutil.which("promtool")
    if program is None:
        return
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_accepts_the_rules_and_every_alert_fires_when_it_should() -> None:
    promtool("check", "rules", RULES)
    promtool("test", "rules", TESTS)


def test_promtool_accepts_every_query_of_the_dashboard(tmp_path: Path) -> None:
    names = [each["expr"] for panel in panels() for each in panel["targets"]]
    recorded = [
        {"record": f"panel:{number}", "expr": query.replace("$__rate_interval", "1m")}
        for number, query in enumerate(names)
    ]
    path = tmp_path / "panels.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": recorded}]}), encoding="utf-8")
    promtool("check", "rules", path)
