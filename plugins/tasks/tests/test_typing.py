from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CODE = """
from typing import Any
from bootsteps_tasks import App, Task

app = App("proj")

@app.task
def add(x: int, y: int = 0) -> int:
    return x + y

@app.task(bind=True, queue="slow")
def grow(self: Task[..., Any], x: int) -> str:
    return self.name * x

add.delay(1, y=2)
grow.delay(3)
total: int = add.delay(1).get() + add(1)
text: str = grow(1)
add.delay("wrong type")             # error: arg-type
grow.delay(3, 4)                    # error: call-arg
wrong: str = add.delay(1).get()     # error: assignment
add.apply_async((1,), queu="slow")  # error: call-arg
"""
#: With the plugin.
MORE = """
from typing import Any
from bootsteps_tasks import App, Task

app = App("proj")
words: list[Any] = []

@app.task
def add(x: int, y: int = 0, *, text: str = "") -> int:
    return x + y

@app.task(bind=True)
def grow(self: Task[..., Any], x: int) -> str:
    return self.name * x

@app.task
def free(*args: int) -> int:
    return len(args)

total: int = add.apply_async((1, 2), {"text": "a"}, countdown=3).get()
add.apply_async([1], kwargs={"y": 2})
add.apply_async(words)
add.apply_async(kwargs={"x": 1})
add.apply_async(None, {"x": 1})
grow.apply_async((3,), queue="slow")
free.apply_async((1, 2, 3))
add.apply((1, 2))
add.apply_async(("one",))                # error: arg-type
add.apply_async((1, 2, 3))               # error: call-arg
add.apply_async((1,), {"x": 2})          # error: call-arg
add.apply_async((1,), {"z": 2})          # error: call-arg
add.apply_async((1,), {"text": 2})       # error: arg-type
add.apply_async()                        # error: call-arg
grow.apply_async((3, 4))                 # error: call-arg
grow.apply(("three",))                   # error: arg-type
"""


def errors(folder: Path, code: str, settings: str = "") -> dict[int, str]:
    """Return the line and the code of each error that mypy sees."""
    (folder / "proj.py").write_text(code)
    (folder / "mypy.ini").write_text(f"[mypy]\n{settings}\n")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(folder / "cache")]
    # Only our types count here, not those of what they are made with.
    done = subprocess.run([*command, "--follow-imports=silent", "proj.py"], cwd=folder, capture_output=True, text=True)
    assert not done.stderr
    lines = [line for line in done.stdout.splitlines() if ": error:" in line]
    return {int(line.split(":")[1]): line.rpartition("[")[2].rstrip("]") for line in lines}


def marked(code: str) -> dict[int, str]:
    lines = enumerate(code.splitlines(), 1)
    return {number: line.rpartition(" ")[2] for number, line in lines if "# error:" in line}


def test_delay_keeps_the_parameters_of_the_function(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="pip install mypy")
    assert errors(tmp_path, CODE) == marked(CODE)


def test_with_the_plugin_apply_async_keeps_them_too(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="pip install mypy")
    assert errors(tmp_path, MORE, "plugins = bootsteps_tasks.mypy_plugin") == marked(MORE)
