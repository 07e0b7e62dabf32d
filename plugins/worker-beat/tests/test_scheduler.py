"""The schedulers, with a clock that the test turns; and several real processes on one file."""

from __future__ import annotations

import logging
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bootsteps import TIMER, KernelError
from bootsteps.testing import FakeTimer, make_blueprint
from bootsteps_tasks import App
from bootsteps_worker_beat import BEAT, BeatLazyFunc, PersistentScheduler, Scheduler, clock, crontab
from bootsteps_worker_beat.service import Service
from bootsteps_worker_beat.step import Beat

START = datetime(2025, 6, 1, 12, 0, 0, tzinfo=UTC)


class Clock:
    """Both clocks; `put` turns the hands of the one on the wall."""

    def __init__(self) -> None:
        self.wall, self.monotonic = START.timestamp(), 1000.0

    def go(self, seconds: float) -> None:
        self.wall += seconds
        self.monotonic += seconds

    def put(self, seconds: float) -> None:
        self.wall += seconds


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(clock, "now", lambda: found.wall)
    monkeypatch.setattr(clock, "elapsed", lambda: found.monotonic)
    return found


class Sending(App):
    """Notes what is sent, and fails when told to."""

    def __init__(self, **entries: Any) -> None:
        entries = {name: {"task": f"proj.{name}", "schedule": given} if not isinstance(given, dict) else given
                   for name, given in entries.items()}  # fmt: skip
        super().__init__("proj", beat_schedule=entries)
        self.sent: list[str] = []
        self.calls: list[Any] = []
        self.error: Exception | None = None

    def send_task(self, task: Any, args: Any = None, kwargs: Any = None, **options: Any) -> Any:
        if self.error is not None:
            raise self.error
        self.sent.append(task)
        self.calls.append((args, kwargs, options))
        return type("Result", (), {"id": "x"})


def run(scheduler: Scheduler, hands: Clock, seconds: float) -> None:
    """Let time pass, as a driver would."""
    ends = hands.monotonic + seconds
    while True:
        delay = scheduler.tick()
        if hands.monotonic + delay > ends:
            hands.go(ends - hands.monotonic)
            return
        hands.go(max(delay, 0.001))


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "beat.db")


def persistent(app: App, path: str) -> PersistentScheduler:
    return PersistentScheduler(app, schedule_filename=path)


def test_intervals_do_not_drift_and_crontabs_come_with_their_minute(hands: Clock) -> None:
    app = Sending(often=10, minute=crontab())
    scheduler = Scheduler(app)
    run(scheduler, hands, 605.0)
    assert app.sent.count("proj.often") == 60
    assert app.sent.count("proj.minute") == 10
    assert scheduler.schedule["often"].last_run_at == START + timedelta(seconds=600)


def test_what_was_missed_is_sent_once_at_the_start(hands: Clock, path: str) -> None:
    app = Sending(often=10, morning=crontab(minute=30, hour=7))
    persistent(app, path).close()
    hands.go(3 * 86400 + 5)
    scheduler = persistent(app, path)
    scheduler.tick()
    scheduler.tick()
    assert sorted(app.sent) == ["proj.morning", "proj.often"]
    run(scheduler, hands, 20)
    assert sorted(app.sent) == ["proj.morning", "proj.often", "proj.often", "proj.often"]


def test_a_missed_crontab_is_not_sent_after_its_deadline(hands: Clock, path: str) -> None:
    app = Sending(morning=crontab(minute=30, hour=7))
    app.conf.beat_cron_starting_deadline = 600
    persistent(app, path).close()
    hands.go(86400)
    late = persistent(app, path)
    late.tick()
    assert app.sent == []
    run(late, hands, 86400)
    assert app.sent == ["proj.morning"], "the next one"
    late.close()
    hands.go(19 * 3600 + 30 * 60 + 300)
    persistent(app, path).tick()
    assert len(app.sent) == 2, "five minutes late"


def test_a_clock_put_back_repeats_nothing_and_stops_nothing(hands: Clock, path: str) -> None:
    app = Sending(often=10, hourly=crontab(minute=0))
    scheduler = persistent(app, path)
    run(scheduler, hands, 3601)
    assert app.sent.count("proj.hourly") == 1
    app.sent.clear()
    hands.put(-1800)
    run(scheduler, hands, 1799)
    assert app.sent.count("proj.hourly") == 0
    assert 178 <= app.sent.count("proj.often") <= 180
    run(scheduler, hands, 3600)
    assert app.sent.count("proj.hourly") == 1, "at one o'clock it was sent, at two it is"


