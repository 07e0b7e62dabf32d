"""What every pool is tried with: a small event loop, jobs whose runs are known, and a check of the contract."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import json
import os
import select
import selectors
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from bootsteps.services import HUB, POOL, RUNNER, TIMER, Job, Outcome, Pool, Runner, ServiceKey
from bootsteps.testing import lifetime

__all__ = ["Loop", "PoolBench", "TrialRunner", "check_pool", "pool_bench"]


class _Entry:
    def __init__(self, call: Callable[[], Any]) -> None:
        self.call: Callable[[], Any] | None = call

    def cancel(self) -> None:
        self.call = None


class Loop:
    """Hub and timer in one. Like kombu's hub it keeps one callback for each descriptor."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._numbers = itertools.count()
        self._heap: list[tuple[float, int, _Entry]] = []
        self._lock = threading.Lock()
        self.on_tick: set[Callable[[], Any]] = set()

    def add(self, fd: Any, callback: Callable[..., Any], flags: int, args: Sequence[Any] = ()) -> None:
        self.remove(fd)
        event = selectors.EVENT_READ if flags & 1 else selectors.EVENT_WRITE
        self._selector.register(fd, event, lambda: callback(*args))

    def add_reader(self, fds: Any, callback: Callable[..., Any], *args: Any) -> None:
        self.add(fds, callback, select.POLLIN, args)

    def add_writer(self, fds: Any, callback: Callable[..., Any], *args: Any) -> None:
        self.add(fds, callback, select.POLLOUT, args)

    def remove(self, fd: Any) -> None:
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> Any:
        return self._push(0.0, lambda: callback(*args))

    def call_after(self, secs: float, fun: Callable[..., Any], args: Sequence[Any] = (), *_: Any, **__: Any) -> _Entry:
        return self._push(time.monotonic() + secs, lambda: fun(*args))

    def call_at(self, eta: Any, fun: Callable[..., Any], args: Sequence[Any] = (), *_: Any, **__: Any) -> _Entry:
        return self._push(float(eta), lambda: fun(*args))

    def call_repeatedly(
        self, secs: float, fun: Callable[..., Any], args: Sequence[Any] = (), *_: Any, **__: Any
    ) -> _Entry:
        def again() -> None:
            if entry.call is not None:
                fun(*args)
                inner = self._push(time.monotonic() + secs, again)
                del inner

        entry = self._push(time.monotonic() + secs, lambda: None)
        entry.call = again
        return entry

    def _push(self, due: float, call: Callable[[], Any]) -> _Entry:
        entry = _Entry(call)
        with self._lock:  # call_soon is for any thread
            heapq.heappush(self._heap, (due, next(self._numbers), entry))
        return entry

    def run_once(self) -> None:
        for tick in list(self.on_tick):
            tick()
        wait = max(0.0, self._heap[0][0] - time.monotonic()) if self._heap else 0.005
        for key, _ in self._selector.select(min(wait, 0.005)):  # other threads do not wake it
            key.data()
        while self._heap and self._heap[0][0] <= time.monotonic():
            with self._lock:
                entry = heapq.heappop(self._heap)[2]
            if entry.call:
                entry.call()

    def close(self) -> None:
        self._selector.close()


def _spin(_: str) -> None:
    while True:
        pass


def _block(seconds: str) -> None:
    """Wait in C and keep the interpreter's lock, so that no other thread and no event loop of the process goes on."""
    import ctypes

    ends = time.monotonic() + float(seconds)
    while (left := ends - time.monotonic()) > 0:
        ctypes.PyDLL(None).poll(None, 0, int(left * 1000) + 1)


def _hold(gate: str) -> None:
    while not os.path.exists(gate):
        time.sleep(0.01)


#: What the first word of a job does, with the rest.
ACTS: dict[str, Callable[[str], Any]] = {
    "echo": str,
    "pid": lambda _: os.getpid(),
    "sleep": lambda seconds: time.sleep(float(seconds)),
    "hold": _hold,
    "spin": _spin,
    "block": _block,
    "fail": lambda text: 1 / 0,
    "exit": lambda code: os._exit(int(code)),
}


