"""Announcements: heard by all, whatever one listener does; each is documented, and announced somewhere."""

from __future__ import annotations

import ast
import inspect
import logging
from pathlib import Path

import pytest

from bootsteps import Hooks, KernelError, hookimpl
from bootsteps import hooks as specs


class Listener:
    def __init__(self) -> None:
        self.heard: list[object] = []

    @hookimpl
    def pool_resized(self, size):
        self.heard.append(size)


class Failing:
    @hookimpl
    def pool_resized(self, size):
        raise ZeroDivisionError("listener bug")


class NoArguments:
    heard = 0

    @hookimpl
    def pool_resized(self):
        self.heard += 1


def test_a_failing_listener_is_named_and_the_others_hear(caplog):
    hooks, first, last, small = Hooks(), Listener(), Listener(), NoArguments()
    for name, plugin in {"first": first, "bad-one": Failing(), "small": small, "last": last}.items():
        hooks.register(plugin, name)
    with caplog.at_level(logging.ERROR):
        hooks.announce("pool_resized", size=3)
    assert first.heard == last.heard == [3]
    assert small.heard == 1
    assert "listener bad-one of pool_resized failed" in caplog.text
    assert "listener bug" in caplog.text


def test_no_listener_is_told_cheaply_and_an_unregistered_one_hears_no_more():
    hooks, listener = Hooks(), Listener()
    assert hooks.listeners("pool_resized") == ()
    hooks.register(listener, "one")
    assert [name for name, *_ in hooks.listeners("pool_resized")] == ["one"]
    hooks.unregister(listener)
    hooks.unregister(listener)
    hooks.announce("pool_resized", size=1)
    assert listener.heard == []


def test_a_listener_of_a_hook_that_does_not_exist_is_refused():
    class Typo:
        @hookimpl
        def pool_resize(self, size):
            pass

    class Wrong:
        @hookimpl
        def pool_resized(self, sizes):
            pass

    for plugin in (Typo(), Wrong()):
        with pytest.raises(KernelError, match="pool_resize") as caught:
            Hooks().register(plugin, "their-plugin")
        assert "their-plugin" in str(caught.value)


def hook_names() -> list[str]:
    return sorted(name for name, value in vars(specs).items() if hasattr(value, "bootsteps_spec"))


@pytest.mark.parametrize("name", hook_names())
def test_every_hook_says_what_it_tells_and_types_its_arguments(name):
    spec = getattr(specs, name)
    assert (inspect.getdoc(spec) or "").endswith(".")
    assert all(p.annotation is not p.empty for p in inspect.signature(spec).parameters.values())


def announced() -> set[str]:
    root = Path(__file__).parents[2]
    calls = set()
    for file in [*root.glob("kernel/src/**/*.py"), *root.glob("plugins/*/src/**/*.py")]:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and "announce" in ast.unparse(node.func) and node.args:
                if isinstance(node.args[0], ast.Constant):
                    calls.add(str(node.args[0].value))
    return calls


def test_every_hook_is_announced_somewhere():
    if not (Path(__file__).parents[2] / "plugins" / "worker-pool-prefork").exists():
        pytest.skip("the plugins are not here")
    assert set(hook_names()) <= announced()
