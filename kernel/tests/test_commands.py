"""Remote commands: described by their functions, found without a registry, called with checked arguments."""

from __future__ import annotations

import sys
import types

import pytest

from bootsteps import POOL, CommandError, Commands, control_command, inspect_command
from bootsteps.commands import command_of, commands_in
from bootsteps.errors import DuplicateName


@control_command(args=[("n", int)], signature="[N=1]")
def increase(state, n=1):
    """Raise the limit."""
    return {"ok": state + n}


@inspect_command(alias="dump_it", requires=(POOL,))
def look(state, limit: int = 10, name: str = "x", *, deep: bool = False, **others):
    """Look at something.

    More words.
    """
    return [limit, name, deep]


def test_the_guides_words_describe_a_command():
    command = command_of(increase)
    assert command is not None
    assert (command.name, command.kind, command.signature) == ("increase", "control", "[N=1]")
    assert command.args == (("n", int),)
    assert increase(1, 2) == {"ok": 3}


def test_signature_and_docstring_describe_it_as_well():
    command = command_of(look)
    assert command is not None
    assert command.signature == "[LIMIT=10] [NAME=x] [DEEP=False]"
    assert [(name, convert("3")) for name, convert in command.args] == [("limit", 3), ("name", "3"), ("deep", "3")]
    assert command.help.startswith("Look at something.")
    assert command.requires == (POOL,)


def table() -> Commands:
    commands = Commands()
    for found in (increase, look):
        commands.add(command_of(found), f"here:{found.__name__}")  # type: ignore[arg-type]
    return commands


def test_commands_are_called_by_name_and_alias():
    assert table().call("increase", 10, {"n": 5}) == {"ok": 15}
    assert table().call("dump_it", None) == [10, "x", False]
    assert list(table()) == ["dump_it", "increase", "look"]


def test_wrong_calls_say_what_is_right():
    with pytest.raises(CommandError, match="no remote command is called 'incraese'") as caught:
        table().call("incraese", None)
    assert "did you mean 'increase'?" in str(caught.value)
    with pytest.raises(CommandError, match="unexpected keyword argument 'm'") as caught:
        table().call("increase", None, {"m": 1})
    assert "increase [N=1]" in str(caught.value)
    assert "here:increase" in str(caught.value)


def test_two_commands_of_one_name_are_refused():
    commands = table()
    with pytest.raises(DuplicateName, match="two remote commands are called 'increase'"):
        commands.add(command_of(increase), "there")  # type: ignore[arg-type]


def test_an_unknown_word_of_the_decorator_is_refused():
    with pytest.raises(TypeError, match="takes no colour"):
        control_command(colour="red")


def test_commands_are_found_in_a_module_but_not_those_it_only_imports():
    module = types.ModuleType("app_module")
    exec("from bootsteps import inspect_command\n@inspect_command()\ndef mine(state): return 1", module.__dict__)
    module.look = look  # type: ignore[attr-defined]
    assert [(where, command.name) for where, command in commands_in([module])] == [("app_module:mine", "mine")]
    assert "look" in {command.name for _, command in commands_in([sys.modules[__name__]])}