class TrialRunner:
    """A runner for all kinds of pools. A job is text: a verb of `ACTS`, or `await SECONDS`, and its argument.

    `hold PATH` goes on until that file is there.
    """

    def start(self) -> None: ...

    def flush(self) -> None: ...

    def stop(self) -> None: ...

    def run(self, payload: bytes) -> bytes:
        verb, _, rest = payload.decode().partition(" ")
        if verb == "await":
            asyncio.run(asyncio.sleep(float(rest)))
            return b"null"
        return json.dumps(ACTS[verb](rest)).encode()

    def overdue(self, payload: bytes, limit_s: float) -> BaseException:
        return TimeoutError(f"the soft time limit of {limit_s:g} s is over")

    async def run_async(self, payload: bytes) -> bytes:
        """Do it in the event loop, also what blocks it."""
        verb, _, rest = payload.decode().partition(" ")
        if verb == "await":
            await asyncio.sleep(float(rest))
            return b"null"
        while verb == "hold" and not os.path.exists(rest):
            await asyncio.sleep(0.01)
        return self.run(payload)


class PoolBench:
    """A pool that was started, with its loop, and what it reported."""

    def __init__(self, pool: Pool, loop: Any) -> None:
        self.pool, self.loop = pool, loop
        self.outcomes: dict[int, Outcome] = {}
        self._numbers = itertools.count(1)
        pool.connect(self._take)

    def _take(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            assert outcome.seq not in self.outcomes, f"{outcome} was reported before: {self.outcomes[outcome.seq]}"
            self.outcomes[outcome.seq] = outcome

    def until(self, condition: Callable[[], Any], seconds: float = 30.0) -> None:
        """Turn the loop until this is true; AssertionError when it does not come true in time."""
        ends = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < ends, "it did not come true in time"
            self.loop.run_once()

    def submit(self, *payloads: str, hard: float | None = None, soft: float | None = None) -> list[int]:
        """Submit jobs with these limits in seconds as the pool takes them; return their numbers."""
        jobs = [Job(next(self._numbers), text.encode(), text.split()[0], hard, soft) for text in payloads]
        at = 0
        while at < len(jobs):
            self.until(self.pool.free)
            number = self.pool.free()
            self.pool.submit(jobs[at : at + number])
            at += number
        return [job.seq for job in jobs]

    def done(self, seqs: Sequence[int], seconds: float = 30.0) -> list[Outcome]:
        """Wait until these are reported, and return their outcomes."""
        self.until(lambda: all(seq in self.outcomes for seq in seqs), seconds)
        return [self.outcomes[seq] for seq in seqs]

    def do(self, *payloads: str) -> list[Outcome]:
        """Submit jobs, and return their outcomes."""
        return self.done(self.submit(*payloads))

    def running(self, seqs: Sequence[int]) -> None:
        """Wait until these run."""
        self.until(lambda: set(seqs) <= {job.seq for job in self.pool.running()})


@contextmanager
def pool_bench(
    step: type, runner: Callable[[], Runner] = TrialRunner, loop: Any = None, **settings: Any
) -> Iterator[PoolBench]:
    """Yield the pool that the step lends, started with these settings, and stop it at the end."""
    loop = Loop() if loop is None else loop
    services: dict[ServiceKey[Any], Any] = {HUB: loop, TIMER: loop, RUNNER: runner}
    try:
        with lifetime(step, services, **settings) as worker:
            yield PoolBench(worker.get(POOL), loop)
    finally:
        loop.close()


def check_pool(step: type, **settings: Any) -> None:
    """Check what every pool promises, and of what its step declares: growing, shrinking, termination, hard limits.

    The step is made with `settings` (the size, say). Raises AssertionError with what is wrong.
    """
    with pool_bench(step, **settings) as bench:
        declared = frozenset(getattr(step, "capabilities", ()))
        assert bench.pool.capabilities == declared, f"step and pool declare the same: {bench.pool.capabilities}"
        _runs_and_reports(bench)
        _resizes(bench)
        _restarts(bench)
        _ends_jobs(bench)


def _runs_and_reports(bench: PoolBench) -> None:
    echoes = [f"echo {number}" for number in range(300)]
    assert [outcome.payload for outcome in bench.do(*echoes)] == [f'"{number}"'.encode() for number in range(300)]
    (failed,) = bench.do("fail now")
    assert "ZeroDivisionError" in str(failed.lost), f"a runner that raises: {failed}"
    info = bench.pool.info()
    assert json.loads(json.dumps(info)) == info, f"info() as JSON is something else: {info}"
    assert info["max-concurrency"] == bench.pool.concurrency
    assert bench.pool.running() == [], "nothing runs"


def _resizes(bench: PoolBench) -> None:
    pool, able = bench.pool, bench.pool.capabilities
    before = pool.concurrency
    if "grow" in able:
        pool.grow(2)
        assert pool.concurrency == before + 2, f"grown by 2 from {before}: {pool.concurrency}"
        bench.until(lambda: pool.free() >= pool.concurrency)
        with tempfile.TemporaryDirectory() as folder:
            gate = Path(folder, "gate")
            held = bench.submit(*[f"hold {gate}"] * pool.concurrency)
            bench.running(held)
            if "shrink" in able:
                pool.shrink(2)
                assert pool.concurrency == before, f"shrunk by 2 from {before + 2}: {pool.concurrency}"
            gate.touch()
            assert [outcome.lost for outcome in bench.done(held)] == [None] * len(held), "what runs is finished"
    if "shrink" in able:
        for number in (pool.concurrency, pool.concurrency + 1):
            with suppress(ValueError):
                pool.shrink(number)
                raise AssertionError(f"a pool of {pool.concurrency} shrank by {number}, and must keep one")


def _restarts(bench: PoolBench) -> None:
    if "restart" not in bench.pool.capabilities:
        bench.pool.restart()
        return
    (nap,) = bench.submit("sleep 0.5")
    bench.running([nap])
    old = set(bench.pool.info()["processes"])
    bench.pool.restart()
    (outcome,) = bench.done([nap])
    assert outcome.lost is None, f"what runs is finished: {outcome}"
    bench.until(lambda: not old & set(bench.pool.info()["processes"]))
    bench.until(lambda: len(bench.pool.info()["processes"]) == len(old))
    assert not old & {json.loads(outcome.payload) for outcome in bench.do("pid", "pid")}, (
        "the old ones run nothing more"
    )


def _ends_jobs(bench: PoolBench) -> None:
    able = bench.pool.capabilities
    verb = "await" if "coroutines" in able else "sleep"
    (seq,) = bench.submit(f"{verb} 0.3" if "terminate" not in able else f"{verb} 60")
    bench.running([seq]) if bench.pool.free() or "terminate" in able else None
    assert bench.pool.terminate_job(10**9, 15) is False, "there is no such job"
    assert bench.pool.terminate_job(seq, 15) is ("terminate" in able), "terminate_job does what is declared"
    (outcome,) = bench.done([seq])
    assert (outcome.lost is not None) is ("terminate" in able), f"terminated: {outcome}"
    if "hard_limit" in able:
        (outcome,) = bench.done(bench.submit(f"{verb} 60", hard=0.2))
        assert outcome.timed_out == 0.2, f"at its hard limit: {outcome}"
        assert outcome.lost, f"at its hard limit: {outcome}"
    if "soft_limit" in able:
        (outcome,) = bench.done(bench.submit(f"{verb} 60", soft=0.2))
        assert outcome.timed_out is None, f"at its soft limit: {outcome}"
        assert "TimeoutError" in str(outcome.lost), f"at its soft limit: {outcome}"
    assert bench.do("echo on")[0].payload == b'"on"', "and goes on"
