"""Start in order, undo half a boot, restart a part, stop in reverse."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from bootsteps import (
    App,
    Blueprint,
    BootError,
    Catalogue,
    ConsumerStep,
    DeadlineExceeded,
    KernelError,
    Parent,
    ServiceKey,
    StartStopStep,
    State,
    Step,
    UndeclaredAccess,
    compose,
    hookimpl,
)
from bootsteps.testing import make_blueprint

THING = ServiceKey[str]("thing")


class Recorder:
    """Makes step classes that write down what is called."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def step(self, name: str, /, fails: str = "", **attributes: Any) -> type[Step]:
        def method(action: str) -> Callable[..., None]:
            def call(step: Step, parent: Any, *args: Any) -> None:
                self.calls.append(f"{name}.{action}")
                if action == fails:
                    raise RuntimeError(f"{name} cannot {action}")

            return call

        actions = {action: method(action) for action in ("start", "close", "stop", "shutdown")}
        return type(name, (Step,), {**actions, **attributes})

    def take(self) -> list[str]:
        calls, self.calls = self.calls, []
        return calls


@pytest.fixture
def rec() -> Recorder:
    return Recorder()


def booted(*steps: type[Step], **options: Any) -> Blueprint:
    blueprint = make_blueprint(steps, **options)
    blueprint.apply()
    blueprint.start()
    return blueprint


def test_starts_in_order_closes_forward_and_stops_in_reverse(rec):
    blueprint = booted(rec.step("B", requires=("A",)), rec.step("A"), rec.step("C"))
    assert blueprint.state == State.RUN
    assert blueprint.started == ["A", "B", "C"]
    blueprint.stop()
    blueprint.shutdown()
    assert rec.take() == [
        "A.start", "B.start", "C.start", "A.close", "B.close", "C.close", "C.stop", "B.stop", "A.stop",
        "C.shutdown", "B.shutdown", "A.shutdown",
    ]  # fmt: skip
    assert blueprint.state.name == "TERMINATE"
    assert blueprint.join(0)


def test_a_failed_start_is_undone_and_the_first_error_shown(rec):
    steps = rec.step("A"), rec.step("B", fails="stop"), rec.step("C", fails="start"), rec.step("D")
    blueprint = make_blueprint(steps)
    blueprint.apply()
    with pytest.raises(RuntimeError, match="C cannot start"):
        blueprint.start()
    assert rec.take() == ["A.start", "B.start", "C.start", "B.stop", "A.stop"]
    assert blueprint.started == []


def test_one_failure_does_not_keep_the_others_from_stopping(rec, caplog):
    booted(rec.step("A"), rec.step("B", fails="stop"), rec.step("C", fails="close")).stop()
    assert rec.take()[-3:] == ["C.stop", "B.stop", "A.stop"]
    assert "step B failed to stop (app.steps['test']: " in caplog.text
    assert "step C failed to close" in caplog.text


def test_a_release_runs_after_half_a_start():
    released = []

    class Half(Step):
        def start(self, parent):
            parent.on_stop(lambda: released.append("first"))
            parent.on_stop(lambda: released.append("second"))
            raise ValueError("half way")

    blueprint = make_blueprint([Half])
    blueprint.apply()
    with pytest.raises(ValueError, match="half way"):
        blueprint.start()
    assert released == ["second", "first"]


def test_a_start_beyond_its_deadline_is_interrupted_and_undone(rec):
    class Slow(Step):
        start_timeout_s = 0.05

        def start(self, parent):
            threading.Event().wait(30)

    blueprint = make_blueprint([rec.step("A"), Slow])
    blueprint.apply()
    began = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"step 'Slow' did not start within 0\.05 seconds"):
        blueprint.start()
    assert time.monotonic() - began < 5
    assert rec.take() == ["A.start", "A.stop"]


def test_a_stop_beyond_its_deadline_does_not_hold_up_the_rest(rec, caplog):
    class Slow(Step):
        requires = ("A",)
        stop_timeout_s = 0.05

        def stop(self, parent):
            threading.Event().wait(30)

    booted(rec.step("A"), Slow).stop()
    assert rec.take()[-1] == "A.stop"
    assert "did not stop within 0.05 seconds" in caplog.text


