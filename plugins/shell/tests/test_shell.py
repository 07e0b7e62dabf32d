"""The prompt and the Tab key, in processes and shells of their own."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bootsteps_shell.cli import names
from bootsteps_tasks import App

PROJ = """
from bootsteps_tasks import App
app = App("proj", broker="memory://")

@app.task
def add(x, y):
    return x + y
"""


def kernel(folder: Path, *words: str, input: str = "", **env: str) -> subprocess.CompletedProcess[str]:
    (folder / "proj.py").write_text(PROJ)
    return subprocess.run(
        [sys.executable, "-m", "bootsteps", *words], cwd=folder, env={**os.environ, **env}, text=True,
        capture_output=True, input=input, timeout=100,
    )  # fmt: skip


def test_the_application_and_its_tasks_are_there(tmp_path: Path) -> None:
    code = "print('sum', add(1, 2))\nprint('name', app.main, chain.__name__)\n"
    done = kernel(tmp_path, "-A", "proj", "shell", "--python", input=code)
    assert done.returncode == 0, done.stderr
    assert "sum 3" in done.stdout
    assert "name proj chain" in done.stdout
    done = kernel(tmp_path, "-A", "proj", "shell", "--python", "-T", input=code)
    assert "name 'add' is not defined" in done.stderr
    assert "name proj chain" in done.stdout


def test_of_two_tasks_of_one_name_the_prompt_knows_one() -> None:
    app = App("proj", broker="memory://")
    for module in ("a", "b"):
        app.task(name=f"{module}.sum_of_two")(lambda: None)
    app.task(name="c.no-name")(lambda: None)
    known = names(app)
    assert known["sum_of_two"].name == "b.sum_of_two"
    assert known["app"] is app
    assert "no-name" not in known
    assert "sum_of_two" not in names(app, tasks=False)
    app.close()


def test_a_prompt_that_is_not_installed_is_told(tmp_path: Path) -> None:
    missing = [
        name for name in ("ipython", "bpython") if not importlib.util.find_spec({"ipython": "IPython"}.get(name, name))
    ]
    for name in missing:
        done = kernel(tmp_path, "shell", f"--{name}")
        assert (done.returncode, f"pip install {name}" in done.stderr) == (2, True)


@pytest.mark.parametrize("name", ["IPython", "bpython"])
def test_another_prompt_gets_the_same_names(tmp_path: Path, name: str) -> None:
    """A stand-in for the library tells what it was given: neither is in our environment."""
    call = (
        "start_ipython(argv, user_ns):\n    known = user_ns" if name == "IPython" else "embed(known, banner):\n    pass"
    )
    (tmp_path / f"{name}.py").write_text(f"def {call}\n    print('prompt', sorted(known))\n")
    done = kernel(tmp_path, "-A", "proj", "shell", f"--{name.lower()}", PYTHONPATH=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "prompt ['AsyncResult', 'add', 'app'," in done.stdout


@pytest.mark.parametrize(
    ("words", "found"),
    [("kernel pl", {"plugins"}), ("kernel worker --logl", {"--loglevel"}), ("kernel nosuch -", set())],
    ids=["command", "option", "unknown"],
)
def test_the_tab_key_completes(tmp_path: Path, words: str, found: set[str]) -> None:
    if "worker" in words:
        pytest.importorskip("bootsteps_worker")
    done = kernel(
        tmp_path, _KERNEL_COMPLETE="bash_complete", COMP_WORDS=words, COMP_CWORD=str(len(words.split()) - 1),
    )  # fmt: skip
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == found, done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_the_shell_reads(tmp_path: Path, shell: str) -> None:
    done = kernel(tmp_path, "completion", shell)
    assert (done.returncode, "_KERNEL_COMPLETE" in done.stdout) == (0, True)
    (tmp_path / "script").write_text(done.stdout)
    if shutil.which(shell):  # bash is everywhere
        assert subprocess.run([shell, "-n", "script"], cwd=tmp_path, check=False).returncode == 0


def test_bash_completes_with_the_script(tmp_path: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("install bash")
    (tmp_path / "script").write_text(kernel(tmp_path, "completion", "bash").stdout)
    line = "source ./script; COMP_WORDS=(kernel plug); COMP_CWORD=1; _kernel_completion kernel; echo ${COMPREPLY[@]}"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    done = subprocess.run(
        ["bash", "-c", line], cwd=tmp_path, env={**os.environ, "PATH": path}, text=True, capture_output=True,
        timeout=60,
    )  # fmt: skip
    assert done.stdout.split() == ["plugins"], done.stderr
