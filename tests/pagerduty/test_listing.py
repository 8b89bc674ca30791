"""Reading a list page by page while it changes: nothing present throughout is lost, nothing is read twice."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from daemon import errors
from daemon.model import CallPriority
from daemon.pagerduty import listing
from daemon.pagerduty.listing import CAP, PAGE, STEPS_BACK, ListedPage, PageRequest, PageSizes, read_all
from tests.conftest import START

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.pagerduty.scripted_pagerduty import ScriptedPagerDuty

Change = tuple[bool, float, int]  # insertion or removal, where (0 to 1), how many


@dataclass
class Moving:
    """A list that changes between two pages, as ``changes`` says."""

    records: list[Any]
    changes: list[list[Change]] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    ever: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.constant = {each["id"] for each in self.records}
        self.ever |= self.constant

    async def fetch(self, request: PageRequest) -> ListedPage:
        """Make the next changes, then return one page."""
        assert not request.brief
        offset, limit = request.offset, request.limit
        for change in self.changes.pop(0) if self.changes and self.offsets else ():
            self.change(*change)
        self.offsets.append(offset)
        page = self.records[offset : offset + limit]
        return ListedPage(page, offset + limit < len(self.records), None)

    def change(self, insertion: bool, where: float, count: int) -> None:  # noqa: FBT001 - as hypothesis draws it
        """Insert or remove this many records at a position."""
        place = round(where * len(self.records))
        if insertion:
            new = [{"id": f"N{len(self.ever) + number}"} for number in range(count)]
            self.ever |= {each["id"] for each in new}
            self.records[place:place] = new
        else:
            removed = self.records[place : place + count]
            del self.records[place : place + count]
            self.constant -= {each["id"] for each in removed}


def sizes(now: float = 0.0) -> PageSizes:
    return PageSizes(lambda: now)


def numbered(count: int) -> list[Any]:
    """So many records."""
    return [{"id": f"R{number}"} for number in range(count)]


def ids(records: Iterable[Any]) -> list[str]:
    """Their ids."""
    return [each["id"] for each in records]


CHANGES = st.lists(
    st.lists(st.tuples(st.booleans(), st.floats(0, 1), st.integers(1, 250)), max_size=3), max_size=STEPS_BACK - 1
)


@given(st.integers(0, 900), CHANGES)
async def test_every_record_present_throughout_is_read_however_the_list_moves(count: int, changes: list[Any]) -> None:
    moving = Moving(numbered(count), changes)
    listed = ids((await read_all(moving.fetch, sizes(), "list")).records)
    assert len(listed) == len(set(listed))
    assert moving.constant <= set(listed) <= moving.ever


@given(st.integers(0, 900), CHANGES)
async def test_records_come_in_list_order_however_the_list_moves(count: int, changes: list[Any]) -> None:
    moving = Moving(numbered(count), changes)
    listed = ids((await read_all(moving.fetch, sizes(), "list")).records)
    there = ids(moving.records)
    assert [each for each in listed if each in set(there)] == [each for each in there if each in set(listed)]


async def test_more_than_a_page_of_new_records_between_two_pages_goes_in_front() -> None:
    moving = Moving(numbered(150), [[(True, 0.0, 120)]])
    listed = ids((await read_all(moving.fetch, sizes(), "list")).records)
    assert listed == ids(moving.records)
    assert moving.offsets == [0, 99, 0, 99, 198]


@given(st.integers(101, 900), st.integers(1, 99), st.integers(1, 200))
async def test_skipped_records_are_read_again(count: int, removed: int, inserted: int) -> None:
    moving = Moving(numbered(count), [[(False, 0.0, removed)], [(True, 0.0, inserted)]])
    listed = ids((await read_all(moving.fetch, sizes(), "list")).records)
    assert moving.constant <= set(listed)
    assert moving.offsets[:3] == [0, 99, 0]


@pytest.mark.parametrize(
    ("count", "offsets"), [(0, [0]), (1, [0]), (100, [0]), (101, [0, 99]), (300, [0, 99, 198, 297])]
)
async def test_an_unchanging_list_is_read_in_overlapping_pages(count: int, offsets: list[int]) -> None:
    moving = Moving(numbered(count))
    pages = await read_all(moving.fetch, sizes(), "list")
    assert ids(pages.records) == ids(numbered(count))
    assert moving.offsets == offsets
    assert pages.calls == len(offsets)


async def test_ten_thousand_records_are_read_and_no_larger_offset_is_requested() -> None:
    moving = Moving(numbered(CAP))
    assert len((await read_all(moving.fetch, sizes(), "list")).records) == CAP
    assert max(moving.offsets) + PAGE == CAP
    moving = Moving(numbered(CAP + 1))
    with pytest.raises(errors.WindowTooLarge, match="more than 10000 records"):
        await read_all(moving.fetch, sizes(), "list")
    assert max(moving.offsets) + PAGE == CAP


async def test_a_list_that_never_stops_moving_is_abandoned() -> None:
    number = 0

    async def fetch(_page: PageRequest) -> ListedPage:
        nonlocal number
        number += PAGE
        return ListedPage([{"id": f"R{number + each}"} for each in range(PAGE)], more=True, server_time=None)

    with pytest.raises(errors.Temporary, match="changed too much while it was read"):
        await read_all(fetch, sizes(), "list")
    assert number == PAGE * 2 * (STEPS_BACK + 1)


async def test_the_server_time_is_that_of_the_first_page() -> None:
    times = iter([START, START.replace(minute=1)])
    moving = Moving(numbered(150))

    async def fetch(page_request: PageRequest) -> ListedPage:
        page = await moving.fetch(page_request)
        return ListedPage(page.records, page.more, next(times))

    assert (await read_all(fetch, sizes(), "list")).server_time == START


async def test_records_without_an_id_are_distinguished_by_their_whole_content() -> None:
    odd: list[Any] = [{"id": None, "n": 1}, {"id": None, "n": 2}, "text", 7, None, {"id": None, "n": 1}]

    async def fetch(_page: PageRequest) -> ListedPage:
        return ListedPage(odd, more=False, server_time=None)

    assert (await read_all(fetch, sizes(), "list")).records == odd[:-1]


async def test_an_empty_page_ends_the_list_even_if_it_claims_more() -> None:
    async def fetch(_page: PageRequest) -> ListedPage:
        return ListedPage([], more=True, server_time=None)

    assert (await read_all(fetch, sizes(), "list")).records == []


@pytest.mark.parametrize("count", [1, 2, 25, 99])
async def test_a_list_that_returns_the_same_short_page_forever_is_abandoned(count: int) -> None:
    calls = 0

    async def fetch(_page: PageRequest) -> ListedPage:
        nonlocal calls
        calls += 1
        return ListedPage(numbered(count), more=True, server_time=None)

    with pytest.raises(errors.Temporary, match="returns the same ones again"):
        await read_all(fetch, sizes(), "list")
    assert calls == 2


async def test_a_page_shorter_than_requested_skips_nothing() -> None:
    records = numbered(90)

    async def fetch(page: PageRequest) -> ListedPage:
        return ListedPage(records[page.offset : page.offset + 25], page.offset + 25 < len(records), None)

    assert ids((await read_all(fetch, sizes(), "list")).records) == ids(records)


@pytest.mark.parametrize("more", [None, "yes", 1])
async def test_a_full_page_without_a_more_flag_is_not_assumed_to_be_the_last(
    fake: ScriptedPagerDuty, more: object
) -> None:
    incidents = [{"id": f"P{number}"} for number in range(150)]

    def answer(request: httpx.Request) -> httpx.Response:
        offset = int(request.url.params["offset"])
        return httpx.Response(200, json={"incidents": incidents[offset : offset + PAGE], "more": more})

    client = fake.client(transport=httpx.MockTransport(answer))
    assert len((await client.open_incidents(CallPriority.POLL)).incidents) == 150


async def test_a_moving_window_is_read_completely_through_the_client(fake: ScriptedPagerDuty) -> None:
    def entry(number: int) -> dict[str, object]:
        created = "2026-11-23T10:00:00Z"
        return {"id": f"R{number}", "type": "notify_log_entry", "created_at": created, "incident": {"id": "P1"}}

    moving = Moving([entry(number) for number in range(350)], [[(False, 0.0, 7)], [(False, 0.9, 3)]])

    async def answer(request: httpx.Request) -> httpx.Response:
        page = await moving.fetch(PageRequest(int(request.url.params["offset"]), PAGE))
        return httpx.Response(200, json={"log_entries": page.records, "more": page.more})

    client = fake.client(transport=httpx.MockTransport(answer))
    window = await client.log_entries(START, START.replace(minute=5), CallPriority.POLL)
    assert {each.id for each in window.entries} >= moving.constant
    assert window.calls == client.calls == len(moving.offsets)


def test_the_page_size_is_the_largest_that_pagerduty_allows() -> None:
    assert (listing.PAGE, listing.CAP) == (100, 10_000)


@dataclass
class Heavy:
    """A list of records with a weight each; a page above ``most`` is too large, unless it is asked for in brief."""

    weights: list[int]
    most: int = 1000
    limits: list[int] = field(default_factory=list)
    in_time: bool = True

    async def fetch(self, request: PageRequest) -> ListedPage:
        offset, limit, brief = request.offset, request.limit, request.brief
        self.limits.append(limit)
        page = [{"id": f"R{number}", "brief": brief} for number in range(len(self.weights))][offset : offset + limit]
        if not brief and sum(self.weights[offset : offset + limit]) > self.most:
            message = "too large"
            raise errors.PageTooLarge(message, status=200 if self.in_time else None)
        return ListedPage(page, offset + limit < len(self.weights), None)


@given(st.lists(st.integers(0, 2500), max_size=60))
async def test_a_list_of_any_weights_is_read_whole_and_only_what_is_too_large_alone_in_brief(
    weights: list[int],
) -> None:
    heavy = Heavy(weights)
    pages = await read_all(heavy.fetch, sizes(), "list")
    assert ids(pages.records) == [f"R{number}" for number in range(len(weights))]
    too_large = [f"R{number}" for number, weight in enumerate(weights) if weight > heavy.most]
    assert [each["id"] for each in pages.records if each["brief"]] == too_large
    assert ids(pages.oversized) == too_large
    assert pages.calls == len(heavy.limits)


async def test_the_size_that_works_is_remembered_for_a_while() -> None:
    now, heavy = [0.0], Heavy([100] * 40)
    page_sizes = PageSizes(lambda: now[0])
    await read_all(heavy.fetch, page_sizes, "list")
    assert heavy.limits[:3] == [100, 25, 6]
    heavy.limits.clear()
    await read_all(heavy.fetch, page_sizes, "list")
    assert 100 not in heavy.limits
    now[0] = listing.REMEMBERED_SECONDS + 1
    heavy.limits.clear()
    await read_all(heavy.fetch, page_sizes, "list")
    assert heavy.limits[0] == 100
    heavy.limits.clear()
    await read_all(heavy.fetch, page_sizes, "another list")
    assert heavy.limits[0] == 100


async def test_a_server_that_does_not_even_send_two_records_in_time_is_given_up() -> None:
    heavy = Heavy([5000] * 3, in_time=False)
    with pytest.raises(errors.Temporary):
        await read_all(heavy.fetch, sizes(), "list")
    assert heavy.limits == [100, 25, 6, 2]