def test_restart_touches_a_step_and_its_dependants_only(rec):
    blueprint = booted(
        rec.step("Connection"), rec.step("Tasks", requires=("Connection",)), rec.step("Loop", wants=("Tasks",)),
        rec.step("Other"), rec.step("Later", after=("Connection",)),
    )  # fmt: skip
    rec.take()
    blueprint.restart("Connection")
    stops = ["Loop.stop", "Tasks.stop", "Connection.stop"]
    assert rec.take() == [*stops, "Connection.start", "Tasks.start", "Loop.start"]


def test_restart_goes_in_reverse_and_then_in_boot_order(rec):
    blueprint = booted(rec.step("A"), rec.step("B", requires=("A",)), rec.step("C", requires=("B",)), rec.step("D"))
    rec.take()
    blueprint.restart("B")
    assert rec.take() == ["C.stop", "B.stop", "B.start", "C.start"]


def test_a_failed_restart_leaves_the_untouched_running_and_can_be_tried_again(rec):
    cls = rec.step("B", requires=("A",))
    blueprint = booted(rec.step("A"), cls, rec.step("C", requires=("B",)), rec.step("D"))
    start = cls.start
    cls.start = lambda step, parent: (_ for _ in ()).throw(OSError("away"))
    with pytest.raises(OSError, match="away"):
        blueprint.restart("B")
    assert blueprint.started == ["A", "D"]
    cls.start = start
    blueprint.start()
    assert blueprint.started == ["A", "B", "C", "D"]


def test_include_if_leaves_a_step_out_after_it_was_made():
    made = []

    class Optional(Step):
        def __init__(self, parent, **options):
            made.append(self)

        def include_if(self, parent):
            return False

        def create(self, parent):
            raise AssertionError("not included")

    class Follows(Step):
        requires = ("Optional",)
        conditional = True

    blueprint = make_blueprint([Optional, Follows])
    blueprint.apply()
    assert len(made) == 1
    assert blueprint.order == []
    assert {out.name: out.reason for out in blueprint.plan.left_out} == {
        "Optional": "its include_if says no", "Follows": "it requires 'Optional', which is left out",
    }  # fmt: skip


def test_enabled_false_leaves_out_and_refuses_those_that_need_it():
    class Off(Step):
        enabled = False

    class Needs(Step):
        requires = ("Off",)

    with pytest.raises(BootError, match="step 'Needs' requires the step 'Off', which is left out of this boot"):
        make_blueprint([Off, Needs]).apply()


def test_a_service_is_lent_by_create_or_start_and_withdrawn_by_the_stop():
    class Lends(Step):
        provides = (THING,)

        def create(self, parent):
            return "from create"

    class Reads(Step):
        requires = (THING,)

        def start(self, parent):
            self.seen = (parent.get(THING), parent.thing)

    blueprint = booted(Lends, Reads)
    assert blueprint["Reads"].seen == ("from create", "from create")  # type: ignore[attr-defined]
    blueprint.stop()
    with pytest.raises(LookupError):
        blueprint.parent.get(THING)
    with pytest.raises(KernelError, match="which is not lent now"):
        blueprint.view("Reads").get(THING)
    assert blueprint.parent.thing is None


def test_undeclared_use_raises_and_names_what_to_add():
    class Lends(Step):
        provides = (THING,)

        def create(self, parent):
            return "x"

    class Reads(Step):
        def start(self, parent):
            return None

    view = booted(Lends, Reads).view("Reads")
    for use in (lambda: view.get(THING), lambda: view.thing):
        with pytest.raises(
            UndeclaredAccess, match="step 'Reads' reads the service 'thing' without declaring it"
        ) as caught:
            use()
        assert "add THING (or the step that lends it) to requires or wants" in str(caught.value)
    with pytest.raises(UndeclaredAccess, match="lends the service 'thing' without declaring it"):
        view.lend(THING, "mine")
    with pytest.raises(AttributeError, match="has no 'nonsense'"):
        _ = view.nonsense


def test_requiring_a_step_gives_access_to_what_it_lends():
    class Lends(Step):
        provides = (THING,)

        def start(self, parent):
            parent.thing = "by attribute"

    class Reads(Step):
        requires = ("Lends",)

    assert booted(Lends, Reads).view("Reads").thing == "by attribute"


