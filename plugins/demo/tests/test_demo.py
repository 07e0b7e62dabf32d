"""The tasks of the demo, and the demo itself on a small folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bootsteps_demo.app import measure, summarise
from bootsteps_demo.job import python_files


def test_a_file_is_measured(tmp_path):
    file = tmp_path / "x.py"
    file.write_text(
        "import os, sys.path\nfrom json import loads\nfrom . import me\n\ndef f():\n    pass\n\ndef g(): pass\n"
    )
    assert measure(str(file)) == {
        "path": str(file), "lines": 8, "functions": 2, "longest": ("f", 2), "imports": ["json", "os", "sys"],
    }  # fmt: skip


def test_a_file_that_cannot_be_parsed_raises(tmp_path):
    (tmp_path / "bad.py").write_text("def (:\n")
    with pytest.raises(SyntaxError):
        measure(str(tmp_path / "bad.py"))


def test_measures_are_summed_up(tmp_path):
    for name, text in {"a": "def f():\n  x = 1\n  y = 2\n", "b": "import os\n", "c": "import os, json\n"}.items():
        (tmp_path / f"{name}.py").write_text(text)
    summary = summarise([measure(str(path)) for path in python_files(tmp_path)], top=1)
    assert (summary["files"], summary["lines"], summary["functions"]) == (3, 5, 1)
    assert summary["longest"] == [(str(tmp_path / "a.py"), "f", 3)]
    assert summary["imports"] == [("os", 2)]


def test_the_standard_library_has_well_over_a_thousand_files_and_no_installed_package():
    files = python_files()
    assert len(files) > 1000
    assert not [path for path in files if "site-packages" in path.parts]


def run_demo(*args: str) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "bootsteps", "demo", *args]
    return subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, preexec_fn=_as_from_a_terminal
    )


def _as_from_a_terminal() -> None:
    """Listen to Ctrl-C, also when these tests run in the background of a shell, which ignores it for them."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "sources"
    folder.mkdir()
    for number in range(120):
        (folder / f"m{number:03}.py").write_text("import os\n" + "def f(x):\n    return x\n" * (number + 1))
    (folder / "bad.py").write_text("print 'python 2'\n")
    return folder


def test_every_file_is_answered_and_a_bad_one_is_a_failed_task(sources):
    demo = run_demo("--path", str(sources), "--json")
    out, err = demo.communicate(timeout=90)
    assert demo.returncode == 0, err
    told = json.loads(out)
    assert told["files"] == told["answers"] == 121
    assert list(told["errors"]) == [str(sources / "bad.py")]
    assert told["errors"][str(sources / "bad.py")].startswith("SyntaxError: Missing parentheses")
    assert told["summary"]["files"] == 120


def test_it_shows_graph_progress_table_and_throughput(sources):
    demo = run_demo("--path", str(sources), "-c", "1")
    out, err = demo.communicate(timeout=90)
    assert demo.returncode == 0, err
    for text in ("Consumer", "121 files to measure", "measured 121 of 121", "answered exactly once", "tasks/s",
                 "longest functions", "bad.py: SyntaxError", "worker stopped warmly"):  # fmt: skip
        assert text in out


def test_a_worker_that_is_killed_is_replaced_and_nothing_is_lost():
    demo = run_demo()
    assert demo.stdout is not None
    lines: list[str] = []
    for line in demo.stdout:
        lines.append(line)
        if line.startswith("measured"):
            pid = re.search(r"process (\d+);", "".join(lines))
            assert pid is not None
            os.kill(int(pid[1]), signal.SIGKILL)
            break
    out, err = demo.communicate(timeout=110)
    assert demo.returncode == 0, err
    assert "the worker died of signal 9 (SIGKILL); started another" in out
    answered = re.search(r"answered exactly once +([\d,]+)", out)
    assert answered is not None
    assert int(answered[1].replace(",", "")) == len(python_files())


def test_ctrl_c_stops_cleanly():
    demo = run_demo()
    assert demo.stdout is not None
    lines: list[str] = []
    for line in demo.stdout:
        lines.append(line)
        if line.startswith("measured"):
            break
    demo.send_signal(signal.SIGINT)
    _, err = demo.communicate(timeout=60)
    assert demo.returncode == 130
    assert "Traceback" not in err
    pid = re.search(r"process (\d+);", "".join(lines))
    assert pid is not None
    ends = time.monotonic() + 10
    while Path(f"/proc/{pid[1]}").exists():
        assert time.monotonic() < ends, "the worker is still there"
        time.sleep(0.01)


def test_a_folder_without_files_is_wrong_use(tmp_path):
    demo = run_demo("--path", str(tmp_path))
    _, err = demo.communicate(timeout=60)
    assert demo.returncode == 2
    assert "there is no Python file below" in err


def test_a_worker_that_does_not_start_is_told_and_its_log_kept(sources, monkeypatch):
    monkeypatch.setenv("KERNEL_WORKER_POOL", "nonsense")
    demo = run_demo("--path", str(sources))
    _, err = demo.communicate(timeout=60)
    assert demo.returncode == 1
    assert "the worker did not start" in err
    log = re.search(r"try: look into (\S+)", err)
    assert log is not None
    assert "worker_pool is 'nonsense'" in Path(log[1]).read_text()
    shutil.rmtree(Path(log[1]).parent)
