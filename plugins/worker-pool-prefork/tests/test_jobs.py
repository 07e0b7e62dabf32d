"""Jobs and their outcomes, with real children."""

from __future__ import annotations

import itertools
import json
import logging
import os
import signal
import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Fifo, Make


def test_runs_5000_jobs_completely_and_each_child_in_order(bench: Make) -> None:
    b = bench(2)
    payloads = [b"echo %d" % number for number in range(5000)]
    left = iter(payloads)

    def feed() -> None:
        batch = list(itertools.islice(left, b.pool.free()))
        if batch:
            b.submit(*batch)

    b.loop.on_tick.add(feed)
    b.until(lambda: len(b.outcomes) == 5000, 60)
    assert [b.outcomes[seq].payload for seq in range(1, 5001)] == [b"%d" % number for number in range(5000)]
    assert not any(outcome.lost for outcome in b.outcomes.values())
    order = [outcome for batch in b.batches for outcome in batch]
    for pid in b.pids:
        seqs = [outcome.seq for outcome in order if outcome.pid == pid]
        assert seqs, "both children work"
        assert seqs == sorted(seqs)
    assert len(b.batches) < 2500, "outcomes come in batches"


def test_takes_more_than_it_can_start_and_does_all_of_it(bench: Make) -> None:
    b = bench(2)
    seqs = b.submit(*[b"echo %d" % number for number in range(5000)])
    assert [outcome.payload for outcome in b.done(seqs)] == [b"%d" % number for number in range(5000)]
    assert b.pool.idle()


def test_carries_large_payloads_both_ways(bench: Make) -> None:
    b = bench(2)
    large = os.urandom(5_000_000)
    outcomes = b.do(b"echo " + large, b"echo small", b"echo " + large[::-1])
    assert [outcome.payload for outcome in outcomes] == [large, b"small", large[::-1]]
    assert b.loop.watched() == 4, "it listens to two children, and waits for no socket to be writable"


def test_tells_what_is_running_and_how_long_it_ran(bench: Make, fifo: Fifo) -> None:
    b = bench(1)
    job, go_on = fifo()
    (seq,) = b.submit(job)
    pid = b.running(seq)
    assert pid in b.pids
    (running,) = b.pool.running()
    go_on()
    (outcome,) = b.done([seq])
    assert (outcome.payload, outcome.pid) == (b"told", pid)
    assert outcome.runtime_s > 0
    assert running.started > 0
    assert b.pool.running() == []


def test_what_the_runner_raises_loses_that_job_alone(bench: Make) -> None:
    b = bench(1)
    failed, quitted, fine = b.do(b"fail too bad", b"quit", b"echo fine")
    assert failed.lost == "the runner raised ValueError: too bad"
    assert quitted.lost == "the runner raised SystemExit: 1"
    assert fine.payload == b"fine"
    assert {failed.pid, quitted.pid, fine.pid} == set(b.pids)


class Unstorable:
    """Its second flush fails."""

    def start(self) -> None:
        self.flushes = 0

    def run(self, payload: bytes) -> bytes:
        return payload

    def flush(self) -> None:
        self.flushes += 1
        if self.flushes == 2:
            raise OSError("disk full")

    def stop(self) -> None:
        pass


def test_what_could_not_be_flushed_is_lost_and_the_next_is_not(bench: Make) -> None:
    b = bench(1, Unstorable)
    assert b.do(b"one")[0].payload == b"one"
    assert b.do(b"two")[0].lost == "the results could not be stored: OSError: disk full"
    assert b.do(b"three")[0].payload == b"three"


def test_flushes_before_it_reports_and_once_for_a_batch(bench: Make, tmp_path: Path) -> None:
    path = tmp_path / "flushed"

    class Stores:
        def start(self) -> None:
            self.unstored = 0

        def run(self, payload: bytes) -> bytes:
            self.unstored += 1
            return payload

        def flush(self) -> None:
            with path.open("a") as file:
                file.write(f"{self.unstored}\n")
            self.unstored = 0

        def stop(self) -> None:
            pass

    b = bench(1, Stores)
    b.warm("k")
    stored = []
    b.pool.connect(lambda outcomes: stored.append((len(outcomes), sum(map(int, path.read_text().split())))))
    before = sum(map(int, path.read_text().split()))
    flushes = len(path.read_text().split())
    b.submit(*[b"x"] * 60, kind="k")
    b.until(lambda: sum(count for count, _ in stored) == 60)
    reported = before
    for count, durable in stored:
        reported += count
        assert durable >= reported
    assert len(path.read_text().split()) - flushes < 60