def test_a_wanted_service_that_is_absent_reads_as_none():
    class Reads(Step):
        wants = (THING,)

    view = booted(Reads).view("Reads")
    assert view.thing is None
    assert view.get(THING, "default") == "default"


def test_a_view_looks_like_its_parent():
    class Sees(Step):
        def __init__(self, parent, **options):
            parent.colour = "blue"
            self.text = f"{parent!r} {parent.hostname}"

    parent = Parent(App("proj"), hostname="w1@here")
    blueprint = make_blueprint([Sees], parent=parent)
    blueprint.apply()
    assert parent.colour == "blue"
    assert blueprint["Sees"].text == f"{parent!r} w1@here"  # type: ignore[attr-defined]
    view = blueprint.view("Sees")
    assert view == parent
    assert view.app is parent.app
    assert view.blueprint is blueprint
    assert view.log.name == "test.Sees"


def test_options_reach_init_as_far_as_its_signature_takes_them():
    seen = {}

    class All(Step):
        def __init__(self, parent, **options):
            seen["all"] = options

    class One(Step):
        def __init__(self, parent, concurrency=0):
            seen["one"] = concurrency

    parent = Parent(App(), options={"concurrency": 3, "loglevel": "INFO"})
    make_blueprint([All, One], parent=parent).apply()
    assert seen == {"all": {"concurrency": 3, "loglevel": "INFO"}, "one": 3}


@pytest.mark.parametrize("method", ["include_if", "create"])
def test_a_step_that_raises_before_it_starts_is_named(method):
    def fail(step: Step, parent: Any) -> None:
        raise ValueError("no")

    with pytest.raises(KernelError) as caught:
        make_blueprint([type("Bad", (Step,), {method: fail})]).apply()
    assert "ValueError: no" in caught.value.what
    assert [origin.rpartition(":")[2] for origin in caught.value.whose] == ["Bad"]
    assert "--without Bad" in caught.value.fix


def test_a_mistake_that_a_step_reports_is_signed_with_the_step_once():
    class Careless(Step):
        def create(self, parent: Any) -> None:
            raise KernelError("no disk")

    class Careful(Step):
        def start(self, parent: Any) -> None:
            raise KernelError("no disk", ("the operator",), "buy one")

    with pytest.raises(KernelError) as caught:
        make_blueprint([Careless]).apply()
    assert (len(caught.value.whose), caught.value.fix) == (1, "mend it, or --without Careless")
    blueprint = make_blueprint([Careful])
    blueprint.apply()
    with pytest.raises(KernelError) as caught:
        blueprint.start()
    assert caught.value.whose[0] == "the operator"
    assert caught.value.whose[1].endswith("Careful")
    assert caught.value.fix == "buy one"


def test_a_bug_in_a_start_is_logged_with_its_step(caplog):
    class Bad(Step):
        def start(self, parent: Any) -> None:
            raise ValueError("no")

    blueprint = make_blueprint([Bad])
    blueprint.apply()
    with pytest.raises(ValueError, match="no"):
        blueprint.start()
    assert "step Bad failed to start (app.steps['test']: " in caplog.text


def test_a_step_that_cannot_be_made_is_named():
    class Bad(Step):
        def __init__(self, parent, **options):
            raise ValueError("no")

    with pytest.raises(KernelError, match="step 'Bad' cannot be made: ValueError: no"):
        make_blueprint([Bad]).apply()


