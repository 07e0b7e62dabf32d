"""Children that have done their share are replaced, and nothing is lost by it."""

from __future__ import annotations

import json
import logging
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bootsteps import HUB, RUNNER, TIMER, App, KernelError, Runner, ServiceKey
from bootsteps.testing import FakeHub, FakeTimer, make_blueprint
from bootsteps_pool_processes.recycle import Recycling, Share, used_kib
from bootsteps_worker_pool_prefork.step import PreforkPool

if TYPE_CHECKING:
    from conftest import Make


@pytest.mark.parametrize("most", [1, 7])
def test_a_child_runs_just_so_many_jobs_and_nothing_is_lost(bench: Make, most: int) -> None:
    b = bench(2, recycling=Recycling(jobs=most))
    outcomes = b.done(b.submit(*[b"pid"] * 70))
    assert [outcome.lost for outcome in outcomes] == [None] * 70
    assert {outcome.pid for outcome in outcomes} == {int(outcome.payload) for outcome in outcomes}
    runs = Counter(outcome.pid for outcome in outcomes)
    assert max(runs.values()) == most
    assert len(runs) >= 70 // most
    assert b.announced == [], "no child was lost"
    assert b.pool.info()["max-tasks-per-child"] == most


def test_what_waits_in_a_batch_behind_the_last_job_runs_elsewhere(bench: Make) -> None:
    b = bench(2, recycling=Recycling(jobs=25))
    b.warm("k")  # so the next are given in batches
    outcomes = b.done(b.submit(*[b"echo %d" % number for number in range(2000)], kind="k"))
    assert [outcome.payload for outcome in outcomes] == [b"%d" % number for number in range(2000)]
    assert max(Counter(outcome.pid for outcome in outcomes).values()) == 25
    assert any(len(batch) > 1 for batch in b.batches), "they came in batches"


def test_the_replacement_has_the_index_and_comes_at_once(bench: Make, caplog: pytest.LogCaptureFixture) -> None:
    b = bench(1, recycling=Recycling(jobs=1))
    with caplog.at_level(logging.INFO):
        states = [json.loads(outcome.payload) for outcome in b.done(b.submit(*[b"state"] * 4))]
        b.until(lambda: caplog.text.count("is replaced: it has run 1 jobs") == 4)
    assert {(state["index"], state["name"]) for state in states} == {(0, "ForkPoolWorker-1")}
    told = [record.levelname for record in caplog.records if "forking while other threads" not in record.message]
    assert told == ["INFO"] * 4
    assert [delay for delay in b.loop.delays if delay > 0.02] == [], "no pause as after a child that dies at its start"


def test_a_child_that_uses_too_much_memory_is_replaced_after_its_job(
    bench: Make, caplog: pytest.LogCaptureFixture
) -> None:
    b = bench(1, recycling=Recycling(memory_kib=used_kib() + 60_000))
    b.ready()
    (pid,) = b.pids
    own = b"%d" % pid
    with caplog.at_level(logging.INFO):
        assert [outcome.payload for outcome in b.do(b"pid", b"hoard 20000000", b"pid")] == [own] * 3
        greedy, after = b.do(b"hoard 300000000", b"pid")
    assert greedy.payload == own, "the job that goes beyond is finished"
    assert after.payload not in (own, b"")
    assert f"child {pid} is replaced: it uses " in caplog.text


def test_memory_is_what_is_resident_now() -> None:
    share = Share(Recycling(memory_kib=1))
    resident = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    assert abs(used_kib() - int(resident.split()[1])) < 4096
    assert "KiB of memory, and 1 are allowed" in str(share.used_up())
    assert Share(Recycling(memory_kib=10**9)).used_up() is None


class Stores:
    """Writes at its flush what it ran, so that it is seen that nothing unflushed is left behind."""

    path: Path

    def start(self) -> None:
        self.ran: list[bytes] = []

    def run(self, payload: bytes) -> bytes:
        self.ran.append(payload)
        return payload

    def flush(self) -> None:
        with self.path.open("ab") as file:
            file.writelines(payload + b"\n" for payload in self.ran)
        self.ran = []

    def stop(self) -> None:
        assert not self.ran


def test_all_that_it_ran_is_stored_before_it_goes(bench: Make, tmp_path: Path) -> None:
    def make() -> Runner:
        runner = Stores()
        runner.path = tmp_path / "stored"
        return runner

    b = bench(2, make, recycling=Recycling(jobs=3))
    payloads = [b"%d" % number for number in range(50)]
    b.done(b.submit(*payloads))
    assert sorted((tmp_path / "stored").read_bytes().split()) == sorted(payloads)


@pytest.mark.parametrize("name", ["worker_max_tasks_per_child", "worker_max_memory_per_child"])
def test_a_share_of_nothing_is_refused(name: str) -> None:
    services: dict[ServiceKey[Any], Any] = {HUB: FakeHub(), TIMER: FakeTimer(), RUNNER: Stores}
    app = App()
    app.conf.override({name: 0})
    blueprint = make_blueprint([PreforkPool], services, app)
    with pytest.raises(KernelError, match=f"{name} is 0, and must be at least 1(.|\\n)*try: leave it out"):
        blueprint.apply()
