"""Options of `kernel worker` as a person types them: a process for each line."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bootsteps_tasks import App
from workers import running_worker

pytest.importorskip("bootsteps_worker_pool_solo")


def kernel(folder: Path, *words: str, **env: str) -> tuple[int, str, str]:
    """Run `kernel` in a folder; returns exit status, standard output and standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "bootsteps", *words], cwd=folder, capture_output=True, text=True, timeout=60,
        env={**os.environ, "XDG_STATE_HOME": str(folder / "state"), **env},
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "proj.py").write_text("from bootsteps_tasks import App\napp = App('proj')\nother = App('other')\n")
    return tmp_path


DRY = ("worker", "-P", "solo", "--dry-run")


@pytest.mark.parametrize("words", [("-A", "proj", *DRY), (*DRY, "-A", "proj"), ("--app=proj:other", *DRY)])
def test_the_application_may_be_named_before_or_after_the_command(folder, words):
    status, out, err = kernel(folder, *words, "-n", "w@%%h")
    assert (status, out[:20]) == (0, "w@%h would start: Ru"), err


def test_the_environment_may_name_the_application(folder):
    assert kernel(folder, *DRY)[0] == 2
    assert kernel(folder, *DRY, KERNEL_APP="proj")[0] == 0


def test_help_of_a_wrong_application_is_that_error(folder):
    status, out, err = kernel(folder, "worker", "--help", "-A", "proj")
    assert (status, err) == (0, "")
    assert out.index("\nOptions:") < out.index("bootsteps-consumer-tasks")
    status, out, err = kernel(folder, "-A", "nowhere", "worker", "--help")
    assert (status, "there is no module 'nowhere'" in err) == (2, True)


@pytest.mark.parametrize("level", ["DEBUG", "info", "Warning", "ERROR", "critical", "FATAL"])
def test_every_level_of_the_log_is_known_in_any_case(folder, level):
    status, _, err = kernel(folder, *DRY, "-A", "proj", "-l", level)
    assert status == 0, err
    assert ("New boot order" in err) is (level == "DEBUG")


def test_an_unknown_level_is_wrong_use(folder):
    status, _, err = kernel(folder, *DRY, "-A", "proj", "-l", "LOUD")
    assert (status, "'LOUD' is not one of" in err) == (2, True)


def test_an_unknown_queue_is_refused_when_none_may_be_made(folder):
    (folder / "strict.py").write_text(
        "from bootsteps_tasks import App\napp = App('strict', task_create_missing_queues=False)\n"
    )
    status, _, err = kernel(folder, "-A", "strict", "worker", "-P", "solo", "-Q", "nope")
    assert status == 2
    assert "no queue is called 'nope'" in err
    assert "task_create_missing_queues" in err


def test_a_quarantined_plugin_is_named_in_the_log(folder):
    info = folder / "site" / "their_thing-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-thing\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[worker.steps]\nBroken = their_thing:Broken\n")
    words = (*DRY, "-A", "proj", "--on-plugin-error", "quarantine")
    status, _, err = kernel(folder, *words, PYTHONPATH=str(folder / "site"))
    assert status == 0
    assert "WARNING" in err
    assert "Broken is quarantined: plugin 'Broken' cannot be loaded" in err
    assert "(worker.steps:Broken (their-thing 1.0))" in err


def test_modules_of_the_settings_are_imported_when_the_worker_starts(tmp_path, monkeypatch):
    (tmp_path / "jobs.py").write_text("from proj import app\n@app.task\ndef twice(x):\n    return 2 * x\n")
    (tmp_path / "verbs.py").write_text(
        "import bootsteps\n@bootsteps.inspect_command()\ndef colour(state):\n    return 'blue'\n"
    )
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    app = """
        import bootsteps
        from bootsteps_tasks import App
        app = App("proj", imports=("jobs", "verbs"))

        class Shows(bootsteps.Step):
            def start(self, worker):
                print("commands:", list(worker.blueprint.plan.commands))

        app.steps["worker"].add(Shows)
    """
    with running_worker(tmp_path, "-P", "solo", app=app) as worker:
        client = App("proj")
        assert client.send_task("jobs.twice", (21,)).get(timeout=10) == 42
        client.close()
        assert worker.stop() == 0
    assert "commands: ['colour']" in worker.log
