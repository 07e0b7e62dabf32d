"""A small event loop, and a runner that does what its jobs say."""

import heapq
import itertools
import json
import logging
import os
import selectors
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from billiard.process import current_process

from bootsteps import Job, Outcome, Runner
from bootsteps_pool_processes.nature import Nature
from bootsteps_pool_processes.pool import ProcessPool
from bootsteps_pool_processes.recycle import NEVER, Recycling
from bootsteps_pool_processes.serial import serial
from bootsteps_pool_processes.settings import START_LIMIT_S

FORKED = Nature("prefork", serial)


class Entry:
    def __init__(self, call: Callable[[], Any]) -> None:
        self.call: Callable[[], Any] | None = call

    def cancel(self) -> None:
        self.call = None


class Loop:
    """Hub and timer in one, on `selectors`. Like kombu's hub it keeps one callback for each descriptor."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._numbers = itertools.count()
        self._heap: list[tuple[float, int, Entry]] = []
        self.on_tick: set[Callable[[], Any]] = set()
        #: Seconds, as asked for, but for the limits of children's starts.
        self.delays: list[float] = []

    def add(self, fd: int, callback: Callable[..., Any], flags: int, args: Sequence[Any] = ()) -> None:
        self.remove(fd)
        event = selectors.EVENT_READ if flags & 1 else selectors.EVENT_WRITE
        self._selector.register(fd, event, lambda: callback(*args))

    def add_reader(self, fd: int, callback: Callable[..., Any], *args: Any) -> None:
        self.add(fd, callback, 1, args)

    def add_writer(self, fd: int, callback: Callable[..., Any], *args: Any) -> None:
        self.add(fd, callback, 4, args)

    def remove(self, fd: int) -> None:
        if fd in self._selector.get_map():
            self._selector.unregister(fd)

    def watched(self) -> int:
        return len(self._selector.get_map())

    def call_after(self, secs: float, fun: Callable[..., Any], args: Sequence[Any] = (), **_: Any) -> Entry:
        entry = Entry(lambda: fun(*args))
        if secs != START_LIMIT_S:
            self.delays.append(secs)
        heapq.heappush(self._heap, (time.monotonic() + secs, next(self._numbers), entry))
        return entry

    def call_soon(self, callback: Callable[..., Any], *args: Any) -> None:
        heapq.heappush(self._heap, (0.0, next(self._numbers), Entry(lambda: callback(*args))))

    def run_once(self) -> None:
        for tick in list(self.on_tick):
            tick()
        wait = max(0.0, self._heap[0][0] - time.monotonic()) if self._heap else 0.01
        for key, _ in self._selector.select(min(wait, 0.01)):  # no descriptor tells that a job has started
            key.data()
        while self._heap and self._heap[0][0] <= time.monotonic():
            entry = heapq.heappop(self._heap)[2]
            if entry.call:
                entry.call()

    def close(self) -> None:
        self._selector.close()


def links() -> list[str]:
    """Return what this process's descriptors lead to."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
        except OSError:
            continue  # the listing's own
    return sorted(found)


def wait(path: bytes) -> bytes:
    """Block until somebody opens this named pipe for writing."""
    with open(path, "rb") as pipe:
        return pipe.read()


def state(_: bytes) -> bytes:
    process = current_process()
    facts = {
        "index": process.index,
        "name": process.name,
        "daemon": process.daemon,
        "handlers": [str(signal.getsignal(n)) for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM, signal.SIGINT)],
        "wakeup": signal.set_wakeup_fd(-1),
        "blocked": len(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
    }
    return json.dumps(facts).encode()


def grandchild(_: bytes) -> bytes:
    """Leave a process behind that holds all that this one has open, and die."""
    if os.fork() == 0:
        time.sleep(3)  # what it would do does not matter; it must not outlive the test run
        os._exit(0)
    os._exit(5)


def kill(number: bytes) -> bytes:
    os.kill(os.getpid(), int(number))
    return b""


def spin(ms: bytes) -> bytes:
    """Be busy for so many milliseconds of CPU."""
    ends = time.process_time() + int(ms) / 1000
    while time.process_time() < ends:
        pass
    return ms


def busy(_: bytes) -> bytes:
    while True:
        pass


def sleep(seconds: bytes) -> bytes:
    """Block in C."""
    time.sleep(float(seconds))
    return b"slept"


HOARD: list[bytearray] = []


def hoard(size: bytes) -> bytes:
    """Keep so many bytes of memory in use, and tell who does."""
    HOARD.append(bytearray(b"x") * int(size))
    return str(os.getpid()).encode()


def catch(_: bytes) -> bytes:
    try:
        return busy(b"")
    except TimeoutError as exc:
        return str(exc).encode()


def stubborn(_: bytes) -> bytes:
    """Take no notice of the soft limit."""
    while True:
        with suppress(TimeoutError):
            time.sleep(60)


def fail(reason: bytes) -> bytes:
    raise ValueError(reason.decode())


