"""What the Extensions guide says of the parents of steps, and in which order their methods are called: real workers."""

from __future__ import annotations

import ast

import pytest

from bootsteps_tasks import App
from test_reconnect import Redis
from workers import WorkerProcess, running_worker, until

pytest.importorskip("bootsteps_worker_pool_solo")

LOOKS = """
    import kombu.asynchronous
    import bootsteps
    from bootsteps_tasks import App

    app = App("proj")

    @app.task
    def add(x, y):
        return x + y

    class LooksAtWorker(bootsteps.StartStopStep):
        requires = ("Hub", "Pool", "Timer")

        def start(self, worker):
            print("worker:", {
                "app": worker.app is app,
                "hostname": worker.hostname,
                "str": str(worker),
                "blueprint": worker.blueprint.name,
                "hub": worker.hub is kombu.asynchronous.get_event_loop(),
                "use_eventloop": worker.use_eventloop,
                "pool": worker.pool.concurrency,
                "timer": worker.timer is worker.hub.timer,
                "steps": [type(step).__name__ for step in worker.steps if step.obj is worker.pool],
                "active_requests": list(worker.active_requests),
            })

    class LooksAtConsumer(bootsteps.StartStopStep):
        requires = ("Connection", "Tasks", "Hub", "Pool", "Timer")

        def start(self, consumer):
            add.rate_limit = "2/s"
            consumer.reset_rate_limits()
            consumer.update_strategies()
            print("consumer:", {
                "task_buckets": consumer.task_buckets["proj.add"].fill_rate,
                "no bucket": consumer.task_buckets["proj.nobody"],
                "bucket_for_task": consumer.bucket_for_task(add).capacity,
                "apply_eta_task": callable(consumer.apply_eta_task),
                "app": consumer.app is app,
                "controller": str(consumer.controller),
                "its consumer": consumer.controller.consumer == consumer,
                "hostname": consumer.hostname,
                "pid": consumer.pid,
                "blueprint": consumer.blueprint.name,
                "steps": self in consumer.steps,
                "hub": consumer.hub is consumer.controller.hub,
                "connection": consumer.connection.connected,
                "pool": consumer.pool is consumer.controller.pool,
                "timer": consumer.timer is consumer.controller.timer,
                "task_consumer": [queue.name for queue in consumer.task_consumer.queues],
                "strategies": [name for name, strategy in consumer.strategies.items()
                               if callable(strategy) and not name.startswith("celery.")],
                "qos": consumer.qos.value,
            })
            consumer.timer.call_after(0.1, self.look_later, (consumer,))

        def look_later(self, consumer):
            facts = consumer.controller.info()
            print("info:", {"prefetch_count": facts["prefetch_count"], "transport": facts["broker"]["transport"]})
            consumer.qos.increment_eventually(3)

    app.steps["worker"].add(LooksAtWorker)
    app.steps["consumer"].add(LooksAtConsumer)
"""


def test_the_parents_have_the_attributes_of_the_guide(tmp_path):
    with running_worker(tmp_path, "-P", "solo", "-n", "w@h", app=LOOKS) as worker:
        worker.until_logged("basic.qos: prefetch_count->7")  # four were reserved, and three more from the step
        pid = worker.process.pid
        assert worker.stop() == 0
    assert seen_by(worker, "worker: ") == {
        "app": True, "hostname": "w@h", "str": "w@h", "blueprint": "Worker", "hub": True, "use_eventloop": True,
        "pool": 1, "timer": True, "steps": ["SoloPool"], "active_requests": [],
    }  # fmt: skip
    assert seen_by(worker, "consumer: ") == {
        "app": True, "controller": "w@h", "its consumer": True, "hostname": "w@h", "pid": pid, "blueprint": "Consumer",
        "steps": True, "hub": True, "connection": True, "pool": True, "timer": True, "task_consumer": ["celery"],
        "strategies": ["proj.add"], "qos": 4, "task_buckets": 2.0, "no bucket": None, "bucket_for_task": 1.0,
        "apply_eta_task": True,
    }  # fmt: skip
    assert seen_by(worker, "info: ") == {"prefetch_count": 4, "transport": "sqlite"}


def seen_by(worker: WorkerProcess, who: str) -> object:
    [line] = [line for line in worker.log.splitlines() if line.startswith(who)]
    return ast.literal_eval(line.removeprefix(who))


CALLS = """
    import logging
    import traceback
    import bootsteps
    from bootsteps_tasks import App

    app = App("proj")

    class Told(bootsteps.StartStopStep):
        def tell(self, action):
            print("told:", type(self).__name__, action)

        def start(self, parent):
            self.tell("start")

        def close(self, parent):
            self.tell("close")

        def stop(self, parent):
            self.tell("stop")

        def shutdown(self, parent):
            self.tell("shutdown")

    class Early(Told):
        def stop(self, parent):
            self.tell("stop")
            handlers = [frame.name for frame in traceback.extract_stack() if frame.name in ("warm", "cold")]
            parent.log.warning("stopped outside of signal handlers: %s", not handlers)

    class Late(Told):
        requires = ("Pool",)

    class One(Told):
        requires = ("Connection",)

        def stop(self, consumer):
            self.tell("stop while %s" % ("connected" if consumer.connection.connected else "disconnected"))

    class Two(Told):
        requires = (One, "Tasks")

    app.steps["worker"].update([Early, Late])
    app.steps["consumer"].update([One, Two])

    @app.task
    def nap(seconds, mark):
        import os, pathlib, time
        pathlib.Path(mark).touch()
        time.sleep(seconds)
        os.write(1, b"told: nap is over\\n")  # what a task prints goes into the log
"""


