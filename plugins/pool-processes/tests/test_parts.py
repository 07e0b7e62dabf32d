"""The parts that need no child."""

from __future__ import annotations

import platform
import socket
from pathlib import Path
from select import select

import pytest

from bootsteps import Job
from bootsteps.testing import FakeTimer
from bootsteps_pool_processes.frames import (
    END,
    Frame,
    Inbox,
    Record,
    pack_end,
    pack_jobs,
    pack_outcomes,
    unpack_end,
    unpack_jobs,
    unpack_outcomes,
)
from bootsteps_pool_processes.load import HELD_MOST, WINDOW_S, Load, RunTimes, WideLoad
from bootsteps_pool_processes.shared import Claims, Slot
from bootsteps_pool_processes.spare import JOBS, REST_S, Spare, trim
from bootsteps_pool_processes.tray import SIZE, Tray


@pytest.mark.parametrize("cut", [1, 7, 13, 64, 100_000])
def test_frames_come_out_whole_however_they_are_cut(cut: int) -> None:
    jobs = [Job(0, b""), Job(2**63, b"payload"), Job(7, b"x" * 1000, soft_time_limit_s=2.5)]
    stream = b"".join(pack_jobs(jobs) + pack_jobs(jobs[:1]))
    inbox = Inbox()
    found: list[Frame[bytes]] = []
    for at in range(0, len(stream), cut):
        inbox.feed(stream[at : at + cut])
        found += inbox.frames()
    assert [unpack_jobs(frame) for frame in found] == [
        [(0, b"", 0.0), (2**63, b"payload", 0.0), (7, b"x" * 1000, 2.5)],
        [(0, b"", 0.0)],
    ]


@pytest.mark.parametrize("cut", [1, 13, 5000, 100_000])
def test_a_child_has_jobs_in_a_tray_which_is_as_large_as_the_largest_frame(cut: int) -> None:
    sizes = [0, 3000, *range(40), SIZE - 100, 5, 70_000, 8, 9000, 10, 11, 12]
    stream = memoryview(b"".join(pack_jobs([Job(seq, bytes([seq]) * size) for seq, size in enumerate(sizes)])))
    assert len(stream) > 6 * SIZE
    theirs, mine = socket.socketpair()
    tray, found = Tray(), []
    with theirs, mine:
        for at in range(0, len(stream), cut):
            theirs.sendall(stream[at : at + cut])
            while select([mine], [], [], 0)[0]:
                assert tray.receive(mine)
                # before the next look: what was here is overwritten then
                found += [(seq, bytes(payload)) for frame in tray.frames() for seq, payload, _ in unpack_jobs(frame)]
        theirs.close()
        assert not tray.receive(mine)
        assert tray.capacity == SIZE, "more is kept only while it is needed"
    assert found == [(seq, bytes([seq]) * size) for seq, size in enumerate(sizes)]


def test_outcomes_travel_with_their_reason() -> None:
    inbox = Inbox()
    inbox.feed(pack_outcomes([Record(1, 0.5, False, b"fine"), Record(2, 0.25, True, b"lost \xff")]))
    (frame,) = inbox.frames()
    fine, lost = unpack_outcomes(frame, 4711)
    assert (fine.seq, fine.payload, fine.lost, fine.runtime_s, fine.pid) == (1, b"fine", None, 0.5, 4711)
    assert (lost.seq, lost.payload, lost.lost, lost.runtime_s) == (2, b"", "lost \ufffd", 0.25)


def test_a_claim_is_had_once() -> None:
    claims = Claims()
    try:
        claims.offer([1, 2, 3, 2**63])
        assert claims.claim() == 1
        assert claims.take_back() == [2, 3, 2**63]
        assert claims.claim() is None
        assert claims.take_back() == []
    finally:
        claims.close()


def test_a_slot_tells_what_runs() -> None:
    slot = Slot()
    assert slot.read() is None
    slot.begin(0, 12.5)
    assert slot.read() == (0, 12.5)
    slot.clear()
    assert slot.read() is None
    slot.close()


