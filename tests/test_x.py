"""./x on machines of several kinds: which uv, which interpreters, which settings reach the child."""

import ast
import os
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
X = runpy.run_path(str(ROOT / "x"))


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("UV", raising=False)
    return folder


def program(path: Path, script: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def with_tools(folder: Path) -> Callable[[], Any]:
    """Return find_uv as it is in a checkout whose .x is `folder`."""
    find: Any = X["find_uv"]
    return type(find)(find.__code__, {**find.__globals__, "TOOLS": folder})  # type: ignore[no-any-return]


def test_a_uv_on_the_path_is_taken_if_its_version_fits(bin_folder: Path, tmp_path: Path) -> None:
    uv = program(bin_folder / "uv", "echo uv 0.13.8")
    assert with_tools(tmp_path / ".x")() == str(uv)


@pytest.mark.parametrize("answer", ["echo uv 0.8.9", "echo uv 0.14.0", "echo uv 1.0.0", "exit 1", "echo what"])
def test_a_uv_that_does_not_fit_gives_way_to_ours(answer: str, bin_folder: Path, tmp_path: Path) -> None:
    program(bin_folder / "uv", answer)
    find = with_tools(tmp_path / ".x")
    assert find() is None
    ours = program(tmp_path / ".x" / "bin" / "uv", "echo 'uv 0.9.0 (a build)'")
    assert find() == str(ours)


def test_the_settings_of_pip_reach_uv_and_its_own_go_first() -> None:
    given = {"PIP_INDEX_URL": "http://a.test", "PIP_EXTRA_INDEX_URL": "http://b.test", "PIP_CERT": "/c.pem"}
    env = X["child_environment"](dict(given))
    assert (env["UV_DEFAULT_INDEX"], env["UV_INDEX"], env["SSL_CERT_FILE"]) == tuple(given.values())
    assert X["child_environment"]({**given, "UV_INDEX": "http://d.test"})["UV_INDEX"] == "http://d.test"
    assert "UV_INDEX" not in X["child_environment"]({})


def test_the_child_compiles_and_downloads_no_interpreter() -> None:
    env = X["child_environment"]({"PYTHONDONTWRITEBYTECODE": "1", "VIRTUAL_ENV": "/elsewhere"})
    assert (env["UV_COMPILE_BYTECODE"], env["UV_PYTHON_DOWNLOADS"]) == ("1", "never")
    assert not {"PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV"} & set(env)


def test_pyenvs_interpreters_stand_behind_the_path_and_the_old_ones_do_not(tmp_path: Path) -> None:
    for version in ("2.7.18", "3.9.1", "3.10.13", "3.11.7", "3.13.0"):
        (tmp_path / "versions" / version / "bin").mkdir(parents=True)
    path = X["child_environment"]({"PATH": "/usr/bin", "PYENV_ROOT": str(tmp_path)})["PATH"]
    versions = [str(tmp_path / "versions" / version / "bin") for version in ("3.11.7", "3.13.0")]
    assert path.split(os.pathsep) == ["/usr/bin", *versions]


def old(env: dict[str, str]) -> Any:
    """Call use_new_interpreter as an older Python would."""
    use: Any = X["use_new_interpreter"]
    return type(use)(use.__code__, {**use.__globals__, "OLDEST": (99, 0)})(env)


def test_an_old_interpreter_is_told_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        old({"PATH": str(tmp_path)})
    assert "no Python 3.11 or newer was found\n  try: apt-get install" in capsys.readouterr().err


def test_an_interpreter_that_fails_when_run_is_passed_over(tmp_path: Path) -> None:
    program(tmp_path / "shims" / "python3.13", "exit 127")
    assert not X["works"](str(tmp_path / "shims" / "python3.13"))
    assert X["works"](sys.executable)


def test_it_parses_where_it_only_tells_that_python_is_too_old() -> None:
    ast.parse((ROOT / "x").read_text(), feature_version=(3, 6))


def test_what_each_verb_becomes() -> None:
    commands = X["commands"]
    assert commands("run", [])[-2:] == ["kernel", "demo"]
    assert commands("run", ["plugins", "list"])[-3:] == ["kernel", "plugins", "list"]
    assert commands("test", ["-x"])[-2:] == ["pytest", "-x"]
    assert commands("tox", ["-l"])[-2:] == ["tox", "-l"]
    assert commands("bench", ["--full"])[-3:] == ["python", "benchmarks/compare.py", "--full"]


def test_help_teaches_and_an_unknown_verb_is_an_error() -> None:
    shown = subprocess.run([str(ROOT / "x"), "--help"], capture_output=True, text=True, check=True).stdout
    assert all(f"./x {verb}" in shown for verb in ("run", "test", "tox", "lint", "bench"))
    wrong = subprocess.run([str(ROOT / "x"), "worker"], capture_output=True, text=True)
    assert (wrong.returncode, wrong.stderr) == (
        2,
        "x: there is no './x worker'\n  try: ./x run worker, or ./x --help\n",
    )
