"""The page: the time that the server takes for each, in a database with a million deliveries for 500 targets."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import statistics
import tempfile
import time
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import delivery, figures, large, receiver, watchers
from daemon import api
from daemon.page import sessions
from daemon.settings import Access
from daemon.storage.database import Database
from tests.page import person

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence

    from daemon.settings import Settings

DELIVERIES = 1_000_000
ROUNDS = 15
BASELINE = "/actions/new"  # reads nothing but the session
FAILING = large.TARGETS[large.FAILING_EVERY - 1]
WIDE, NARROW = (f"evt_{seq:026}" for seq in (1, large.EVENTS + 1))
PATHS = (
    BASELINE,
    "/",
    "/targets",
    "/targets?page=5",
    "/triggers",
    f"/targets/{large.TARGETS[0]}",
    f"/targets/{FAILING}",
    "/connections/acme",
    "/triggers/everyone",
    "/triggers/team-00",
    "/incidents",
    "/events",
    "/events?type=incident.resolved",
    "/events?trigger=team-00",
    f"/events?incident={large.incident_of(1)}",
    f"/events/{WIDE}",
    f"/events/{NARROW}",
    f"/incidents/{large.incident_of(1)}",
    f"/incidents/{large.incident_of(large.EVENTS + 1)}",
    "/deliveries",
    "/deliveries?state=pending",
    "/deliveries?state=dead",
    f"/deliveries?target={FAILING}",
    f"/deliveries?target={FAILING}&state=dead",
    f"/deliveries?incident={large.incident_of(1)}",
    "/deliveries?trigger=team-00",
    "/deliveries?trigger=team-00&state=dead",
    "/deliveries/1",
    "/actions",
    "/actions?state=failed",
    f"/actions/act_{1:026}",
    "/actions/new?operation=AcknowledgeIncident&connection=acme",
    "/replays",
    f"/replays?target={FAILING}&state=dead",
    "/v1/status",
    "/v1/targets",
    "/metrics",
)


OPEN_PAGES = 100
CONNECTING_SECONDS = 1.0  # for the loaded pages to listen
MESSAGES = 12_000  # to each target: long enough for one signal to a hundred pages, which come every 25 s later on
OPEN_PATHS = ("/", "/events", "/deliveries", "/deliveries?state=pending", *(f"/targets/target-{n}" for n in range(16)))


class Cost(NamedTuple):
    """A request's time on the clock and on the processor, in seconds; without PostgreSQL's own processes."""

    seconds: float
    processor: float


def measure(*, quick: bool, databases: Mapping[str, Callable[[], str]]) -> None:
    """Fill each database, ask for each page, and print the times."""
    count, rounds, paths = (1, 1, PATHS[:3]) if quick else (DELIVERIES, ROUNDS, PATHS)
    for name, new in databases.items():
        content = large.Content.of(count, datetime.now(UTC))
        with contextlib.closing(Database(new(), clock=content.clock)) as database:
            large.fill(database, content)
            costs = asyncio.run(_costs(database, paths, rounds))
        _report(f"pages on {name}, {content.deliveries:,} deliveries, {len(large.TARGETS)} targets", costs)


def _report(title: str, costs: Mapping[str, Sequence[Cost]]) -> None:
    medians = {
        path: Cost(*(statistics.median(column) for column in zip(*values, strict=True)))
        for path, values in costs.items()
    }
    baseline = medians[BASELINE].seconds
    figures.show(
        f"{title}: median time of the server, its ratio to that of {BASELINE}, and the process's processor time"
        f" ({figures.load()})",
        *(
            (path, f"{each.seconds * 1000:7.1f} ms {each.seconds / baseline:6.1f} {each.processor * 1000:7.1f} ms")
            for path, each in medians.items()
        ),
    )


async def _costs(database: Database, paths: Sequence[str], rounds: int) -> dict[str, list[Cost]]:
    """Return what each request costs; the first round, which compiles the templates, is left out."""
    costs: defaultdict[str, list[Cost]] = defaultdict(list)
    with tempfile.TemporaryDirectory(prefix="pagerelay-bench-") as folder:
        app = api.create(database, api.Current(_settings(Path(folder), database, large.triggers())))
    async with person.visiting(app, large.TOKEN) as visitor:
        for number in range(rounds + 1):
            for path in paths:
                started = time.perf_counter(), time.process_time()
                response = await visitor.http.get(path, headers={"authorization": f"Bearer {large.TOKEN}"})
                cost = Cost(time.perf_counter() - started[0], time.process_time() - started[1])
                assert response.is_success, f"{path}: {response.status_code}"
                if number:
                    costs[path].append(cost)
    return costs


def _settings(folder: Path, database: Database, to: Mapping[str, Collection[str]]) -> Settings:
    return large.settings(folder, database.url.render_as_string(hide_password=False), to)


def measure_open(*, quick: bool, databases: Mapping[str, Callable[[], str]]) -> None:
    """Deliver with and without open pages, alternately, and print the ratio of the speeds."""
    count, rounds, pages = (5, 1, 5) if quick else (MESSAGES, 4, OPEN_PAGES)
    with receiver.receivers(delivery.TARGETS) as receivers:
        for name, new in databases.items():
            pairs, fetches = [], []

            @contextlib.asynccontextmanager
            async def beside(database: Database) -> AsyncIterator[None]:
                async with _open_pages(database, pages) as watchers:
                    yield
                fetches.append(watchers.fetches)  # noqa: B023 - called in the same round of the loop

            for _ in range(rounds):
                watched = delivery.pagerelay(receivers, new(), count, beside=beside)
                pairs.append((watched, delivery.pagerelay(receivers, new(), count)))
            figures.show(
                f"{pages} open pages during {pairs[0][0].count:,} deliveries on {name} ({figures.load()})",
                (
                    "ratio of deliveries per second, with open pages : without",
                    figures.Ratio.of(pairs, lambda run: run.rate),
                ),
                ("ratio of processor time", figures.Ratio.of(pairs, lambda run: run.process)),
                ("fragments fetched per run", ", ".join(map(str, fetches))),
                ("seconds of a run", ", ".join(f"{run.seconds:.0f}" for run, _ in pairs)),
            )


@contextlib.asynccontextmanager
async def _open_pages(database: Database, count: int) -> AsyncIterator[watchers.Watchers]:
    """Serve the page, and keep ``count`` pages open."""
    with tempfile.TemporaryDirectory(prefix="pagerelay-bench-") as folder:
        settings = _settings(Path(folder), database, {"paged": [f"target-{n}" for n in range(delivery.TARGETS)]})
    assert settings.api is not None
    cookie = sessions.to_cookie(sessions.begin(Access.FULL, database.clock()), settings.api)
    paths = list(itertools.islice(itertools.cycle(OPEN_PATHS), count))
    async with api.serving(database, api.Current(settings)) as address:
        assert address is not None
        with watchers.watching(address, f"{sessions.cookie_name(settings.api)}={cookie}", paths) as open_pages:
            await open_pages.load()
            await asyncio.sleep(CONNECTING_SECONDS)
            yield open_pages
