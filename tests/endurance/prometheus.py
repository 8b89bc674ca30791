"""A real Prometheus with the shipped alert rules, whose time runs faster: every duration is divided by one factor."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import yaml

from tests.harness.eventually import eventually

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

RULES = Path(__file__).parents[2] / "monitoring" / "pagerelay.rules.yaml"
UNITS = {"s": 1, "m": 60, "h": 3600}
SCRAPE_EVERY = "1s"
# A limit that an age in seconds is compared with. A clock's difference is no age: it stays.
AGE = re.compile(r"((?:lag|oldest|oldest_pending|entry_timestamp)_seconds\)\s*[<>] )(\d+)")
RANGE = re.compile(r"\[(\d+)([smh])\]")


def shortened(rules: dict[str, Any], factor: float) -> dict[str, Any]:
    """Return the rules with every duration divided by ``factor``: of ``for``, of ranges, and limits of ages."""
    groups = [group | {"rules": [_rule(rule, factor) for rule in group["rules"]]} for group in rules["groups"]]
    return {"groups": groups}


def _rule(rule: dict[str, Any], factor: float) -> dict[str, Any]:
    query = RANGE.sub(lambda match: f"[{_shorter(match[1], match[2], factor)}]", rule["expr"])
    query = AGE.sub(lambda match: f"{match[1]}{int(match[2]) / factor:g}", query)
    wait = re.fullmatch(r"(\d+)([smh])", rule.get("for", "0s"))
    assert wait is not None, rule
    return rule | {"expr": query, "for": _shorter(wait[1], wait[2], factor)}


def _shorter(number: str, unit: str, factor: float) -> str:
    return f"{round(1000 * int(number) * UNITS[unit] / factor)}ms"


@dataclass
class Prometheus:
    """A running Prometheus."""

    http: httpx.AsyncClient

    async def firing(self) -> set[str]:
        """Return the names of the alerts that fire now."""
        alerts = (await self.http.get("/api/v1/alerts")).json()["data"]["alerts"]
        return {each["labels"]["alertname"] for each in alerts if each["state"] == "firing"}

    async def value(self, query: str) -> float | None:
        """Return the value of the query's first series."""
        response = await self.http.get("/api/v1/query", params={"query": query})
        result = response.json()["data"]["result"] if response.is_success else ()
        return float(result[0]["value"][1]) if result else None


def free_port() -> int:
    """Return a port that is free now; a daemon keeps its address when it is started again."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@asynccontextmanager
async def running(folder: Path, jobs: Mapping[str, Sequence[str]], factor: float) -> AsyncIterator[Prometheus]:
    """Run a Prometheus that scrapes the addresses of each job; Debian's package is called prometheus."""
    program = shutil.which("prometheus")
    assert program is not None, "prometheus is missing (apt install prometheus)"
    rules = shortened(yaml.safe_load(RULES.read_text(encoding="utf-8")), factor)
    (folder / "rules.yaml").write_text(yaml.safe_dump(rules))
    settings = {
        "global": {"scrape_interval": SCRAPE_EVERY, "evaluation_interval": SCRAPE_EVERY},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            {"job_name": name, "static_configs": [{"targets": list(addresses)}]} for name, addresses in jobs.items()
        ],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(settings))
    address = f"127.0.0.1:{free_port()}"
    command = [program, f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/series"]
    process = _start([*command, f"--web.listen-address={address}"], folder / "prometheus.log")
    try:
        async with httpx.AsyncClient(base_url=f"http://{address}", trust_env=False, timeout=30) as http:
            prometheus = Prometheus(http)
            total = sum(map(len, jobs.values()))

            async def scrapes() -> bool:
                try:
                    return await prometheus.value("count(up == 1)") == total
                except httpx.TransportError:
                    return False

            await eventually(scrapes, seconds=60)
            yield prometheus
    finally:
        process.terminate()
        process.wait()


def _start(command: list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as file:
        return subprocess.Popen(command, stdout=file, stderr=file)
