"""The samples of the Extensions guide, in our own words, each with a real worker that runs it.

Only import lines differ from what the guide prints: `import bootsteps` for `from celery import bootsteps`, and so on.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys

import pytest

from bootsteps_tasks import App
from services import redis_server
from workers import WorkerProcess, running_worker

pytest.importorskip("bootsteps_worker_pool_solo")


CONSUMERS = """
    import bootsteps
    from bootsteps_tasks import App
    from kombu import Consumer, Exchange, Queue

    my_queue = Queue("custom", Exchange("custom"), "routing_key")
    raw_queue = Queue("raw", Exchange("custom"), "raw_key")
    app = App("proj")

    class MyConsumerStep(bootsteps.ConsumerStep):

        def get_consumers(self, channel):
            return [Consumer(channel, queues=[my_queue], callbacks=[self.handle_message], accept=["json"])]

        def handle_message(self, body, message):
            print("decoded: {0!r}".format(body))
            message.ack()

    class RawConsumerStep(bootsteps.ConsumerStep):

        def get_consumers(self, channel):
            return [Consumer(channel, queues=[raw_queue], on_message=self.on_message)]

        def on_message(self, message):
            payload = message.decode()
            print("raw: {0!r} {props!r} rawlen={s}".format(payload, props=message.properties, s=len(message.body)))
            message.ack()

    app.steps["consumer"].add(MyConsumerStep)
    app.steps["consumer"].update([RawConsumerStep])
"""


def test_consumer_steps_receive_messages_in_both_callback_styles(tmp_path, client):
    from kombu import Exchange

    with running_worker(tmp_path, "-P", "solo", app=CONSUMERS) as worker, client.connection() as connection:
        producer = connection.Producer()
        for key in ("routing_key", "raw_key"):
            producer.publish({"hello": "world"}, exchange=Exchange("custom"), routing_key=key, serializer="json")
        worker.until_logged("decoded: {'hello': 'world'}")
        worker.until_logged("raw: {'hello': 'world'}")
        assert "rawlen=18" in worker.log
        assert worker.stop() == 0


EXAMPLE = """
    import sys
    import bootsteps
    from bootsteps_tasks import App

    class ExampleWorkerStep(bootsteps.StartStopStep):

        requires = ("Pool", )

        def __init__(self, worker, **kwargs):
            print("Called when the WorkController instance is constructed", worker)
            print("Arguments to WorkController: {0!r}".format(sorted(kwargs)))

        def create(self, worker):
            # this method can be used to delegate the action methods
            # to another object that implements ``start`` and ``stop``.
            return self

        def start(self, worker):
            print("Called when the worker is started.", worker, worker.pool.concurrency)

        def stop(self, worker):
            print("Called when the worker shuts down.", worker)

        def terminate(self, worker):
            print("Called when the worker terminates", worker)

    app = App("proj")
    app.steps["worker"].add(ExampleWorkerStep)
"""


def test_all_five_methods_of_a_worker_step_are_called_with_the_worker(tmp_path):
    with running_worker(tmp_path, "-P", "solo", "-n", "w1@here", app=EXAMPLE) as worker:
        assert worker.stop() == 0
        lines = worker.log.splitlines()
    assert "Called when the WorkController instance is constructed w1@here" in lines
    assert "Called when the worker is started. w1@here 1" in lines
    assert "Called when the worker shuts down. w1@here" in lines
    assert not [line for line in lines if "terminates" in line]
    [arguments] = [line for line in lines if line.startswith("Arguments")]
    assert {"concurrency", "pool", "loglevel", "queues"} <= set(eval(arguments.partition(": ")[2]))


def test_a_cold_shutdown_terminates_a_step_instead_of_stopping_it(tmp_path):
    with running_worker(tmp_path, "-P", "solo", "-n", "w1@here", app=EXAMPLE) as worker:
        worker.signal(signal.SIGQUIT)
        worker.wait()
        assert "Called when the worker terminates w1@here" in worker.log
        assert "Called when the worker shuts down." not in worker.log


DEADLOCK = """
    from time import time
    import bootsteps
    from bootsteps_tasks import App

    class DeadlockDetection(bootsteps.StartStopStep):
        requires = ("Timer", )

        def __init__(self, worker, deadlock_timeout=3600):
            self.timeout = deadlock_timeout
            self.requests = []
            self.tref = None

        def start(self, worker):
            # the guide runs it every 30 seconds
            self.tref = worker.timer.call_repeatedly(
                0.1, self.detect, (worker, ), priority=10,
            )

        def stop(self, worker):
            print("tref was", self.tref is not None)
            if self.tref:
                self.tref.cancel()
                self.tref = None

        def detect(self, worker):
            # update active requests
            print("looking at", [r.name for r in self.worker.active_requests])
            for req in self.worker.active_requests:
                if req.time_start and time() - req.time_start > self.timeout:
                    raise SystemExit()

    app = App("proj")
    app.steps["worker"].add(DeadlockDetection)

    @app.task
    def nap(seconds):
        import time
        time.sleep(seconds)
