"""The worker as an object and as a command, with made-up steps: no broker, no pool."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner

from bootsteps import HUB, REQUESTS, App, BootError, Catalogue, KernelError, Step, compose, hookimpl
from bootsteps.cli import Session
from bootsteps.testing import FakeHub, FakeRequests, check_step, lifetime
from bootsteps_worker import WorkController
from bootsteps_worker.cli import worker as command
from bootsteps_worker.names import node_name
from bootsteps_worker.signals import Signals


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (None, "celery@george.example.com"),
        ("worker1@%h", "worker1@george.example.com"),
        ("worker1@%n", "worker1@george"),
        ("worker1@%d", "worker1@example.com"),
        ("worker1@%%h", "worker1@%h"),
        ("foo", "celery@foo"),
        ("a@b", "a@b"),
        ("%x@%h", "%x@george.example.com"),
    ],
)
def test_node_names(given, name):
    assert node_name(given, "george.example.com") == name


def test_a_host_without_a_domain():
    assert node_name("w@%n.%d", "george") == "w@george."


class Loop(Step):
    """Turns until told; each turn calls `turn`."""

    calls: list[str] = []
    turn: Callable[[Any], None] = staticmethod(lambda worker: None)
    busy = 0
    last = True

    def start(self, worker: Any) -> None:
        type(self).calls = ["start"]

    def run(self, worker: Any, until: Callable[[], bool]) -> None:
        while not until():
            type(self).busy -= 1
            self.turn(worker)

    def idle(self, worker: Any) -> bool:
        return self.busy <= 0

    def close(self, worker: Any) -> None:
        self.calls.append("close")

    def stop(self, worker: Any) -> None:
        self.calls.append("stop")

    def terminate(self, worker: Any) -> None:
        self.calls.append("terminate")


@pytest.fixture
def loop() -> type[Loop]:
    return type("Loop", (Loop,), {})


def controller(*steps: type[Step], grace_s: float | None = 10.0) -> WorkController:
    app = App("proj")
    app.steps["worker"].update(steps)
    made = WorkController(app, compose(app, Catalogue(())), hostname="w@h", grace_s=grace_s)
    made.prepare()
    return made


def test_boots_runs_and_stops_warmly(loop):
    heard: list[str] = []

    class Listens(Step):
        @hookimpl
        def worker_ready(self, worker):
            heard.append(f"ready {worker}")

        @hookimpl
        def worker_stopping(self, how):
            heard.append(how)

    loop.turn = staticmethod(lambda worker: worker.stop())
    assert controller(loop, Listens).start() == 0
    assert loop.calls == ["start", "close", "stop"]
    assert heard == ["ready w@h", "warm"]


def test_waits_for_what_runs(loop):
    def turn(worker: Any) -> None:
        if worker.wish is None:
            worker.stop()
            loop.busy = 5

    loop.turn = staticmethod(turn)
    controller(loop).start()
    assert loop.busy == 0
    assert loop.calls == ["start", "close", "stop"]


def test_a_second_wish_is_a_cold_one(loop):
    def turn(worker: Any) -> None:
        loop.busy = 100
        worker.stop()

    loop.turn = staticmethod(turn)
    controller(loop).start()
    assert loop.calls == ["start", "close", "terminate"]


def test_after_the_grace_period_it_is_cold(loop):
    def turn(worker: Any) -> None:
        loop.busy = 100
        if worker.wish is None:
            worker.stop()

    loop.turn = staticmethod(turn)
    began = time.monotonic()
    controller(loop, grace_s=0.05).start()
    assert 0.05 <= time.monotonic() - began < 5
    assert loop.calls == ["start", "close", "terminate"]


def test_a_cold_wish_closes_nothing_first(loop):
    loop.turn = staticmethod(lambda worker: worker.terminate(exitcode=3))
    assert controller(loop).start() == 3
    assert loop.calls == ["start", "terminate"]


@pytest.mark.parametrize(("error", "status"), [(SystemExit(), 1), (SystemExit(7), 7), (SystemExit("bye"), 1)])
def test_a_step_may_end_the_worker(loop, error, status):
    def turn(worker: Any) -> None:
        raise error

    loop.turn = staticmethod(turn)
    assert controller(loop).start() == status
    assert loop.calls == ["start", "terminate"]


def test_an_error_in_the_loop_stops_everything_and_is_raised(loop):
    def turn(worker: Any) -> None:
        raise ZeroDivisionError

    loop.turn = staticmethod(turn)
    with pytest.raises(ZeroDivisionError):
        controller(loop).start()
    assert loop.calls == ["start", "terminate"]


def test_active_requests_are_a_snapshot_and_empty_without_a_ledger(loop):
    seen: list[Any] = []

    class Ledger(Step):
        provides = (REQUESTS,)

        def create(self, worker: Any) -> FakeRequests:
            return FakeRequests([("add", 5.0)])

    def turn(worker: Any) -> None:
        seen.append([request.name for request in worker.active_requests])
        worker.stop()

    loop.turn = staticmethod(turn)
    controller(loop, Ledger).start()
    controller(loop).start()
    assert seen == [["add"], []]


def test_guide_attributes(loop):
    worker = controller(loop)
    assert (worker.app.main, worker.hostname, str(worker), repr(worker)) == ("proj", "w@h", "w@h", "<Worker w@h>")
    assert worker.blueprint.order == ["Loop"]
    with pytest.raises(AttributeError):
        _ = worker.nonsense


@pytest.mark.parametrize(
    ("signals", "ends"),
    [([signal.SIGTERM], "stop"), ([signal.SIGINT], "stop"), ([signal.SIGQUIT], "terminate"),
     ([signal.SIGTERM, signal.SIGTERM], "terminate"), ([signal.SIGINT, signal.SIGTERM], "terminate")],
)  # fmt: skip
def test_signals_are_wishes(loop, signals, ends):
    left = list(signals)

    def turn(worker: Any) -> None:
        loop.busy = 100 if left else 0
        if left:
            os.kill(os.getpid(), left.pop(0))

    before = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)]
    loop.turn = staticmethod(turn)
    controller(loop, Signals).start()
    assert loop.calls[-1] == ends
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)] == before


def test_signals_are_left_alone_outside_the_main_thread(loop):
    statuses: list[int] = []
    loop.turn = staticmethod(lambda worker: worker.stop())

    def work() -> None:
        made = controller(loop, Signals)
        assert made.blueprint.order == ["Loop"]
        statuses.append(made.start())

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    assert statuses == [0]


def test_a_signal_wakes_the_loop():
    hub = FakeHub()
    with lifetime(Signals, {HUB: hub}) as worker:
        [(reader, _)] = hub.callbacks.items()
        worker.blueprint.parent.stop = lambda: None
        os.kill(os.getpid(), signal.SIGTERM)
        assert reader.recv(10) == bytes([signal.SIGTERM])


def test_keeps_the_contract():
    check_step(Signals)


class Alone(Session):
    """A session in which nothing is installed."""

    def __init__(self, app: App) -> None:
        super().__init__()
        self._app = app

    catalogue = Catalogue(())


def run(app: App, *args: str) -> Any:
    session = Alone(app)
    return CliRunner().invoke(command, args, obj=session, catch_exceptions=True)


def test_a_dry_run_makes_the_steps_and_starts_none(loop):
    app = App("proj")
    app.steps["worker"].add(loop)
    result = run(app, "--dry-run", "-n", "w@h")
    assert result.exit_code == 0, result.exception
    assert result.output == "w@h would start: Loop\n"
    assert loop.calls == []


def test_a_worker_without_a_step_says_what_to_install():
    result = run(App())
    assert isinstance(result.exception, KernelError)
    assert "pip install bootsteps-standard" in str(result.exception)


def test_a_missing_pool_names_the_distributions_that_offer_one():
    class Needs(Step):
        requires = ("Pool",)

    app = App()
    app.steps["worker"].add(Needs)
    result = run(app)
    assert isinstance(result.exception, BootError)
    assert (
        "pip install bootsteps-worker-pool-prefork or bootsteps-worker-pool-solo or bootsteps-worker-pool-threads or "
        in str(result.exception)
    )


def test_a_wrong_level_is_wrong_use():
    assert run(App(), "-l", "LOUD").exit_code == 2
