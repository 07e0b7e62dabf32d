"""The step in a lifetime made of fakes, the command on what it lends, the subcommand in a composition of fakes."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from click.testing import CliRunner
from stuck_watch import WATCH, Watch
from stuck_watch.cli import report
from stuck_watch.commands import stuck
from stuck_watch.step import StuckWatch

from bootsteps import REQUESTS, TIMER, App, RunningRequest, Step
from bootsteps.cli import Session
from bootsteps.testing import FakeRequests, FakeTimer, check_step, lifetime


def test_reports_an_overdue_task() -> None:
    timer, requests = FakeTimer(), FakeRequests(running=[("add", 99.0), ("quick", 1.0)])  # seconds
    with lifetime(StuckWatch, {TIMER: timer, REQUESTS: requests}, stuck_after=10.0) as worker:
        assert [request.name for request in worker.get(WATCH).overdue()] == ["add"]
    assert timer.pending == 0


def test_the_longest_running_comes_first_and_the_limit_itself_is_no_delay() -> None:
    requests = [RunningRequest(f"id-{started}", "t", started, 0.0, 1) for started in (5.0, 2.0, 10.0, 10.5)]
    watch = Watch(type("Log", (), {"running": lambda self: requests})(), 10.0, clock=lambda: 20.0)
    assert [request.id for request in watch.overdue()] == ["id-2.0", "id-5.0"]


def test_warns_once_until_the_task_is_settled(caplog: pytest.LogCaptureFixture) -> None:
    timer, requests = FakeTimer(), FakeRequests(running=[("add", 99.0)])
    with (
        caplog.at_level(logging.WARNING),
        lifetime(StuckWatch, {TIMER: timer, REQUESTS: requests}, stuck_after=60.0) as worker,
    ):
        timer.advance(120.0)
        assert [record.getMessage() for record in caplog.records] == ["add[id-add] runs longer than 60 s"]
        worker.hooks.announce("task_settled", request=requests.running()[0], state="SUCCESS", runtime_s=99.0)
        timer.advance(30.0)
        assert len(caplog.records) == 2


def test_keeps_the_contract() -> None:
    check_step(StuckWatch)


def test_the_command_lists_a_limited_number() -> None:
    requests = FakeRequests(running=[("a", 99.0), ("b", 98.0), ("c", 97.0)])
    with lifetime(StuckWatch, {TIMER: FakeTimer(), REQUESTS: requests}, stuck_after=10.0) as worker:
        assert stuck(worker, limit=2) == ["a[id-a]", "b[id-b]"]


class Fakes(Step):
    """What the step needs, so that it can be composed where no worker is installed."""

    name = "Fakes"
    provides = (REQUESTS, TIMER)


class FakeSession(Session):
    """A session in which nothing is installed but what the application adds."""

    def __init__(self, app: App) -> None:
        from bootsteps import Catalogue

        super().__init__()
        self._app = app
        self.__dict__["catalogue"] = Catalogue(())

    def take(self, *_: Any) -> None:
        pass


def reported(app: App, *args: str) -> str:
    result = CliRunner().invoke(report, args, obj=FakeSession(app), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_report_tells_limit_and_place() -> None:
    app = App(stuck_after=30)
    app.steps["worker"].update([StuckWatch, Fakes])
    assert reported(app) == "a task is stuck after 30 s (application)\nStuckWatch starts 2 of 2, after Fakes\n"


def test_the_report_speaks_json_and_an_option_wins() -> None:
    app = App(stuck_after=30)
    app.steps["worker"].update([StuckWatch, Fakes])
    facts = json.loads(reported(app, "--json", "--stuck-after", "5"))
    assert (facts["stuck_after"], facts["source"], facts["place"], facts["after"]) == (
        5.0,
        "command line",
        2,
        ["Fakes"],
    )