"""


def test_deadlock_detection_looks_at_active_requests_on_the_timer(tmp_path, client):
    pytest.importorskip("bootsteps_worker_pool_prefork")
    with running_worker(tmp_path, "-c", "1", app=DEADLOCK.replace("timeout=3600", "timeout=0.3")) as worker:
        worker.until_logged("looking at []")
        client.send_task("proj.nap", (60,))
        worker.until_logged("looking at ['proj.nap']")
        assert worker.wait() == 1  # a SystemExit without a code, from the timer, ends the worker
        assert "tref was True" in worker.log


INFO = """
    import bootsteps
    from bootsteps_tasks import App

    class InfoStep(bootsteps.Step):

        def __init__(self, parent, **kwargs):
            # here we can prepare the Worker/Consumer object
            # in any way we want, set attribute defaults and so on.
            print("{0!r} is in init".format(parent))

        def start(self, parent):
            # our step is started together with all other Worker/Consumer bootsteps.
            print("{0!r} is starting".format(parent))

        def stop(self, parent):
            # the Consumer calls stop every time the consumer is restarted
            # (i.e. connection is lost) and also at shutdown. The Worker
            # will call stop at shutdown only.
            print("{0!r} is stopping".format(parent))

        def shutdown(self, parent):
            # shutdown is called by the Consumer at shutdown, it's not called by Worker.
            print("{0!r} is shutting down".format(parent))

    app = App("proj")
    app.steps["worker"].add(InfoStep)
    app.steps["consumer"].add(InfoStep)
