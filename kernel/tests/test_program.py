"""What the program answers at once, and when it takes the long way."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import bootsteps

#: Says how it was called, and whether the command line was imported for it.
PROBE = """
import sys
def run(words):
    if words == ["leave"]:
        return None
    print("at once", words, "click" in sys.modules)
    return 7
"""
COMMANDS = """
import click
@click.command()
@click.argument("words", nargs=-1)
def probe(words):
    click.echo(f"the long way {words}")
"""
POINTS = {"kernel.commands": {"probe": "long_way:probe"}, "kernel.quick": {"probe": "short_way:run"}}

Call = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def call(tmp_path: Path) -> Call:
    def kernel(*words: str, sites: tuple[str, ...] = ("site",), **env: str) -> subprocess.CompletedProcess[str]:
        path = os.pathsep.join(str(tmp_path / site) for site in sites)
        return subprocess.run(
            [sys.executable, "-m", "bootsteps", *words],
            env={**os.environ, "PYTHONPATH": path, **env}, cwd=tmp_path, text=True, capture_output=True, timeout=60,
        )  # fmt: skip

    return kernel


def test_a_quick_command_is_called_without_the_command_line(make_dist, call):
    make_dist("probing", POINTS, {"short_way": PROBE, "long_way": COMMANDS})
    done = call("probe", "a", "--b")
    assert (done.stdout, done.returncode) == ("at once ['a', '--b'] False\n", 7)


def test_what_it_leaves_is_the_commands(make_dist, call):
    make_dist("probing", POINTS, {"short_way": PROBE, "long_way": COMMANDS})
    assert call("probe", "leave").stdout == "the long way ('leave',)\n"
    assert call("--without", "nothing", "probe", "a").stdout == "the long way ('a',)\n"
    assert call("probe", "a", KERNEL_WITHOUT="nothing").stdout == "the long way ('a',)\n"


def test_two_of_one_name_are_told_by_the_command_line(make_dist, call):
    make_dist("probing", POINTS, {"short_way": PROBE, "long_way": COMMANDS})
    make_dist("probing-too", POINTS, {"short_way": PROBE, "long_way": COMMANDS}, folder="other")
    done = call("probe", "a", sites=("site", "other"))
    assert (done.returncode, "two commands are called 'probe'" in done.stderr) == (2, True)


def test_one_that_cannot_be_imported_leaves_the_long_way(make_dist, call):
    make_dist("probing", POINTS, {"short_way": "raise OSError('x')", "long_way": COMMANDS})
    assert call("probe", "a").stdout == "the long way ('a',)\n"


def test_nothing_is_taken_from_the_current_directory(make_dist, call, tmp_path):
    make_dist("probing", POINTS, {"short_way": PROBE, "long_way": COMMANDS}, folder=".")
    done = call("probe", "a", sites=(".",))
    assert (done.returncode, "there is no command 'probe'" in done.stderr) == (2, True)


def test_the_version_is_told_without_the_command_line(call):
    program = "import sys; from bootsteps.program import main\ntry: main(['--version'])\nfinally: print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], text=True, capture_output=True, timeout=60)
    told, modules = done.stdout.splitlines()
    assert told == f"kernel {bootsteps.__version__} (bootsteps)"
    assert {name for name in modules.split() if name.startswith("bootsteps")} == {"bootsteps", "bootsteps.program"}
    assert "click" not in modules.split()


def test_the_public_page_says_the_same_to_machines_and_type_checkers():
    tree = ast.parse(Path(bootsteps.__file__).read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    told = {name.name: node.module for node in block.body if isinstance(node, ast.ImportFrom) for name in node.names}
    assert told == {name: f"bootsteps.{module}" for name, module in bootsteps._MODULES.items()}
    assert sorted([*told, "__version__"]) == sorted(bootsteps.__all__)
    assert not {*told} & {path.stem for path in Path(bootsteps.__file__).parent.glob("*.py")}  # a module would hide it
    for name in bootsteps.__all__:
        assert getattr(bootsteps, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = bootsteps.nonsense
