"""Ways to declare a task: options in classes, class-based, shared, discovered, with models."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from bootsteps.errors import DuplicateName
from bootsteps_tasks import App, Task, current_app, shared_task


class Sum(Task[..., int]):
    """A class-based task."""

    name = "sums"
    max_retries = 7
    acks_late = False

    def run(self, *numbers: int) -> int:
        return sum(numbers)


def test_a_class_is_a_task_and_its_attributes_are_options(app: App) -> None:
    task = app.register_task(Sum())
    assert app.tasks["sums"] is task
    assert (task.max_retries, task.acks_late, task.app) == (7, False, app)
    assert task(1, 2) == task.apply((1, 2)).get() == 3
    assert app.register_task(Sum) is app.tasks["sums"]


def test_a_nameless_class_is_called_by_its_place(app: App) -> None:
    class Nameless(Task[..., None]):
        def run(self) -> None: ...

    assert app.register_task(Nameless()).name == f"{__name__}.Nameless"


def test_options_of_the_decorator_go_before_those_of_the_base(app: App) -> None:
    class Base(Task[..., Any]):
        max_retries = 1
        queue = "slow"

    task = app.task(base=Base, max_retries=None, name="t")(lambda: None)
    assert (task.max_retries, task.queue, isinstance(task, Base)) == (None, "slow", True)
    with pytest.raises(TypeError, match="is a class derived from"):
        app.task(base=int)(lambda: None)  # type: ignore[arg-type]


def test_a_base_is_made_once_and_keeps_its_state(app: App) -> None:
    class Base(Task[..., Any]):
        def __init__(self) -> None:
            self.opened = 0

    @app.task(base=Base, bind=True, name="t")
    def count(self: Any) -> int:
        self.opened += 1
        return int(self.opened)

    assert [count(), count()] == [1, 2]


def test_acks_on_failure_or_timeout_means_both(app: App) -> None:
    task = app.task(name="t", acks_on_failure_or_timeout=False)(lambda: None)
    assert (task.acks_on_failure, task.acks_on_timeout) == (False, False)
    other = app.task(name="u")(lambda: None)
    assert (other.acks_on_failure, other.acks_on_timeout) == (True, True)
    app.conf.override({"task_acks_on_failure_or_timeout": False})
    assert (other.acks_on_failure, other.acks_on_timeout) == (False, False)
    assert app.task(name="v", acks_on_timeout=True)(lambda: None).acks_on_timeout is True


def test_shared_tasks_are_of_every_application_and_called_for_the_present_one() -> None:
    @shared_task(name="shared.add")
    def add(x: int, y: int) -> int:
        return x + y

    first, second = App("first", broker="memory://"), App("second", broker="memory://")
    assert current_app() is second
    assert first.tasks["shared.add"].app is first
    assert add.app is second
    assert (add(1, 2), add.apply((1, 2)).get(), add.name) == (3, 3, "shared.add")

    @shared_task
    def late() -> None: ...

    assert f"{__name__}.late" in first.tasks
    first.set_current()
    assert late.app is first


def test_two_shared_tasks_of_one_name_are_refused_where_they_meet() -> None:
    app = App("proj", broker="memory://")
    for text in ("one", "two"):
        shared_task(name=f"clash-{id(app)}")(eval(f"lambda: {text!r}", {"__name__": text}))
    with pytest.raises(DuplicateName):
        _ = app.tasks
    from bootsteps_tasks import shared

    del shared._declared[-2:]


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, module in {"shop": "tasks", "blog": "jobs", "plain": ""}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
        if module:
            (tmp_path / name / f"{module}.py").write_text("loaded = True\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("shop", "shop.tasks", "blog", "blog.jobs", "plain"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def test_task_modules_are_discovered_when_the_application_loads(app: App, packages: Path) -> None:
    app.autodiscover_tasks(["shop", "plain"])
    app.autodiscover_tasks(lambda: ["blog"], related_name="jobs")
    assert "shop.tasks" not in sys.modules
    assert {module.__name__ for module in app.load()} >= {"shop.tasks", "blog.jobs"}
    assert "plain.tasks" not in sys.modules


def test_hooks_tell_when_the_application_is_configured_and_complete(app: App) -> None:
    heard: list[str] = []
    for hook in ("on_after_configure", "import_modules", "on_after_finalize"):
        app.hooks.connect(hook)(lambda app, hook=hook: heard.append(hook))
    app.load()
    assert heard == ["on_after_configure", "import_modules", "on_after_finalize"]


def test_a_package_that_is_not_there_is_an_error(app: App) -> None:
    app.autodiscover_tasks(["nowhere_at_all"])
    with pytest.raises(ModuleNotFoundError, match="nowhere_at_all"):
        app.load()


def test_arguments_and_results_may_be_models(app: App) -> None:
    pydantic = pytest.importorskip("pydantic")
    module = type(sys)("models")
    code = """
from pydantic import BaseModel
class Order(BaseModel):
    id: int
    price: float = 1.0
def double(order: Order, other: Order | None = None) -> Order:
    return Order(id=order.id * 2, price=order.price * 2)
"""
    exec(code, module.__dict__)
    task = app.task(name="double", pydantic=True)(module.double)
    assert task.apply(({"id": 2, "price": 2.5},)).get() == {"id": 4, "price": 5.0}
    assert task.apply(kwargs={"order": {"id": 1}}).get() == {"id": 2, "price": 2.0}
    failed = task.apply(({"id": "two"},))
    assert isinstance(failed.result, pydantic.ValidationError)
    strict = app.task(name="strict", pydantic=True, pydantic_strict=True)(module.double)
    assert isinstance(strict.apply(({"id": "2"},)).result, pydantic.ValidationError)
    lean = app.task(name="lean", pydantic=True, pydantic_dump_kwargs={"exclude": {"price"}})(module.double)
    assert lean.apply(({"id": 1},)).get() == {"id": 2}