"""


def told(worker: WorkerProcess) -> list[str]:
    return [line for line in worker.log.splitlines() if line.startswith("<") and " is " in line]


def test_the_info_step_works_in_both_blueprints(tmp_path):
    with running_worker(tmp_path, "-P", "solo", "-n", "w@h", app=INFO) as worker:
        assert worker.stop() == 0
    assert told(worker) == [
        "<Worker w@h> is in init",
        "<Consumer of w@h> is in init",
        "<Worker w@h> is starting",
        "<Consumer of w@h> is starting",
        "<Consumer of w@h> is stopping",
        "<Worker w@h> is stopping",
        "<Consumer of w@h> is shutting down",
    ]


def test_the_debug_log_tells_what_the_guides_log_tells(tmp_path):
    with running_worker(tmp_path, "-P", "solo", "-n", "w@h", app=INFO) as worker:
        worker.stop()
    told = [line.partition("] ")[2] for line in worker.log.splitlines() if line.startswith("[")]
    boot = [line for line in told if line.startswith(("|", "^--"))]
    assert boot[:3] == [
        "| Worker: Preparing bootsteps.",
        "| Worker: Building graph...",
        "| Worker: New boot order: {InfoStep, Logging, MemorySamples, Revokes, Runner, Timer, Hub, Signals, "
        "Debugger, Restart, Pool, Health, Requests, Consumer, ControlSocket}",
    ]
    order = "Connection, Events, Gossip, Heart, InfoStep, Mingle, Control, Revocations, Tasks, Readiness, event loop"
    assert f"| Consumer: New boot order: {{{order}}}" in boot
    hub = boot.index("| Worker: Starting Hub")
    assert boot[hub + 1].startswith("^-- substep ok (Hub, ")
    assert boot[hub + 1].endswith(" ms)")
    assert boot.index("| Worker: Starting Consumer") < boot.index("| Consumer: Starting Connection")
    assert "w@h ready." in told


def test_a_consumer_step_is_stopped_again_at_each_reconnect(tmp_path):
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed; try: apt-get install redis-server")
    folder = tmp_path / "redis"
    folder.mkdir()
    server = redis_server(folder)
    url = server.__enter__()
    with running_worker(tmp_path, "-P", "solo", "-n", "w@h", app=INFO, broker=url) as worker:
        server.__exit__(None, None, None)
        worker.until_logged("<Consumer of w@h> is stopping")
        assert worker.process.poll() is None
        assert "<Worker w@h> is stopping" not in worker.log


def test_user_options_reach_the_steps(tmp_path):
    text = """
        import bootsteps
        from bootsteps.cli import Option
        from bootsteps_tasks import App

        app = App("proj")
        app.user_options["worker"].add(
            Option("--enable-my-option", action="store_true", default=False,
                   help="Enable custom option."),
        )

        class MyBootstep(bootsteps.Step):

            def __init__(self, parent, enable_my_option=False, **options):
                print("my option is", enable_my_option)

        app.steps["worker"].add(MyBootstep)
    """
    for args, value in ((("--enable-my-option",), True), ((), False)):
        with running_worker(tmp_path, "-P", "solo", "--dry-run", *args, app=text, ready=False) as worker:
            assert worker.wait() == 0, worker.log
            assert f"my option is {value}" in worker.log


def test_app_steps_shows_the_classes_that_were_added():
    import bootsteps

    class StepA(bootsteps.Step):
        pass

    class StepB(bootsteps.Step):
        requires = (StepA,)

    app = App("proj")
    app.steps["consumer"].add(StepB)
    app.steps["consumer"].update([StepA, StepB])
    assert app.steps["consumer"] == {StepA, StepB}
    text = repr(app.steps["consumer"])
    assert text.startswith("{step:")
    assert "StepA{()}" in text
    assert "StepB{(StepA)}" in text


def test_the_loop_and_the_timer_can_be_used_by_a_step(tmp_path):
    text = """
        import os, time
        import bootsteps
        from bootsteps_tasks import App

        class UsesLoop(bootsteps.StartStopStep):
            requires = ("Hub", "Timer")

            def start(self, worker):
                self.reader, self.writer = os.pipe()
                worker.hub.add_reader(self.reader, self.on_readable, worker, "tag")
                worker.hub.add_writer(self.writer, self.on_writable, worker)
                worker.timer.call_after(0.1, print, ("called after",), priority=1)
                worker.timer.call_at(time.monotonic() + 0.1, print, ("called at",))
                self.entry = worker.timer.call_repeatedly(0.05, self.tick)
                self.ticks = 0

            def on_writable(self, worker):
                worker.hub.remove(self.writer)
                os.write(self.writer, b"x")
                print("written")

            def on_readable(self, worker, tag):
                print("readable", tag, os.read(self.reader, 1))
                worker.hub.remove(self.reader)

            def tick(self):
                self.ticks += 1
                if self.ticks == 3:
                    self.entry.cancel()
                    print("three ticks")

        app = App("proj")
        app.steps["worker"].add(UsesLoop)
    """
    with running_worker(tmp_path, "-P", "solo", app=text) as worker:
        for line in ("written", "readable tag b'x'", "called after", "called at", "three ticks"):
            worker.until_logged(line)
        assert worker.stop() == 0


def test_a_subcommand_comes_from_an_entry_point(tmp_path):
    info = tmp_path / "site" / "their_flower-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "entry_points.txt").write_text("[kernel.commands]\nflower = their_flower.command:FlowerCommand\n")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-flower\nVersion: 1.0\n")
    package = tmp_path / "site" / "their_flower"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "command.py").write_text(
        "import click\n@click.command()\n@click.option('--port', default=5555)\n"
        "def FlowerCommand(port):\n    'Watch tasks in a browser.'\n    click.echo(f'flowers on {port}')\n"
    )
    # Ours of that name makes way: two commands of one name are an error.
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "KERNEL_WITHOUT": "bootsteps-flower"}

    def kernel(*args: str) -> str:
        words = [sys.executable, "-m", "bootsteps", *args]
        return subprocess.run(words, env=env, capture_output=True, text=True, timeout=60, check=True).stdout

    assert "flower Watch tasks in a browser." in " ".join(kernel("--help").split())
    assert kernel("flower", "--port", "80") == "flowers on 80\n"
    rows = json.loads(kernel("plugins", "list", "--json"))
    assert ("kernel.commands", "flower", "ok") in {(row["group"], row["name"], row["state"]) for row in rows}
