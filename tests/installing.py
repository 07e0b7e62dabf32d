"""Install folders of this checkout into a place of their own, with the uv that `./x` finds, else with pip."""

from __future__ import annotations

import importlib.util
import os
import runpy
import subprocess
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

__all__ = ["ROOT", "install_into_folder", "kernel", "make_environment", "pip", "pip_install", "uv"]

ROOT = Path(__file__).resolve().parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
INSTALL_LIMIT_S = 110.0


@cache
def uv() -> str | None:
    """Return the uv that `./x` would take, or None."""
    found: str | None = runpy.run_path(str(ROOT / "x"))["find_uv"]()
    return found


@cache
def pip() -> tuple[str, ...]:
    """Return the command of a pip that works for this interpreter: its own, or its base interpreter's."""
    if importlib.util.find_spec("pip"):
        return (sys.executable, "-m", "pip")
    base = str(getattr(sys, "_base_executable", sys.executable))
    found = subprocess.run([base, "-m", "pip", "--version"], capture_output=True).returncode == 0
    return (base, "-m", "pip", "--python", sys.executable) if found else ()


def install_into_folder(source: Path, target: Path) -> None:
    """Build the distribution in `source` and install it, without what it depends on, into the folder `target`.

    With `target` on PYTHONPATH it joins what is installed here. uv has the back end in itself: no index is asked.
    """
    if uv():
        command = [str(uv()), "pip", "install", "--python", sys.executable]
    elif pip():
        command = [*pip(), "install"]
        command += ["--no-build-isolation"] if importlib.util.find_spec("uv_build") else []
    else:
        pytest.skip("neither uv nor pip is here to build a distribution; try: ./x test, which finds or installs uv")
    run([*command, "-q", "--no-deps", "--target", str(target), str(source)])


def make_environment(folder: Path, members: Sequence[str]) -> Path:
    """Make an empty virtual environment with these folders of the workspace and what they depend on.

    Returns its interpreter. Skips where there is no uv: pip would ask the index for the back end once for each folder.
    """
    if not uv():
        pytest.skip("uv is not here; try: ./x test, which finds or installs it")
    python = folder / "bin" / "python"
    run([str(uv()), "venv", "-q", "--python", sys.executable, str(folder)])
    paths = [str(ROOT / member) for member in members]
    run([str(uv()), "pip", "install", "-q", "--python", str(python), "-c", str(CONSTRAINTS), *paths])
    return python


def pip_install(folder: Path, members: Sequence[str]) -> Path:
    """Do as the README says: `python -m venv`, `pip install -c constraints.txt ./kernel ...`.

    Returns the interpreter.
    """
    python = folder / "bin" / "python"
    run([sys.executable, "-m", "venv", str(folder)])
    paths = [f"./{member}" for member in members]
    try:
        run([str(python), "-m", "pip", "install", "-q", "-c", "constraints.txt", *paths])
    except AssertionError as exc:
        if "No matching distribution found" in str(exc) and not os.environ.get("CI"):
            pytest.skip("pip finds no index with the build back end; try: set PIP_INDEX_URL")
        raise
    return python


def run(command: Sequence[str]) -> None:
    """Run an installer in the checkout; AssertionError with what it said when it fails."""
    env = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=INSTALL_LIMIT_S
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}"


def kernel(
    folder: Path, *args: str, python: Path | str = sys.executable, path: Sequence[Path] = (), **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run `kernel ARGS` in `folder`, in a process of its own, with these folders and no others on PYTHONPATH."""
    env = dict(os.environ, XDG_STATE_HOME=str(folder / "state"), COLUMNS="200", **variables)
    env["PYTHONPATH"] = os.pathsep.join(map(str, path))
    command = [str(python), "-m", "bootsteps", *args]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=60)
