"""The progress of long work: lines with an estimate, and a bar on a terminal only."""

from __future__ import annotations

import io
import sys
import time

import pytest

from daemon import text
from daemon.cli import progress
from tests.harness.eventually import eventually_in_thread
from tests.harness.watch import Watch


class Terminal(io.StringIO):
    """A standard error that is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> Watch:
    watch = Watch()
    monkeypatch.setattr(time, "monotonic", watch)
    return watch


def test_a_pipe_gets_a_line_every_ten_seconds_with_how_much_is_done_and_left(
    watch: Watch, capsys: pytest.CaptureFixture[str]
) -> None:
    with progress.shown("replay 7", 1_000, begun=200) as update:
        for seconds, done in ((5, 300), (10, 400), (15, 500), (20, 600), (30, 1000)):
            watch.seconds = seconds
            update(done)
    assert capsys.readouterr().err.splitlines() == [
        "replay 7: 400 of 1,000, about 30 s left",
        "replay 7: 600 of 1,000, about 20 s left",
    ]


def test_work_of_unknown_size_shows_how_much_is_done(watch: Watch, capsys: pytest.CaptureFixture[str]) -> None:
    with progress.shown("rows removed") as update:
        watch.seconds = 10
        update(1_500)
    assert capsys.readouterr() == ("", "rows removed: 1,500 so far\n")


def test_a_single_long_step_shows_every_ten_seconds_that_it_is_under_way(
    watch: Watch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = progress.Lines("upgrading the schema", 10, 3)
    for seconds in (9, 10, 15, 20):
        watch.seconds = seconds
        lines.tick()
    assert capsys.readouterr().err.splitlines() == [
        "upgrading the schema: 3 of 10, still working after 10 s",
        "upgrading the schema: 3 of 10, still working after 20 s",
    ]


def test_lines_appear_although_the_work_reports_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "REPORT_SECONDS", 0.01)
    with progress.shown("upgrading the schema", 10):
        eventually_in_thread(lambda: "0 of 10, still working" in capsys.readouterr().err)


def test_a_terminal_gets_a_bar_that_disappears_at_the_end(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with progress.shown("upgrading the schema", 10) as update:
        update(4)
    assert "upgrading the schema" in screen.getvalue()
    assert "4/10" in screen.getvalue()
    assert screen.getvalue().endswith("\x1b[2K"), "the line is erased"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("done", "expected"), [(0, "time left unknown"), (25, "about 30 s left"), (100, "about 0 s left")]
)
def test_the_rest_is_estimated_from_the_speed_so_far(done: int, expected: str) -> None:
    assert text.left(done, 100, 10) == expected