class Engine:
    """What a StartStopStep may delegate to."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def start(self) -> None:
        self.calls.append("start")

    def stop(self) -> None:
        self.calls.append("stop")

    def close(self) -> None:
        self.calls.append("closed for good")


@pytest.mark.parametrize("terminate", [False, True])
def test_a_start_stop_step_delegates_to_what_it_creates(terminate):
    class Delegates(StartStopStep):
        def create(self, parent):
            return Engine()

    blueprint = booted(Delegates)
    blueprint.stop(terminate=terminate)
    assert blueprint["Delegates"].obj.calls == ["start", "stop"]


def test_a_step_that_overrides_only_stop_is_stopped_by_a_cold_shutdown_too(rec):
    booted(rec.step("A")).stop(terminate=True)
    assert rec.take() == ["A.start", "A.stop"]


def test_announcements_tell_of_starts_stops_and_failures(rec):
    heard: list[tuple[Any, ...]] = []

    class Listens(Step):
        @hookimpl
        def step_started(self, blueprint, step):
            heard.append(("started", blueprint, step))

        @hookimpl
        def step_stopped(self, step):
            heard.append(("stopped", step))

        @hookimpl
        def step_failed(self, step, action, error):
            heard.append(("failed", step, action, str(error)))

    booted(Listens, rec.step("Z", fails="stop", requires=("Listens",))).stop()
    assert heard == [
        ("started", "test", "Listens"),
        ("started", "test", "Z"),
        ("failed", "Z", "stop", "Z cannot stop"),
        ("stopped", "Z"),
    ]


def test_debug_log_tells_the_boot_order_and_the_time_of_each_step(rec, caplog):
    with caplog.at_level(logging.DEBUG):
        booted(rec.step("B"), rec.step("A")).stop()
    lines = [record.getMessage() for record in caplog.records]
    assert lines[:4] == [
        "| Test: Preparing bootsteps.",
        "| Test: Building graph...",
        "| Test: New boot order: {A, B}",
        "| Test: Starting A",
    ]
    assert lines[4].startswith("^-- substep ok (A, ")
    assert lines[4].endswith(" ms)")
    assert "| Test: Closing A..." in lines
    assert "| Test: Stopping B..." in lines


def test_info_is_merged_from_started_steps():
    class A(Step):
        def info(self, parent):
            return {"a": 1}

    class B(Step):
        def info(self, parent):
            return None

    assert booted(A, B).info() == {"a": 1}


def test_run_turns_the_step_that_can():
    turns = []

    class Loop(Step):
        def run(self, parent, until):
            while not until():
                turns.append(parent.hostname)

    booted(Loop).run(lambda: len(turns) == 3)
    assert turns == ["test@localhost"] * 3


def test_idle_when_every_step_is():
    busy = {"A": True}

    class A(Step):
        def idle(self, parent):
            return not busy["A"]

    blueprint = booted(A)
    assert not blueprint.idle()
    busy["A"] = False
    assert blueprint.idle()


def test_the_step_can_reach_its_parent_by_the_blueprints_name():
    class Guide(Step):
        def look(self):
            return self.worker.hostname  # type: ignore[attr-defined]

    app = App()
    app.steps["worker"].add(Guide)
    blueprint = Blueprint(compose(app, Catalogue(())), Parent(app, hostname="w@h"))
    blueprint.apply()
    assert blueprint["Guide"].look() == "w@h"  # type: ignore[attr-defined]


class FakeChannel:
    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


class FakeConsumer:
    def __init__(self, channel: FakeChannel) -> None:
        self.channel = channel
        self.calls: list[str] = []

    def consume(self) -> None:
        self.calls.append("consume")

    def cancel(self) -> None:
        self.calls.append("cancel")


def test_a_consumer_step_consumes_and_cancels():
    channels = [FakeChannel(), FakeChannel()]
    unused = iter(channels)
    connection = type("Connection", (), {"channel": lambda self: next(unused)})()

    class Connection(Step):
        provides = (ServiceKey("connection"),)

        def create(self, parent):
            return connection

    class Mine(ConsumerStep):
        def get_consumers(self, channel):
            return [FakeConsumer(channel), FakeConsumer(channel)]

    class Silent(ConsumerStep):
        def get_consumers(self, channel):
            return None

    blueprint = booted(Connection, Mine, Silent)
    assert [channel.closed for channel in channels] == [False, True]  # the silent one needs none
    consumers = list(blueprint["Mine"].consumers)  # type: ignore[attr-defined]
    blueprint.stop()
    assert [consumer.calls for consumer in consumers] == [["consume", "cancel"]] * 2
    assert all(channel.closed for channel in channels)


def test_a_consumer_step_must_say_what_it_consumes():
    class Forgot(ConsumerStep):
        requires = ()

    with pytest.raises(NotImplementedError, match="does not define get_consumers"):
        Forgot(None).get_consumers(None)


def test_a_listener_of_no_hook_is_refused_before_anything_starts():
    class Typo(Step):
        @hookimpl
        def step_strated(self, step):
            pass

    with pytest.raises(KernelError, match="unknown hook 'step_strated'") as caught:
        make_blueprint([Typo]).apply()
    assert "app.steps['test']: " in str(caught.value)
