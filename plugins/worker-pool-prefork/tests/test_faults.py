"""Children that die, parents that die, and jobs that take longer than anybody thought."""

from __future__ import annotations

import json
import os
import random
import select
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from billiard.util import register_after_fork

from bootsteps_pool_processes.nature import Nature
from bootsteps_pool_processes.serial import serial

if TYPE_CHECKING:
    from conftest import Fifo, Make


def test_a_killed_job_is_lost_alone_and_its_child_is_replaced_within_a_second(bench: Make, fifo: Fifo) -> None:
    b = bench(2)
    b.ready()
    waiting, go_on = fifo()
    doomed, _ = fifo()
    unharmed, victim = b.submit(waiting, doomed)
    neighbour, pid = b.running(unharmed), b.running(victim)
    rest = b.submit(*[b"echo %d" % number for number in range(200)])
    killed = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    (lost,) = b.done([victim])
    b.until(lambda: len(b.pids) == 2 and pid not in b.pids)
    assert time.monotonic() - killed < 1.0
    assert lost.lost == f"child {pid} was killed by signal 9 (SIGKILL)"
    assert (lost.pid, lost.payload) == (pid, b"")
    assert [outcome.payload for outcome in b.done(rest)] == [b"%d" % number for number in range(200)]
    go_on()
    assert b.done([unharmed])[0].payload == b"told"
    assert neighbour in b.pids
    assert b.announced == [("child_lost", {"pid": pid, "reason": lost.lost})]


def test_what_a_dead_child_had_not_started_runs_elsewhere(bench: Make, fifo: Fifo) -> None:
    b = bench(2)
    b.warm("k")
    payloads = [b"echo %d" % number for number in range(100)]
    payloads[50] = b"kill 9"
    seqs = b.submit(*payloads, kind="k")
    outcomes = dict(zip(seqs, b.done(seqs), strict=True))
    killer = outcomes.pop(seqs[50])
    assert killer.lost == f"child {killer.pid} was killed by signal 9 (SIGKILL)"
    lost = [outcome for outcome in outcomes.values() if outcome.lost]
    # those that were finished in the same two milliseconds and not reported; nothing after the killer
    assert {outcome.lost for outcome in lost} <= {f"{killer.lost} before it reported this job"}
    assert {outcome.pid for outcome in lost} <= {killer.pid}
    assert all(outcome.seq < killer.seq for outcome in lost)
    assert len(lost) < 32
    assert all(outcomes[seq].payload == b"%d" % (seq - seqs[0]) for seq in outcomes if not outcomes[seq].lost)


def test_what_a_child_said_before_it_died_is_heard(bench: Make, is_alive: Callable[[int], bool]) -> None:
    b = bench(1)
    b.warm("k")
    (child,) = b.pool._crew.children
    (fine,) = b.submit(b"echo fine", kind="k")
    assert select.select([child.fd], [], [], 20)[0], "the child has reported, and nobody has read it"
    (fatal,) = b.submit(b"exit 3", kind="k")
    ends = time.monotonic() + 20
    while is_alive(child.pid):
        assert time.monotonic() < ends
        os.sched_yield()
    b.pool.terminate()  # sees that it has ended before it sees that it has spoken
    assert b.outcomes[fine].payload == b"fine"
    assert b.outcomes[fatal].lost == f"child {child.pid} exited with status 3"


@pytest.mark.parametrize(
    ("job", "reason"),
    [
        (b"exit 3", "exited with status 3"),
        (b"exit 0", "exited with status 0"),
        (b"kill %d" % signal.SIGUSR1, f"was killed by signal {int(signal.SIGUSR1)} (SIGUSR1)"),
        (b"grandchild", "exited with status 5"),  # its socket stays open elsewhere
    ],
)
def test_tells_how_a_child_died(bench: Make, job: bytes, reason: str, caplog: pytest.LogCaptureFixture) -> None:
    b = bench(1)
    before = b.pids
    (outcome,) = b.do(job)
    assert outcome.lost == f"child {before[0]} {reason}"
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [outcome.lost]
    assert b.do(b"echo again")[0].payload == b"again"


def test_a_replacement_has_the_place_of_the_one_that_died(bench: Make) -> None:
    b = bench(2)
    b.ready()
    b.do(b"kill 9", b"kill 9")
    b.ready()
    names = {json.loads(outcome.payload)["name"] for outcome in b.do(b"state", b"state")}
    assert names == {"ForkPoolWorker-1", "ForkPoolWorker-2"}


