"""The file, and the step that reads and writes it."""

from __future__ import annotations

import shelve
import signal
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bootsteps import TIMER, BootError, KernelError
from bootsteps.testing import FakeTimer, check_step, make_blueprint
from bootsteps_consumer_tasks import REVOKED
from bootsteps_consumer_tasks.revoked import Revoked
from bootsteps_statedb.step import StateDBStep
from bootsteps_statedb.store import StateDB
from bootsteps_tasks import App


class Life:
    """One life of a worker: its revokes, its timer, its clock."""

    def __init__(self, path: str) -> None:
        self.timer, self.revoked, self.app = FakeTimer(), Revoked(), App("proj", worker_state_db=path)
        self.blueprint = make_blueprint([StateDBStep], {TIMER: self.timer, REVOKED: self.revoked}, self.app)
        self.blueprint.apply()
        self.blueprint.start()

    def end(self) -> None:
        self.blueprint.stop()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "state.db")


def test_keeps_the_contract(path: str) -> None:
    check_step(StateDBStep, {TIMER: FakeTimer(), REVOKED: Revoked()}, app=App, worker_state_db=path)


def test_it_is_left_out_without_a_path() -> None:
    blueprint = make_blueprint([StateDBStep], {TIMER: FakeTimer(), REVOKED: Revoked()}, App("proj"))
    blueprint.apply()
    assert "StateDBStep" not in blueprint.order


def test_revokes_stamps_and_the_clock_survive(path: str) -> None:
    first = Life(path)
    first.revoked.add("a")
    first.revoked.add("b")
    first.revoked.add_stamps({"tenant": ["acme", "umbrella"]})
    first.app.clock.adjust(41)
    first.end()
    second = Life(path)
    assert second.revoked.snapshot() == ["a", "b"]
    assert second.revoked.stamps() == {"tenant": ["acme", "umbrella"]}
    assert second.app.clock.value >= 42
    second.end()
    assert StateDB(Path(path)).clock >= 42


def test_a_revoke_is_in_the_file_soon_and_not_only_at_the_end(path: str) -> None:
    life = Life(path)
    life.revoked.add("a")
    life.timer.advance(0.1)
    assert [task_id for task_id, _ in StateDB(Path(path)).revoked()] == ["a"]
    life.app.clock.adjust(10)
    life.timer.advance(10)
    assert StateDB(Path(path)).clock == life.app.clock.value


def test_what_is_too_old_is_forgotten(path: str) -> None:
    Life(path).end()
    database = StateDB(Path(path))
    database.note(["old"], {"tenant": {"old"}}, at=time.time() - 10_900)
    database.note(["older one"], {}, at=time.time() - 10_000)
    life = Life(path)
    assert life.revoked.snapshot() == ["older one"]
    assert life.revoked.stamps() == {}
    assert [task_id for task_id, _ in database.revoked()] == ["older one"]


def test_it_is_as_old_as_it_was(path: str) -> None:
    """A revoke is forgotten three hours after it was made, however often the worker restarts."""
    Life(path).end()
    StateDB(Path(path)).note(["a"], {}, at=time.time() - 10_799.0)
    life = Life(path)
    assert "a" in life.revoked
    life.revoked._clock = lambda: time.monotonic() + 2.0
    assert "a" not in life.revoked


def test_the_names_in_the_path_and_the_mode_of_the_file(tmp_path: Path) -> None:
    life = Life(f"{tmp_path}/%n.db")
    (file,) = tmp_path.glob("*.db")
    assert "%" not in file.name
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    life.end()


def celerys(path: Path) -> None:
    with shelve.open(str(path)) as db:
        db["__proto__"] = 3


def another_programs(path: Path) -> None:
    sqlite3.connect(path).executescript("create table users (id)")


def text(path: Path) -> None:
    path.write_text("no database at all, but longer than a header of one " * 3)


@pytest.mark.parametrize("make", [another_programs, text])
def test_a_file_of_somebody_else_is_refused_and_left_as_it_is(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = tmp_path / "state"
    make(path)
    before = path.read_bytes()
    with pytest.raises(KernelError, match="cannot be used") as caught:
        StateDB(path)
    assert "--statedb" in str(caught.value)
    assert path.read_bytes() == before


def test_a_folder_that_is_not_there_stops_the_boot(tmp_path: Path) -> None:
    with pytest.raises((BootError, KernelError), match="No such file or directory"):
        Life(f"{tmp_path}/none/state.db")


def test_celerys_state_database_is_refused(tmp_path: Path) -> None:
    celerys(tmp_path / "state")
    file = next(tmp_path.glob("state*"))  # the kind of dbm decides about the suffix
    if not file.read_bytes():
        pytest.skip("this kind of dbm has an empty first file")
    with pytest.raises(KernelError, match="cannot be used"):
        StateDB(file)


WRITER = """
import itertools, sys
from pathlib import Path
from bootsteps_statedb.store import StateDB
database = StateDB(Path(sys.argv[1]))
for number in itertools.count():
    database.note([f"{number}-{n}" for n in range(100)], {})
    database.clock = number
    print(number, flush=True)
"""


def test_it_is_whole_after_a_kill_in_the_midst_of_a_write(path: str) -> None:
    for _ in range(5):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True)
        assert writer.stdout is not None
        for _ in range(5):
            last = int(writer.stdout.readline())
        writer.send_signal(signal.SIGKILL)
        rest = writer.stdout.read().split()
        writer.wait()
        last = int(rest[-1]) if rest else last
        database = StateDB(Path(path))
        found = {task_id for task_id, _ in database.revoked()}
        assert {f"{number}-{n}" for number in range(last + 1) for n in range(100)} <= found
        assert len(found) % 100 == 0
        assert database.clock >= last


def test_a_disk_that_refuses_is_logged_and_tried_again(path: str, caplog: pytest.LogCaptureFixture) -> None:
    life = Life(path)
    life.revoked.add("a")
    keep = Path(path).read_bytes()
    Path(path).write_bytes(b"rubbish" * 1000)
    life.timer.advance(0.1)
    assert "cannot be used" in caplog.text
    Path(path).write_bytes(keep)
    life.revoked.add("b")
    life.timer.advance(0.1)
    assert [task_id for task_id, _ in StateDB(Path(path)).revoked()] == ["a", "b"]