def test_a_child_has_no_handler_of_the_parents_and_knows_its_place(bench: Make) -> None:
    def handler(*args: object) -> None:
        raise AssertionError

    numbers = (signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM)
    before = [signal.signal(number, handler) for number in numbers]
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    try:
        b = bench(1)
        (outcome,) = b.do(b"state")
    finally:
        signal.set_wakeup_fd(-1)
        for number, old in zip(numbers, before, strict=True):
            signal.signal(number, old)
        os.close(reader)
        os.close(writer)
    default, ignored = str(signal.SIG_DFL), str(signal.SIG_IGN)
    assert json.loads(outcome.payload) == {
        "index": 0,
        "name": "ForkPoolWorker-1",
        "daemon": False,
        "handlers": [default, default, default, ignored],
        "wakeup": -1,
        "blocked": 0,
    }


def test_a_child_holds_nothing_that_was_opened_for_the_parent_later(bench: Make, tmp_path: Path) -> None:
    b = bench(2)
    before = set(b.pids)
    first = b.do(b"links")[0].payload.decode().split("\n")
    assert not [link for link in first if link.startswith("anon_inode:")], "not the parent's epoll"
    ends = socket.socketpair()
    handler = logging.FileHandler(tmp_path / "late.log")
    logging.getLogger("late").addHandler(handler)
    try:
        b.do(b"kill 9")
        b.ready()
        links = {o.pid: o.payload.decode().split("\n") for o in b.do(b"links", b"links")}
        opened = {os.readlink(f"/proc/self/fd/{end.fileno()}") for end in ends}
    finally:
        logging.getLogger("late").removeHandler(handler)
        handler.close()
        for end in ends:
            end.close()
    (replacement,) = links.keys() - before
    found = links[replacement]
    assert not opened & set(found)
    assert str(tmp_path / "late.log") in found
    for kind in ("socket:", "pipe:", "anon_inode:"):
        assert sum(link.startswith(kind) for link in found) == sum(link.startswith(kind) for link in first)


def test_warns_when_it_forks_while_other_threads_live(bench: Make, caplog: pytest.LogCaptureFixture) -> None:
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="statistics")
    thread.start()
    try:
        bench(2)
    finally:
        stop.set()
        thread.join()
    (record,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "statistics" in record.getMessage()


def test_works_on_the_hub_of_kombu(bench: Make) -> None:
    module = pytest.importorskip("kombu.asynchronous.hub", reason="kombu is not installed with this plugin alone")
    timer = pytest.importorskip("kombu.asynchronous.timer").Timer()
    hub = module.Hub(timer)
    try:
        b = bench(2, hub=hub, timer=timer)
        large = b"x" * 3_000_000
        seqs = b.submit(b"kill 9", b"echo " + large, *[b"echo %d" % number for number in range(500)])
        outcomes = b.done(seqs)
        assert outcomes[0].lost is not None
        assert [o.payload for o in outcomes[1:]] == [large, *[b"%d" % number for number in range(500)]]
        b.pool.stop(5)
    finally:
        hub.close()


def test_a_child_does_not_find_the_event_loop_of_the_parent(bench: Make) -> None:
    module = pytest.importorskip("kombu.asynchronous.hub", reason="kombu is not installed with this plugin alone")

    hub = module.Hub()
    module.set_event_loop(hub)
    try:
        assert bench(1).do(b"loop")[0].payload == b"None"
        assert module.get_event_loop() is hub
    finally:
        hub.close()


def test_info_has_the_keys_of_celery(bench: Make) -> None:
    b = bench(2)
    b.do(*[b"echo"] * 10)
    info = b.pool.info()
    assert (info["max-concurrency"], len(info["processes"]), info["timeouts"]) == (2, 2, [0, 0])
    assert info["writes"]["total"] == 10
    assert info["writes"]["strategy"] == "fair"
    assert sum(map(int, info["writes"]["raw"].split(", "))) == 10