class NeverStarts:
    def start(self) -> None:
        raise RuntimeError("no database")


def test_children_that_die_at_their_start_are_replaced_ever_more_slowly(
    bench: Make, caplog: pytest.LogCaptureFixture
) -> None:
    b = bench(1, NeverStarts)
    b.until(lambda: len(b.loop.delays) == 4)
    assert b.loop.delays == [0.05, 0.1, 0.2, 0.4]
    assert b.pool.free() == 0
    errors = [record.getMessage() for record in caplog.records if "could not start" in record.getMessage()]
    assert len(errors) >= 4
    assert "RuntimeError: no database" in errors[0]
    assert "Traceback" in errors[0]


def test_a_pool_recovers_when_its_children_can_start_again(bench: Make, tmp_path: Path) -> None:
    class StartsAtLast:
        def start(self) -> None:
            with (tmp_path / "starts").open("a") as file:
                file.write("x")
            if (tmp_path / "starts").stat().st_size < 4:
                os._exit(1)

        def run(self, payload: bytes) -> bytes:
            return payload

        def flush(self) -> None:
            pass

        def stop(self) -> None:
            pass

    b = bench(1, StartsAtLast)
    assert b.do(b"job")[0].payload == b"job"


def test_a_child_that_is_not_ready_in_time_is_replaced(
    bench: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class HangsFirst:
        def start(self) -> None:
            with suppress(FileExistsError):
                (tmp_path / "hung").touch(exist_ok=False)
                time.sleep(60)

        def run(self, payload: bytes) -> bytes:
            return payload

        def flush(self) -> None:
            pass

        def stop(self) -> None:
            pass

    b = bench(1, HangsFirst, nature=Nature("prefork", serial, start_limit_s=2.0))
    (first,) = b.pids
    assert b.do(b"job")[0].pid != first
    assert f"child {first} was killed: it was not ready after 2 s (worker_proc_alive_timeout)" in caplog.text
    assert [name for name, _ in b.announced] == ["child_lost"]


class Hold:
    """A library's hold on a connection, which it closes after a fork as politely as kombu's pools do."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        register_after_fork(self, Hold.close)

    def close(self) -> None:
        self.connection.sendall(b"bye")
        assert self.connection.recv(2) == b"ok"


def test_no_hook_that_runs_after_a_fork_speaks_on_the_parents_connections(bench: Make) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as mine,
        server.accept()[0] as theirs,
    ):
        hold = Hold(mine)
        b = bench(2)
        b.ready()
        assert b.do(b"pid")[0].pid in b.pids
        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.recv(1)
        theirs.sendall(b"for the parent")
        assert hold.connection.recv(14) == b"for the parent"


def test_short_jobs_go_on_while_a_child_is_busy(bench: Make, fifo: Fifo) -> None:
    b = bench(2)
    b.warm("echo")
    job, go_on = fifo()
    (slow,) = b.submit(job)
    b.running(slow)
    b.done(b.submit(*[b"echo"] * 500))
    assert slow not in b.outcomes
    go_on()
    b.done([slow])


def test_what_waits_behind_a_job_that_turns_out_long_is_taken_back(bench: Make, fifo: Fifo) -> None:
    b = bench(2)
    b.warm("k")
    job, go_on = fifo()
    (slow, *short) = b.submit(job, *[b"echo %d" % number for number in range(60)], kind="k")
    outcomes = b.done(short)
    assert [outcome.payload for outcome in outcomes] == [b"%d" % number for number in range(60)]
    assert slow not in b.outcomes
    assert b.pool.free() >= 1
    go_on()
    b.done([slow])


def test_what_was_given_to_a_child_that_does_not_run_is_taken_back(bench: Make, fifo: Fifo) -> None:
    b = bench(2)
    b.warm("k")
    stopped = b.pids[0]
    os.kill(stopped, signal.SIGSTOP)
    try:
        seqs = b.submit(*[b"pid"] * 100, kind="k")
        assert {outcome.pid for outcome in b.done(seqs)} == {b.pids[1]}
    finally:
        os.kill(stopped, signal.SIGCONT)
    b.until(lambda: b.pool.free() > 64)  # it says that it is idle, and is given work again
    (one, let_one), (two, let_two) = fifo(), fifo()
    waiting = b.submit(one, two)
    assert {b.running(seq) for seq in waiting} == set(b.pids)
    let_one()
    let_two()
    b.done(waiting)


def test_a_job_of_unknown_length_has_nothing_behind_it(bench: Make, fifo: Fifo) -> None:
    b = bench(2)
    b.ready()
    assert b.pool.free() == 2
    (one, let_one), (two, let_two) = fifo(), fifo()
    seqs = b.submit(one, two, b"echo")
    b.running(seqs[0])
    b.running(seqs[1])
    assert b.pool.free() == 0
    let_two()
    assert b.done(seqs[1:])[1].pid == b.outcomes[seqs[1]].pid
    let_one()
    b.done(seqs)


def test_terminate_ends_the_job_and_nothing_else(bench: Make, fifo: Fifo) -> None:
    b = bench(2)
    b.warm("k")
    (one, _), (two, let_two) = fifo(), fifo()
    doomed, other = b.submit(one, two)
    pid, neighbour = b.running(doomed), b.running(other)
    behind = b.submit(*[b"echo"] * 5, kind="k")
    assert not b.pool.terminate_job(9999, signal.SIGTERM)
    assert b.pool.terminate_job(doomed, signal.SIGTERM)
    (outcome,) = b.done([doomed])
    assert outcome.lost == f"child {pid} was killed by signal 15 (SIGTERM)"
    assert outcome.runtime_s > 0
    assert not any(outcome.lost for outcome in b.done(behind))
    assert b.announced == [], "it was told to go"
    b.until(lambda: len(b.pids) == 2)
    let_two()
    assert b.done([other])[0].pid == neighbour
    assert not b.pool.terminate_job(doomed, signal.SIGTERM)


def test_a_terminated_job_takes_nothing_down_that_was_queued_behind_it(bench: Make, fifo: Fifo) -> None:
    b = bench(1)
    b.warm("k")
    job, _ = fifo()
    (slow, *short) = b.submit(job, *[b"echo"] * 20, kind="k")
    b.running(slow)
    assert b.pool.terminate_job(slow, signal.SIGKILL)
    assert b.done([slow])[0].lost
    assert not any(outcome.lost for outcome in b.done(short))


def test_grows_and_shrinks(bench: Make, fifo: Fifo) -> None:
    b = bench(2)
    b.pool.grow(2)
    assert (b.pool.concurrency, len(b.pids)) == (4, 4)
    b.ready()
    jobs = [fifo() for _ in range(4)]
    seqs = b.submit(*[job for job, _ in jobs])
    pids = [b.running(seq) for seq in seqs]
    assert len(set(pids)) == 4
    jobs[1][1]()
    b.done(seqs[1:2])
    b.pool.shrink(1)
    assert pids[1] not in b.pids, "the idle one goes first"
    b.pool.shrink(1)
    assert (b.pool.concurrency, len(b.pids)) == (2, 2)
    for number in (0, 2, 3):
        jobs[number][1]()
    assert [outcome.payload for outcome in b.done(seqs)] == [b"told"] * 4, "busy ones finish"
    assert [facts for _, facts in b.announced] == [{"size": 4}, {"size": 3}, {"size": 2}]
    with pytest.raises(ValueError, match="must keep one"):
        b.pool.shrink(2)


def test_children_that_are_let_go_end_and_their_place_is_used_again(bench: Make) -> None:
    b = bench(3)
    b.ready()
    before = b.pids
    b.pool.shrink(2)
    (kept,) = b.pids
    b.until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in before if pid != kept))
    b.pool.grow(1)
    b.ready()
    names = {json.loads(outcome.payload)["name"] for outcome in b.do(b"state", b"state")}
    assert names == {"ForkPoolWorker-1", "ForkPoolWorker-2"}


def test_every_job_is_reported_once_whatever_happens_to_the_children(bench: Make) -> None:
    chance = random.Random(4711)
    b = bench(3)
    seqs: list[int] = []
    sent: dict[int, bytes] = {}
    for turn in range(200):
        payloads = [b"spin %d" % chance.choice((0, 0, 0, 0, 1, 5, 30)) for _ in range(chance.randrange(12))]
        if turn % 50 == 25:
            payloads.append(b"exit 7")
        new = b.submit(*payloads, kind=chance.choice(("a", "b")))
        sent |= zip(new, payloads, strict=True)
        seqs += new
        if turn % 30 == 10 and b.pids:
            os.kill(chance.choice(b.pids), signal.SIGKILL)
        if turn % 40 == 20:
            b.pool.grow(1)
        if turn % 40 == 35:
            b.pool.shrink(1)
        if turn % 20 == 5 and b.pool.running():
            b.pool.terminate_job(chance.choice(b.pool.running()).seq, signal.SIGTERM)
        b.loop.run_once()
    b.done(seqs)
    assert sorted(b.outcomes) == seqs, "none twice (the bench sees to that), none left out"
    for seq in seqs:
        outcome = b.outcomes[seq]
        assert (outcome.payload == sent[seq][5:] and not outcome.lost) or (outcome.lost and outcome.pid)
    assert b.pool.idle()
    assert b.pool.concurrency == 3
    assert sum(outcome.lost is not None for outcome in b.outcomes.values()) < len(seqs) / 5


def test_stop_lets_running_and_queued_jobs_finish(bench: Make, tmp_path: Path) -> None:
    class Slow:
        """Each job takes 20 ms of CPU; `stop` leaves a mark."""

        def start(self) -> None:
            pass

        def run(self, payload: bytes) -> bytes:
            ends = time.process_time() + 0.02
            while time.process_time() < ends:
                pass
            return payload

        def flush(self) -> None:
            pass

        def stop(self) -> None:
            (tmp_path / str(os.getpid())).touch()

    b = bench(2, Slow)
    b.ready()
    pids = b.pids
    seqs = b.submit(*[b"x"] * 10)
    b.pool.stop(20)
    assert {b.outcomes[seq].payload for seq in seqs} == {b"x"}
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == sorted(pids)
    assert b.pids == []


def test_stop_kills_what_takes_longer_than_its_patience(bench: Make, fifo: Fifo) -> None:
    b = bench(2)
    job, _ = fifo()
    (seq,) = b.submit(job)
    pid = b.running(seq)
    b.pool.stop(0.05)
    assert b.outcomes[seq].lost == f"child {pid} was killed by signal 15 (SIGTERM)"


def test_terminate_kills_also_those_that_ignore_term(bench: Make, tmp_path: Path) -> None:
    class Stubborn:
        def start(self) -> None:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)

        def run(self, payload: bytes) -> bytes:
            signal.pause()
            return b""

        def flush(self) -> None:
            pass

        def stop(self) -> None:
            pass

    b = bench(1, Stubborn)
    (seq,) = b.submit(b"x")
    pid = b.running(seq)
    b.pool.terminate()
    assert b.outcomes[seq].lost == f"child {pid} was killed by signal 9 (SIGKILL)"
    assert b.announced == []


def test_a_pool_starts_again_after_its_stop(bench: Make) -> None:
    b = bench(2)
    b.ready()
    began = time.monotonic()
    b.pool.stop(5)
    assert time.monotonic() - began < 0.5, "idle children go at once"
    assert b.pool.free() == 0
    b.pool.start()
    assert b.do(b"echo again")[0].payload == b"again"


PARENT = """
import logging, os, signal, sys, threading
from bootsteps import Job
from bootsteps.testing import FakeHub, FakeTimer
from bootsteps_pool_processes.pool import ProcessPool

class Runner:
    def start(self): pass
    def flush(self): pass
    def stop(self): pass
    def run(self, payload):
        while True:
            signal.pause()

hub = FakeHub()
pool = ProcessPool(hub, FakeTimer(), Runner, 2, logging.getLogger())
pool.start()
while not pool.free():
    for fd in list(hub.callbacks):
        hub.ready(fd)
pool.submit([Job(1, b"x")])
while not pool.running():
    pass
print(*pool.info()["processes"], flush=True)
signal.pause()
"""


def test_no_child_outlives_a_parent_that_was_killed(is_alive: Callable[[int], bool]) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    try:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        assert all(is_alive(pid) for pid in pids)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    ends = time.monotonic() + 5
    while any(is_alive(pid) for pid in pids) and time.monotonic() < ends:
        os.sched_yield()
    orphans = [pid for pid in pids if is_alive(pid)]
    for pid in orphans:
        os.kill(pid, signal.SIGKILL)
    assert not orphans