def told(worker: WorkerProcess) -> list[str]:
    return [line.removeprefix("told: ") for line in worker.log.splitlines() if line.startswith("told: ")]


STARTED = ["Early start", "Late start", "One start", "Two start"]
#: Every step closes, in boot order, before any stops; the consumer's steps where the step Consumer does.
CLOSED = ["Early close", "Late close", "One close", "Two close"]
STOPPED = ["Two stop", "One stop while connected", "Late stop", "Early stop"]
SHUT_DOWN = ["Two shutdown", "One shutdown"]


def test_a_warm_shutdown_closes_forward_finishes_what_runs_and_stops_in_reverse(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    pytest.importorskip("bootsteps_worker_pool_prefork")
    client, mark = App("proj"), tmp_path / "mark"
    with running_worker(tmp_path, "-c", "1", app=CALLS) as worker:
        client.send_task("proj.nap", (1.0, str(mark)))
        until(mark.exists, "the nap's start")
        assert worker.stop() == 0
    client.close()
    assert told(worker) == [*STARTED, *CLOSED, "nap is over", *STOPPED, *SHUT_DOWN]
    stops = [line.split("Stopping ")[1].rstrip(".") for line in worker.log.splitlines() if "| Worker: Stopping" in line]
    assert stops == [
        "ControlSocket", "Consumer", "Requests", "Late", "Health", "Pool", "Restart", "Debugger", "Signals", "Hub",
        "Timer", "Runner", "Revokes", "MemorySamples", "Logging", "Early",
    ]  # fmt: skip


def test_no_step_is_stopped_inside_a_signal_handler(tmp_path):
    with running_worker(tmp_path, "-P", "solo", app=CALLS) as worker:
        assert worker.stop() == 0
    assert "stopped outside of signal handlers: True" in worker.log


def test_a_lost_connection_stops_in_reverse_and_starts_again_without_close_or_shutdown(tmp_path):
    folder = tmp_path / "redis"
    folder.mkdir()
    redis = Redis(folder)
    try:
        with running_worker(tmp_path, "-P", "solo", app=CALLS, broker=redis.url) as worker:
            redis.stop()
            worker.until_logged("cannot connect to")
            redis.start()
            worker.until_logged("told: Two start", times=2)
            assert worker.stop() == 0
    finally:
        redis.stop()
    lost = told(worker)
    assert lost[4] == "Two stop"
    assert lost[5].startswith("One stop while ")
    assert [*lost[:4], *lost[6:]] == [*STARTED, "One start", "Two start", *CLOSED, *STOPPED, *SHUT_DOWN]


@pytest.mark.parametrize(("blueprint", "after"), [("worker", "Late"), ("consumer", "Two")])
def test_a_step_that_fails_to_start_undoes_the_boot_and_the_status_is_1(tmp_path, blueprint, after):
    fails = """
    class Fails(bootsteps.StartStopStep):
        requires = (AFTER,)

        def start(self, parent):
            raise RuntimeError("no licence")

    app.steps["BLUEPRINT"].add(Fails)
    """.replace("BLUEPRINT", blueprint).replace("AFTER", after)
    with running_worker(tmp_path, "-P", "solo", app=CALLS + fails, ready=False) as worker:
        assert worker.wait() == 1
    assert "CRITICAL" in worker.log
    assert "RuntimeError: no licence" in worker.log
    consumer = blueprint == "consumer"
    starts, stops = STARTED if consumer else STARTED[:2], STOPPED if consumer else STOPPED[2:]
    assert told(worker) == [*starts, *stops]
    assert " ready." not in worker.log


def test_a_step_may_require_the_internal_queues_of_the_guides_boot_log(tmp_path):
    app = """
        import bootsteps
        from bootsteps_tasks import App
        app = App("proj")

        @app.task
        def add(x, y):
            return x + y
    """
    for number, need in enumerate(("Queues (intra)", "Queues", "celery.worker.components:Queues")):
        app += f"""
        class Needs{number}(bootsteps.StartStopStep):
            requires = ({need!r},)

            def start(self, worker):
                print("{number}: what waits and runs:", worker.active_requests, worker.requests is not None)

        app.steps["worker"].add(Needs{number})
        """
    with running_worker(tmp_path, "-P", "solo", app=app) as worker:
        assert worker.stop() == 0
        for number in range(3):
            assert f"{number}: what waits and runs: [] True" in worker.log
        order = next(line for line in worker.log.splitlines() if "New boot order" in line)
        assert order.index("Requests") < order.index("Needs0")
