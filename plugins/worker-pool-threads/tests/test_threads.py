"""The pool of threads: one queue, one runner for each thread, outcomes in the loop's thread."""

from __future__ import annotations

import ctypes
import itertools
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from bootsteps import HUB, POOL, RUNNER, App, Job, KernelError, Outcome
from bootsteps.cores import usable_cores
from bootsteps.testing import FakeHub, check_step, lifetime, make_blueprint
from bootsteps_worker_pool_threads.pool import ThreadPool as Pool
from bootsteps_worker_pool_threads.step import ThreadPool

LIMIT_S = 20.0


class Loop(FakeHub):
    """A hub whose turn waits a little for what other threads ask for."""

    def __init__(self) -> None:
        super().__init__()
        self._calls: queue.SimpleQueue[Callable[[], Any]] = queue.SimpleQueue()

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> None:
        self._calls.put(lambda: callback(*args))

    def run_once(self) -> None:
        try:
            self._calls.get(timeout=0.01)()
        except queue.Empty:
            return


class Acts:
    """Does what the payload says, and writes down what it is asked, with the thread."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._ran: list[bytes] = []

    def start(self) -> None:
        self._bench.note("start")
        if self._bench.broken_starts:
            self._bench.broken_starts -= 1
            raise OSError("no disk")

    def run(self, payload: bytes) -> bytes:
        verb, _, rest = payload.partition(b" ")
        if verb == b"exit":
            raise SystemExit(3)
        if verb == b"wait":
            assert self._bench.gates[rest].wait(LIMIT_S)
        if verb == b"badflush":
            self._bench.broken_flush = True
        self._ran.append(payload)
        return str(threading.get_ident()).encode() if verb == b"thread" else rest

    def flush(self) -> None:
        if self._bench.broken_flush:
            self._bench.broken_flush = False
            raise OSError("disk full")
        self._bench.flushed.extend(self._ran)
        self._ran.clear()

    def stop(self) -> None:
        self._bench.note("stop")


class Bench:
    """A pool with its loop, and what it reported."""

    def __init__(self, size: int) -> None:
        self.loop = Loop()
        self.notes: list[tuple[str, int]] = []
        self.flushed: list[bytes] = []
        self.gates: dict[bytes, threading.Event] = {}
        self.broken_starts, self.broken_flush = 0, False
        self.batches: list[Sequence[Outcome]] = []
        self.outcomes: dict[int, Outcome] = {}
        self.order: list[int] = []
        self.payloads: dict[int, bytes] = {}
        self.announced: list[tuple[str, dict[str, Any]]] = []
        self._numbers = itertools.count(1)
        self.pool = Pool(
            self.loop, lambda: Acts(self), size, logging.getLogger("worker.Pool"),
            lambda hook, **facts: self.announced.append((hook, facts)),
        )  # fmt: skip
        self.pool.connect(self._take)

    def note(self, what: str) -> None:
        self.notes.append((what, threading.get_ident()))

    def _take(self, outcomes: Sequence[Outcome]) -> None:
        assert threading.current_thread() is threading.main_thread()
        self.batches.append(outcomes)
        for outcome in outcomes:
            assert outcome.seq not in self.outcomes, f"{outcome} was reported before"
            if outcome.lost is None:
                assert self.payloads[outcome.seq] in self.flushed, "it was reported before it was flushed"
            self.outcomes[outcome.seq] = outcome
            self.order.append(outcome.seq)

    def until(self, condition: Callable[[], Any]) -> None:
        ends = time.monotonic() + LIMIT_S
        while not condition():
            assert time.monotonic() < ends, "it did not come true in time"
            self.loop.run_once()

    def submit(self, *payloads: bytes) -> list[int]:
        jobs = [Job(next(self._numbers), payload, payload.split(b" ")[0].decode()) for payload in payloads]
        self.payloads |= {job.seq: job.payload for job in jobs}
        self.pool.submit(jobs)
        return [job.seq for job in jobs]

    def done(self, seqs: Sequence[int]) -> list[Outcome]:
        self.until(lambda: all(seq in self.outcomes for seq in seqs))
        return [self.outcomes[seq] for seq in seqs]

    def do(self, *payloads: bytes) -> list[Outcome]:
        return self.done(self.submit(*payloads))

    def hold(self, count: int) -> tuple[list[int], Callable[[], None]]:
        """Occupy so many threads; return the jobs and what lets them go on."""
        name = str(len(self.gates)).encode()
        self.gates[name] = threading.Event()
        seqs = self.submit(*[b"wait " + name] * count)
        self.until(lambda: set(seqs) <= {job.seq for job in self.pool.running()})
        return seqs, self.gates[name].set

    def ready(self) -> None:
        self.until(lambda: self.pool.free() >= self.pool.concurrency)

    def start(self) -> None:
        self.pool.start()
        self.ready()


def ours() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("PoolThread-")]


@pytest.fixture
def make() -> Iterator[Callable[[int], Bench]]:
    """Makes a pool of so many threads and starts it; checks at the end that no thread is left."""
    made: list[Bench] = []

    def start(size: int) -> Bench:
        made.append(Bench(size))
        made[-1].start()
        return made[-1]

    yield start
    for bench in made:
        for gate in bench.gates.values():
            gate.set()
        bench.pool.stop(LIMIT_S)
    for thread in ours():
        thread.join(LIMIT_S)
    assert not ours()


def test_five_thousand_jobs_over_four_threads(make):
    bench = make(4)
    seqs: list[int] = []
    while len(seqs) < 5000:
        seqs += bench.submit(*[b"echo %d" % (len(seqs) + n) for n in range(min(bench.pool.free(), 5000 - len(seqs)))])
        bench.loop.run_once()
    assert [outcome.payload for outcome in bench.done(seqs)] == [b"%d" % n for n in range(5000)]
    assert {outcome.pid for outcome in bench.outcomes.values()} == {os.getpid()}
    assert bench.pool.idle()
    assert bench.pool.running() == []


def test_each_thread_has_a_runner_that_starts_and_stops_in_it(make):
    bench = make(3)
    bench.do(*[b"echo"] * 30)
    bench.pool.stop(LIMIT_S)
    started = [thread for what, thread in bench.notes if what == "start"]
    stopped = [thread for what, thread in bench.notes if what == "stop"]
    assert len(set(started)) == 3
    assert sorted(started) == sorted(stopped)
    assert threading.get_ident() not in started
    assert bench.pool.free() == 0


def test_short_jobs_do_not_wait_behind_a_long_one(make):
    bench = make(2)
    [long], let_go = bench.hold(1)
    seqs = bench.submit(*[b"echo %d" % n for n in range(100)])
    bench.done(seqs)
    assert long not in bench.outcomes
    assert [job.seq for job in bench.pool.running()] == [long]
    let_go()
    assert bench.done([long])[0].runtime_s > 0
    assert bench.order[-1] == long


def test_one_thread_keeps_the_order(make):
    bench = make(1)
    seqs = bench.submit(*[b"echo %d" % n for n in range(200)])
    bench.done(seqs)
    assert bench.order == seqs
    assert len(bench.batches) < 200  # known as short by then, so some of them were reported together


def test_asks_for_more_than_it_has_threads_only_while_jobs_are_short(make):
    bench = make(2)
    assert bench.pool.free() == 2
    bench.do(*[b"echo"] * 50)
    assert bench.pool.free() > 2
    seqs, let_go = bench.hold(2)
    bench.until(lambda: bench.pool.free() == 0)
    let_go()
    bench.done(seqs)


def test_an_outcome_does_not_wait_behind_a_job_that_is_not_known_as_short(make):
    bench = make(1)
    bench.do(*[b"echo"] * 50)
    [short] = bench.submit(b"echo")
    [held], let_go = bench.hold(1)
    bench.done([short])
    assert held not in bench.outcomes
    let_go()


def test_a_runner_that_raises_costs_its_job_only(make):
    bench = make(1)
    threads = {bench.do(b"thread")[0].payload}
    lost, fine = bench.do(b"exit", b"echo fine")
    assert lost.lost == "the runner raised SystemExit: 3"
    assert fine.payload == b"fine"
    assert {bench.do(b"thread")[0].payload} == threads


def test_what_cannot_be_flushed_is_lost(make):
    bench = make(1)
    assert bench.do(b"badflush")[0].lost == "the results could not be stored: OSError: disk full"
    assert bench.do(b"echo x")[0].payload == b"x"


def raise_in(thread: int, error: type[BaseException]) -> None:
    """Raise in another thread, as libraries for timeouts do."""
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error)) == 1


def test_a_thread_that_dies_is_replaced_and_its_job_is_reported_lost(make, caplog):
    bench = make(1)
    first = int(bench.do(b"thread")[0].payload)
    for _ in range(5):  # it waits in the queue: what is raised there hits it with the next job in its hands
        victim = int(bench.do(b"thread")[0].payload)
        raise_in(victim, KeyboardInterrupt)
        [outcome] = bench.do(b"echo")
        assert outcome.lost == "thread PoolThread-1 died of KeyboardInterrupt: "
        bench.until(lambda: bench.pool.free() >= 1)
    assert "PoolThread-1 died of KeyboardInterrupt" in caplog.text
    assert bench.do(b"echo x")[0].payload == b"x"
    assert bench.pool.concurrency == len(ours()) == 1
    assert first in {thread for what, thread in bench.notes if what == "stop"}


def test_a_runner_that_cannot_start_is_tried_again_and_logged(caplog):
    bench = Bench(1)
    bench.broken_starts = 3
    bench.pool.start()
    bench.ready()
    assert caplog.text.count("thread PoolThread-1 could not start its runner") == 3
    assert "no disk" in caplog.text
    assert bench.do(b"echo x")[0].payload == b"x"
    bench.pool.stop(LIMIT_S)
    assert not ours()


def test_grows_and_shrinks(make):
    bench = make(2)
    bench.pool.grow(2)
    held, let_go = bench.hold(4)
    assert bench.pool.concurrency == 4
    bench.pool.shrink(3)
    let_go()
    bench.done(held)
    [one], let_go = bench.hold(1)
    [waits] = bench.submit(b"echo")
    bench.until(lambda: bench.pool._desk.leave.empty())
    assert waits not in bench.outcomes
    assert bench.pool.info() == {"implementation": "bootsteps:threads", "max-concurrency": 1, "threads": 1}
    bench.pool.grow()
    bench.done([waits])  # by one that had left
    let_go()
    bench.done([one])
    assert len(ours()) == 4
    assert bench.announced == [("pool_resized", {"size": size}) for size in (4, 1, 2)]


def test_shrinking_takes_idle_threads_first(make):
    bench = make(2)
    [busy], let_go = bench.hold(1)
    bench.pool.shrink()
    bench.until(lambda: bench.pool._desk.leave.empty())
    assert [job.seq for job in bench.pool.running()] == [busy]
    let_go()
    bench.done([busy])
    assert bench.do(b"echo x")[0].payload == b"x"


def test_keeps_one_thread(make):
    with pytest.raises(ValueError, match="has 2 threads and must keep one: it cannot shrink by 2"):
        make(2).pool.shrink(2)


def test_a_stop_waits_for_what_runs(make):
    bench = make(2)
    held, let_go = bench.hold(2)
    [queued] = bench.submit(b"echo x")
    threading.Timer(0.2, let_go).start()
    bench.pool.stop(LIMIT_S)
    assert [bench.outcomes[seq].lost for seq in (*held, queued)] == [None, None, None]
    assert not ours()


def test_a_stop_waits_no_longer_than_it_may(make):
    bench = make(2)
    [held], let_go = bench.hold(1)
    began = time.monotonic()
    bench.pool.stop(0.2)
    assert 0.2 <= time.monotonic() - began < 5
    assert bench.outcomes[held].lost == "the worker ended while a thread was running it"
    assert "stop" not in [what for what, _ in bench.notes]  # it would close what the other one uses
    let_go()


def test_a_cold_end_waits_for_nothing_and_reports_nothing_later(make):
    bench = make(1)
    [held], let_go = bench.hold(1)
    [queued] = bench.submit(b"echo")
    bench.pool.terminate()
    assert list(bench.outcomes) == [held]
    assert all(thread.daemon for thread in ours())
    let_go()
    bench.until(lambda: not ours())
    bench.loop.run_once()
    assert queued not in bench.outcomes
    assert bench.flushed == []


def test_idle_threads_end_beside_one_that_hangs_also_when_told_twice(make):
    for _ in range(20):
        bench = make(8)
        _, let_go = bench.hold(1)
        bench.pool.stop(0.0)
        bench.pool.terminate()
        bench.until(lambda: len(ours()) == 1)
        let_go()
        bench.until(lambda: not ours())


def test_a_listener_that_raises_does_not_keep_the_pool_from_stopping(make, caplog):
    bench = make(1)

    def refuse(outcomes: Sequence[Outcome]) -> None:
        raise RuntimeError("broken connection")

    bench.pool.connect(refuse)
    bench.submit(b"echo")
    bench.pool.stop(LIMIT_S)
    assert "broken connection" in caplog.text
    assert not ours()


def test_no_job_can_be_ended_by_a_signal(make):
    bench = make(1)
    [held], let_go = bench.hold(1)
    assert bench.pool.terminate_job(held, 15) is False
    let_go()
    assert bench.done([held])[0].lost is None


def test_the_step_is_the_pool_and_busy_while_it_has_jobs():
    bench = Bench(1)
    with lifetime(ThreadPool, {HUB: bench.loop, RUNNER: lambda: Acts(bench)}, worker_concurrency=2) as worker:
        pool = worker.get(POOL)
        assert isinstance(pool, Pool)
        bench.pool = pool
        bench.pool.connect(bench._take)
        bench.ready()
        seqs, let_go = bench.hold(2)
        assert not worker.blueprint.idle()
        let_go()
        bench.done(seqs)
        assert worker.blueprint.idle()
        assert worker.blueprint.info()["pool"]["threads"] == 2
    assert not ours()


def test_keeps_the_contract():
    check_step(ThreadPool, {RUNNER: lambda: Acts(Bench(1))}, worker_concurrency=2)
    assert not ours()


def test_has_as_many_threads_as_cores():
    with lifetime(ThreadPool, {HUB: FakeHub(), RUNNER: lambda: Acts(Bench(1))}) as worker:
        assert worker.get(POOL).concurrency == usable_cores()


def test_a_pool_without_threads_is_refused_in_three_parts():
    blueprint = make_blueprint([ThreadPool], {HUB: FakeHub(), RUNNER: Acts}, App(worker_concurrency=-1))
    with pytest.raises(KernelError, match=r"worker_concurrency is -1(.|\n)*worker_pool_threads(.|\n)*try: -c 1"):
        blueprint.apply()
