"""The screen without a broker: events are handed to the state, and keys pressed in Textual's own pilot."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any

from textual.pilot import Pilot
from textual.widgets import ContentSwitcher, Static

from bootsteps_events_monitor import rows
from bootsteps_events_monitor.cluster import Cluster
from bootsteps_events_monitor.dialogues import Ask, Page
from bootsteps_events_monitor.listing import Listing
from bootsteps_events_monitor.screen import Monitor
from bootsteps_tasks import App

LIMIT_S = 10.0
clock = itertools.count(1)


def cluster() -> Cluster:
    return Cluster(App("proj", broker="memory://monitor"))


def tell(state: Any, kind: str, **fields: Any) -> None:
    now = time.time()
    state.event(
        {"type": kind, "hostname": "w@h", "timestamp": now, "local_received": now, "clock": next(clock), **fields}
    )


def received(state: Any, uuid: str, name: str = "proj.add") -> None:
    tell(state, "task-received", uuid=uuid, name=name, args="(2, 3)", kwargs="{}")


def play(watched: Cluster, scene: Callable[[Pilot[None]], Awaitable[None]]) -> None:
    async def run() -> None:
        async with Monitor(watched).run_test(size=(120, 30)) as pilot:
            await scene(pilot)

    asyncio.run(run())


async def until(pilot: Pilot[None], true: Callable[[], object]) -> None:
    ends = time.monotonic() + LIMIT_S
    while not true():
        assert time.monotonic() < ends
        await pilot.pause(0.02)


def selected(pilot: Pilot[None]) -> str | None:
    return pilot.app.query_one("#tasks", Listing).selected


def test_the_cursor_stays_on_its_task_while_others_come_and_it_changes() -> None:
    watched = cluster()
    for uuid in ("one", "two", "three"):
        received(watched.state, uuid)

    async def scene(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: selected(pilot) == "three")
        await pilot.press("j", "down", "k")
        assert selected(pilot) == "two"
        received(watched.state, "four")
        tell(watched.state, "task-started", uuid="two")
        await until(pilot, lambda: pilot.app.query_one("#tasks", Listing).row_count == 4)
        assert selected(pilot) == "two"
        assert str(pilot.app.query_one("#tasks", Listing).get_cell("two", "state")) == "STARTED"

    play(watched, scene)


def test_the_first_place_shows_what_came_last() -> None:
    watched = cluster()
    received(watched.state, "one")

    async def scene(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: selected(pilot) == "one")
        received(watched.state, "two")
        await until(pilot, lambda: selected(pilot) == "two")

    play(watched, scene)


def test_a_filter_shows_what_has_all_words_and_escape_everything() -> None:
    watched = cluster()
    for uuid, name in (("one", "proj.add"), ("two", "proj.mail"), ("three", "proj.add")):
        received(watched.state, uuid, name)

    async def scene(pilot: Pilot[None]) -> None:
        await pilot.press("slash", *"ADD one", "enter")
        await until(pilot, lambda: pilot.app.query_one("#tasks", Listing).row_count == 1)
        assert selected(pilot) == "one"
        assert "filter: ADD one" in str(pilot.app.query_one("#head", Static).content)
        await pilot.press("escape")
        await until(pilot, lambda: pilot.app.query_one("#tasks", Listing).row_count == 3)

    play(watched, scene)


def test_workers_are_shown_instead_of_tasks_and_have_no_result() -> None:
    watched = cluster()
    tell(
        watched.state, "worker-heartbeat", active=3, processed=17, loadavg=[0.5, 1, 2], pid=42, sw_ident="py-x", freq=2
    )

    async def scene(pilot: Pilot[None]) -> None:
        await pilot.press("w")
        await until(pilot, lambda: pilot.app.query_one("#workers", Listing).row_count == 1)
        await pilot.press("r", "c")
        assert len(pilot.app.screen_stack) == 1
        await pilot.press("w")
        assert pilot.app.query_one(ContentSwitcher).current == "tasks"

    play(watched, scene)
    assert rows.worker_rows(watched.state) == [("w@h", ("w@h", "ONLINE", "3", "17", "0.50 1.00 2.00", "42", "py-x"))]


def test_a_question_that_is_denied_changes_nothing() -> None:
    watched = cluster()
    received(watched.state, "one")

    async def scene(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: selected(pilot) == "one")
        for key in ("c", "x", "T"):
            await pilot.press(key)
            assert isinstance(pilot.app.screen, Ask)
            await pilot.press("n")
            assert len(pilot.app.screen_stack) == 1
        assert not pilot.app.workers

    play(watched, scene)


def test_enter_tells_all_about_a_task() -> None:
    watched = cluster()
    received(watched.state, "one")
    tell(watched.state, "task-failed", uuid="one", exception="ValueError('[red]')", traceback="Traceback: here")

    async def scene(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: selected(pilot) == "one")
        await pilot.press("enter")
        assert isinstance(pilot.app.screen, Page)
        await pilot.press("escape")
        assert len(pilot.app.screen_stack) == 1

    play(watched, scene)
    task = watched.state.tasks["one"]
    text = rows.about(task)
    assert "  name  proj.add\n" in text
    assert "  args  (2, 3)\n" in text
    assert text.endswith("\n\nTraceback: here")
    assert rows.result(task) == "FAILURE: ValueError('[red]')"
    assert rows.traceback(task) == "Traceback: here"


def test_ten_thousand_tasks_are_shown_in_part_and_fast() -> None:
    watched = cluster()
    for number in range(10_000):
        received(watched.state, str(number))
    found = rows.task_rows(watched.state)
    assert [key for key, _ in found] == [str(number) for number in range(9_999, 9_499, -1)]
    assert [key for key, _ in rows.task_rows(watched.state, "77 7777")] == ["7777"]
