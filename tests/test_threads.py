"""A real worker with `-P threads`: tasks overlap, and a warm stop finishes what runs."""

from __future__ import annotations

import signal

import pytest

from workers import TASKS, running_worker, until

pytest.importorskip("bootsteps_worker_pool_threads")

#: Naps that write down when they begin and end, and in which thread.
NAPS = (
    TASKS
    + """
    import threading

    @app.task
    def timed(seconds, mark):
        with open(mark, "a") as file:
            file.write("began\\n")
        began = time.monotonic()
        time.sleep(seconds)
        return began, time.monotonic(), threading.current_thread().name, os.getpid()
"""
)


def test_tasks_run_in_threads_and_naps_overlap(tmp_path, client):
    adds = [client.send_task("proj.add", (number, 1)) for number in range(200)]
    with running_worker(tmp_path, "-P", "threads", "-c", "4", app=NAPS) as worker:
        assert [result.get(timeout=30) for result in adds] == list(range(1, 201))
        naps = [client.send_task("proj.timed", (0.5, str(tmp_path / "mark"))) for _ in range(4)]
        ran = [nap.get(timeout=30) for nap in naps]
        assert max(began for began, *_ in ran) < min(ended for _, ended, *_ in ran)
        assert {name for *_, name, _ in ran} == {f"PoolThread-{number}" for number in range(1, 5)}
        assert {pid for *_, pid in ran} == {worker.process.pid}
        assert worker.children() == []
        failed = client.send_task("proj.fail", ("bad", 42))
        with pytest.raises(ValueError, match=r"\('bad', 42\)"):
            failed.get(timeout=10)
        assert worker.stop() == 0
        assert worker.log.count("succeeded in") == 204


def test_a_warm_stop_finishes_what_runs_and_gives_back_the_rest(tmp_path, client):
    mark = tmp_path / "mark"
    naps = [client.send_task("proj.timed", (1.0, str(mark))) for _ in range(6)]
    with running_worker(tmp_path, "-P", "threads", "-c", "4", app=NAPS) as worker:
        until(lambda: mark.exists() and mark.read_text().count("began") == 4, "four threads at work")
        assert worker.stop() == 0
        assert sum(nap.ready() for nap in naps) == 4
        assert "given back before their start: 2; still running: 4" in worker.log
    with running_worker(tmp_path, "-P", "threads", "-c", "4", app=NAPS):
        assert len([nap.get(timeout=20) for nap in naps]) == 6


def test_a_cold_end_does_not_wait_for_threads_and_gives_back_what_ran(tmp_path, client):
    mark = tmp_path / "mark"
    nap = client.send_task("proj.timed", (60, str(mark)))
    with running_worker(tmp_path, "-P", "threads", "-c", "2", app=NAPS) as worker:
        until(mark.exists, "the nap's start")
        worker.signal(signal.SIGQUIT)
        worker.wait(10)
        assert "Traceback" not in worker.log
        assert "given back: 1" in worker.log
    assert not nap.ready()
    with client.connection() as connection:
        assert client.queues()[0](connection.channel()).queue_declare().message_count == 1