def filled(*expected: float) -> Load:
    load = Load()
    for seq, seconds in enumerate(expected):
        load.add(Job(seq, b""), seconds, now=0.0)
    return load


def test_a_child_holds_a_few_milliseconds_beyond_its_running_job() -> None:
    assert filled().takes(3600.0), "an idle child takes anything"
    assert filled(0.001).takes(0.001)
    assert filled(0.001, 0.004).takes(0.001)
    assert not filled(0.001, 0.004, 0.001).takes(0.001)
    assert not filled(1.0).takes(0.001), "nothing goes behind a long one"
    assert not filled(0.001).takes(1.0), "and a long one behind nothing"
    assert not filled(*[1e-6] * HELD_MOST).takes(1e-6)


def test_room_is_counted_in_typical_jobs() -> None:
    assert filled().room(None) == 1
    assert filled(0.001).room(None) == 0
    assert filled().room(1.0) == 1
    assert filled().room(0.001) == 1 + int(WINDOW_S / 0.001)
    assert filled(0.001, 0.002).room(0.001) == 3
    assert filled().room(1e-6) == HELD_MOST
    assert filled(1.0).room(1e-6) == 0


def test_a_child_that_says_nothing_is_overdue_and_stuck_until_it_reports() -> None:
    load = filled(0.001, 0.001)
    assert not load.overdue(0.02)
    assert load.overdue(0.023)
    load.stuck = True
    assert not load.overdue(1.0)
    assert not load.takes(0.001)
    load.reported(1.0)
    assert load.takes(0.001)
    assert not filled(0.001).overdue(9.0), "nothing waits behind it"


def test_run_times_are_weighted_means() -> None:
    times = RunTimes()
    assert times.expected("a") > 1000
    assert times.typical is None
    times.note("a", 1.0)
    times.note("a", 2.0)
    assert times.expected("a") == pytest.approx(1.1)
    assert times.typical == pytest.approx(1.1)
    assert times.expected("b") > 1000


def test_a_wide_load_takes_as_many_as_it_is_wide() -> None:
    load = WideLoad()
    load.width = 2
    assert load.room(None) == 2
    for seq in (1, 2):
        load.add(Job(seq, b""), 3600.0, now=5.0 + seq)
    assert not load.takes(0.001)
    assert load.given == {1: 6.0, 2: 7.0}
    load.width = 1
    assert load.room(None) == 0
    load.remove(1)
    load.remove(2)
    assert load.room(None) == 1
    assert load.given == {}


def test_jobs_to_be_ended_travel_as_their_numbers() -> None:
    inbox = Inbox()
    inbox.feed(pack_end([1, 2**63]))
    (frame,) = inbox.frames()
    assert (frame.kind, unpack_end(frame)) == (END, (1, 2**63))


def resident_mib() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc, whose malloc can be trimmed")
def test_trimming_gives_back_what_lies_before_something_that_is_kept() -> None:
    pieces = [bytearray(2000) for _ in range(40_000)]
    kept = pieces[-1]
    pieces.clear()
    before = resident_mib()
    trim()
    assert before - resident_mib() > 50
    assert len(kept) == 2000


def test_memory_is_trimmed_after_many_jobs_at_rest() -> None:
    timer, trimmed = FakeTimer(), list[int]()
    spare = Spare(timer, lambda: trimmed.append(1))
    spare.note(JOBS - 1)
    timer.advance(10 * REST_S)
    assert (trimmed, timer.pending) == ([], 0)
    spare.note(1)
    timer.advance(REST_S / 2)
    spare.note(1)
    timer.advance(REST_S)
    assert trimmed == [], "it was not at rest"
    timer.advance(REST_S)
    assert (trimmed, timer.pending) == ([1], 0)
    spare.note(JOBS)
    spare.stop()
    timer.advance(10 * REST_S)
    assert trimmed == [1]