def test_a_clock_that_was_wrong_by_years_is_believed_when_it_is_put_right(hands: Clock, path: str) -> None:
    app = Sending(hourly=crontab(minute=0))
    hands.put(86400 * 365 * 10)
    scheduler = persistent(app, path)
    run(scheduler, hands, 3700)
    hands.put(-86400 * 365 * 10)
    run(scheduler, hands, 3700)
    assert app.sent == ["proj.hourly"] * 2


def test_a_clock_put_forward_sends_what_was_passed_over_once(hands: Clock, path: str) -> None:
    app = Sending(hourly=crontab(minute=0))
    scheduler = persistent(app, path)
    run(scheduler, hands, 60)
    hands.put(6 * 3600)
    run(scheduler, hands, 300)
    assert app.sent == ["proj.hourly"]


def test_what_cannot_be_sent_stays_due_and_is_told_once(
    hands: Clock, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = Sending(hourly=crontab(minute=0), other=7200)
    scheduler = persistent(app, path)
    app.error = ConnectionError("no broker")
    run(scheduler, hands, 3700)
    told = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert [record.getMessage() for record in told] == [
        "hourly (proj.hourly) could not be sent, and stays due: ConnectionError: no broker"
    ]
    app.error = None
    run(scheduler, hands, 20)
    assert app.sent == ["proj.hourly"]


def test_a_schedule_that_cannot_tell_does_not_stop_the_others(hands: Clock, caplog: pytest.LogCaptureFixture) -> None:
    class Broken(crontab):
        def next_after(self, moment: datetime) -> datetime:
            raise RuntimeError("no")

    app = Sending(broken=Broken(), often=10)
    run(Scheduler(app), hands, 25)
    assert app.sent == ["proj.often"] * 2
    assert "it cannot be told when 'broken' is due" in caplog.text


def test_another_schedule_starts_to_count_anew_and_one_that_is_gone_is_forgotten(hands: Clock, path: str) -> None:
    persistent(Sending(a=crontab(minute=0, hour=13), b=10), path).close()
    hands.go(86400)
    app = Sending(a=crontab(minute=0, hour=11))
    persistent(app, path).tick()
    assert app.sent == [], "11 o'clock was long ago when it was written down"
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT name FROM entry").fetchall() == [("a",)]


def test_arguments_options_and_celerys_header_are_sent(hands: Clock) -> None:
    entry = {"task": "proj.t", "schedule": 1, "args": (BeatLazyFunc(max, 3, 4), 1), "kwargs": {"k": BeatLazyFunc(list)},
             "options": {"queue": "q", "headers": {"mine": 1}}}  # fmt: skip
    app = Sending(entry=entry)
    run(Scheduler(app), hands, 1.5)
    ((args, kwargs, options),) = app.calls
    assert (args, kwargs) == ([4, 1], {"k": []})
    assert options == {"retry": False, "queue": "q", "headers": {"mine": 1, "celery_beat_task": True}}


def test_a_full_schedule_lets_others_have_the_thread(hands: Clock) -> None:
    app = Sending(**{f"t{number:03}": 60 for number in range(120)})
    scheduler = Scheduler(app)
    hands.go(61)
    assert [(scheduler.tick() == 0.0, len(app.sent)) for _ in range(3)] == [(True, 50), (True, 100), (False, 120)]


def test_entries_may_be_added_later(hands: Clock) -> None:
    app = Sending()
    scheduler = Scheduler(app)
    assert scheduler.tick() == scheduler.max_interval
    scheduler.add(name="late", task="proj.late", schedule=5)
    run(scheduler, hands, 11)
    assert app.sent == ["proj.late"] * 2


def test_the_file_is_written_to_the_disk_after_so_many_tasks(hands: Clock, path: str) -> None:
    class Counting(PersistentScheduler):
        synced = 0

        def sync(self) -> None:
            self.synced += 1
            super().sync()

    app = Sending(often=10)
    app.conf.beat_sync_every = 3
    scheduler = Counting(app, schedule_filename=path)
    run(scheduler, hands, 95)
    assert scheduler.synced == 3


def test_a_file_that_is_no_schedule_is_refused(path: str) -> None:
    Path(path).write_bytes(b"something else " * 100)
    with pytest.raises(KernelError, match="cannot be used: file is not a database") as caught:
        persistent(Sending(), path)
    assert "delete this one" in caught.value.fix
    assert Path(path).read_bytes().startswith(b"something else"), "untouched"


def test_the_file_is_its_owners_alone(path: str) -> None:
    persistent(Sending(a=1), path).close()
    assert Path(path).stat().st_mode & 0o777 == 0o600


def test_a_scheduler_of_ones_own_is_found_and_a_wrong_name_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine_of_beat.py").write_text(
        "from bootsteps_worker_beat import Scheduler\nclass Mine(Scheduler): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    found = Service(Sending(), scheduler="mine_of_beat:Mine").scheduler
    assert (type(found).__name__, found.tick()) == ("Mine", 300.0)
    for wrong in ("no_such_module:X", "mine_of_beat:X", "mine of beat"):
        with pytest.raises(KernelError, match=r"beat_scheduler .* cannot be found"):
            _ = Service(Sending(), scheduler=wrong).scheduler


@pytest.fixture
def app(path: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[App]:
    monkeypatch.chdir(tmp_path)
    made = Sending(often=0.5)
    made.conf.worker_beat = True
    yield made
    made.conf.worker_beat = False


def test_the_step_sends_on_the_timer_and_tells_that_it_does(app: Sending, hands: Clock) -> None:
    heard = []
    app.hooks.connect("beat_init")(lambda service: heard.append(("init", sorted(service.schedule))))
    app.hooks.connect("beat_embedded_init")(lambda service: heard.append(("embedded", service)))
    timer = FakeTimer()
    blueprint = make_blueprint([Beat], {TIMER: timer}, app)
    for _ in range(2):
        blueprint.apply()
        blueprint.start()
        service = blueprint.parent.get(BEAT)
        assert heard[-2:] == [("init", ["often"]), ("embedded", service)]
        for _ in range(10):
            hands.go(0.1)
            timer.advance(0.1)
        blueprint.stop()
        assert timer.pending == 0
    assert app.sent.count("proj.often") == 4 or app.sent.count("proj.often") == 3


def test_an_application_adds_periodic_tasks_when_it_is_configured() -> None:
    pytest.importorskip("bootsteps_transport_sqlite")
    app = App("adds")

    @app.task
    def say(*words: str) -> None: ...

    @app.on_after_configure.connect  # type: ignore[untyped-decorator]
    def setup_periodic_tasks(sender: Any, **kwargs: Any) -> None:
        sender.add_periodic_task(10.0, say.s("hello"), name="add every 10")
        sender.add_periodic_task(30.0, say.s("world"), expires=10)
        sender.add_periodic_task(crontab(hour=7), say, ("Happy Mondays!",), queue="mail")

    for _ in range(2):
        app.load()
    schedule = app.conf["beat_schedule"]
    assert schedule["add every 10"] == {
        "schedule": 10.0, "task": say.name, "args": ("hello",), "kwargs": {}, "options": {},
    }  # fmt: skip
    assert sorted(schedule) == ["add every 10", f"{say.name}('Happy Mondays!')", f"{say.name}('world')"]
    assert schedule[f"{say.name}('world')"]["options"] == {"expires": 10}
    assert schedule[f"{say.name}('Happy Mondays!')"]["options"] == {"queue": "mail"}


#: Sends by writing a line; each process is a beat of its own on the common file.
BEATER = """
import os, sys
from bootsteps_tasks import App
from bootsteps_worker_beat import PersistentScheduler
class Writing(App):
    def send_task(self, task, args=None, kwargs=None, **options):
        fd = os.open("sent", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(fd, f"{os.getpid()} {scheduler.schedule['tick'].last_run_at.timestamp():.6f}\\n".encode())
        return type("Result", (), {"id": "x"})
app = Writing("proj", beat_schedule={"tick": {"task": "t", "schedule": 0.1}})
scheduler = PersistentScheduler(app, schedule_filename="beat.db", max_interval=0.02)
import time
while True:
    time.sleep(scheduler.tick())
"""


def test_of_three_beats_on_one_file_one_sends_each_tick_also_when_they_are_killed(tmp_path: Path) -> None:
    def start() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", BEATER], cwd=tmp_path)

    def lines() -> list[list[str]]:
        path = tmp_path / "sent"
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

    def wait(true: Any) -> None:
        ends = time.monotonic() + 30
        while not true():
            assert time.monotonic() < ends
            time.sleep(0.01)

    beats = [start() for _ in range(3)]
    began = time.monotonic()
    try:
        wait(lambda: len({pid for pid, _ in lines()}) == 3)
        for _ in range(3):
            count = len(lines())
            victim = beats.pop(0)
            os.kill(victim.pid, signal.SIGKILL)
            victim.wait()
            beats.append(start())
            wait(lambda count=count: len(lines()) > count + 5)
    finally:
        for beat in beats:
            beat.kill()
            beat.wait()
    ticks = [last for _, last in lines()]
    seconds = time.monotonic() - began
    assert len(ticks) == len(set(ticks)), "each was sent once"
    assert len(ticks) <= seconds / 0.1 + 1
    with sqlite3.connect(tmp_path / "beat.db") as db:
        ((count,),) = db.execute("SELECT total_run_count FROM entry")
    assert len(ticks) - 1 <= count <= len(ticks)