ACTS: dict[bytes, Callable[[bytes], bytes]] = {
    b"echo": lambda rest: rest,
    b"pid": lambda _: str(os.getpid()).encode(),
    b"wait": wait,
    b"kill": kill,
    b"spin": spin,
    b"loop": lambda _: str(sys.modules["kombu.asynchronous.hub"].get_event_loop()).encode(),
    b"exit": lambda code: os._exit(int(code)),
    b"fail": fail,
    b"quit": lambda _: exit(1),
    b"links": lambda _: "\n".join(links()).encode(),
    b"state": state,
    b"grandchild": grandchild,
    b"busy": busy,
    b"sleep": sleep,
    b"catch": catch,
    b"hoard": hoard,
    b"stubborn": stubborn,
}


class Acts:
    """A runner whose job `verb rest` does what ACTS has under the verb."""

    def start(self) -> None:
        pass

    def run(self, payload: bytes) -> bytes:
        verb, _, rest = payload.partition(b" ")
        return ACTS[verb](rest)

    def flush(self) -> None:
        pass

    def stop(self) -> None:
        pass


class Bench:
    """A pool with its loop, and what it reported."""

    def __init__(
        self, loop: Any, timer: Any, size: int, runner: Callable[[], Runner], recycling: Recycling, nature: Nature
    ) -> None:
        self.loop = loop
        self.announced: list[tuple[str, dict[str, Any]]] = []
        self.batches: list[Sequence[Outcome]] = []
        self.outcomes: dict[int, Outcome] = {}
        self._numbers = itertools.count(1)
        log = logging.getLogger("worker.Pool")
        self.pool = ProcessPool(loop, timer, runner, size, log, self._announce, recycling, nature)
        self.pool.connect(self._take)
        self.pool.start()

    def _announce(self, hook: str, **facts: Any) -> None:
        if hook != "worker_before_create_process":  # whenever a child is made
            self.announced.append((hook, facts))

    def _take(self, outcomes: Sequence[Outcome]) -> None:
        self.batches.append(outcomes)
        for outcome in outcomes:
            assert outcome.seq not in self.outcomes, f"{outcome} was reported before: {self.outcomes[outcome.seq]}"
            self.outcomes[outcome.seq] = outcome

    def until(self, condition: Callable[[], Any], seconds: float = 20.0) -> None:
        ends = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < ends, "it did not come true in time"
            self.loop.run_once()

    def submit(
        self, *payloads: bytes, kind: str | None = None, hard: float | None = None, soft: float | None = None
    ) -> list[int]:
        """Submit jobs, each of the kind of its first word, with these limits in seconds; return their numbers."""
        kinds = [payload.split(b" ")[0].decode() if kind is None else kind for payload in payloads]
        pairs = zip(payloads, kinds, strict=True)
        jobs = [Job(next(self._numbers), payload, name, hard, soft) for payload, name in pairs]
        self.pool.submit(jobs)
        return [job.seq for job in jobs]

    def done(self, seqs: Sequence[int]) -> list[Outcome]:
        """Wait until these are reported, and return their outcomes."""
        self.until(lambda: all(seq in self.outcomes for seq in seqs))
        return [self.outcomes[seq] for seq in seqs]

    def do(self, *payloads: bytes) -> list[Outcome]:
        return self.done(self.submit(*payloads))

    def running(self, seq: int) -> int:
        """Wait until this job is running, and return the child's pid."""
        self.until(lambda: any(job.seq == seq for job in self.pool.running()))
        return next(job.pid for job in self.pool.running() if job.seq == seq)

    @property
    def pids(self) -> list[int]:
        return list(self.pool.info()["processes"])

    def ready(self) -> None:
        """Wait until every child is."""
        crew = self.pool._crew
        self.until(lambda: len(crew.children) == crew.size and all(child.ready for child in crew.children))

    def warm(self, kind: str) -> None:
        """Make a kind known as a short one."""
        self.ready()
        self.done(self.submit(*[b"echo"] * 20, kind=kind))


#: Makes a pool: size, runner, hub, timer.
Make = Callable[..., Bench]
#: A job that waits, and what lets it go on.
Fifo = Callable[[], tuple[bytes, Callable[[], object]]]


def alive(pid: int) -> bool:
    """Tell whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


@pytest.fixture
def bench(loop: Loop) -> Iterator[Make]:
    """Makes a pool of so many children; checks at the end that nothing of it is left."""
    before = links()
    made: list[Bench] = []

    def make(
        size: int = 2,
        runner: Callable[[], Runner] = Acts,
        hub: Any = loop,
        timer: Any = loop,
        recycling: Recycling = NEVER,
        nature: Nature = FORKED,
    ) -> Bench:
        made.append(Bench(hub, timer, size, runner, recycling, nature))
        return made[-1]

    yield make
    for each in made:
        pids = each.pids
        each.pool.terminate()
        assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()], "a child or a zombie is left"
    assert loop.watched() == 0
    assert not Counter(links()) - Counter(before)  # what others left may be closed meanwhile


@pytest.fixture
def fifo(tmp_path: Path) -> Fifo:
    """Makes a job that waits, and the function that lets it go on."""
    numbers = itertools.count()

    def make() -> tuple[bytes, Callable[[], object]]:
        path = tmp_path / f"fifo{next(numbers)}"
        os.mkfifo(path)
        return b"wait " + os.fsencode(path), lambda: path.write_bytes(b"told")

    return make


@pytest.fixture
def is_alive() -> Callable[[int], bool]:
    return alive
