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


def test_delay_keeps_the_parameters_of_the_function(tmp_path: Path) -> None:
    pytest.importorskip("mypy", reason="pip install mypy")
    (tmp_path / "proj.py").write_text(CODE)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir", str(tmp_path / "cache")]
    # Only our types count here, not those of what they are made with.
    done = subprocess.run(
        [*command, "--follow-imports=silent", "proj.py"], cwd=tmp_path, capture_output=True, text=True
    )
    found = {
        int(line.split(":")[1]): line.rpartition("[")[2].rstrip("]")
        for line in done.stdout.splitlines()
        if ": error:" in line
    }
    marked = {number: line.rpartition(" ")[2] for number, line in enumerate(CODE.splitlines(), 1) if "# error:" in line}
    assert found == marked, done.stdout + done.stderr
