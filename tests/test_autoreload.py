"""A real worker takes new code, and finishes what runs with the old."""

from __future__ import annotations

import pytest

from workers import running_worker, until

pytest.importorskip("bootsteps_worker_autoreloader")

APP = """
    import os, time
    from bootsteps_tasks import App
    app = App("proj", include=("proj_words",))
"""
WORDS = """
import os, time
from pathlib import Path
from proj import app
@app.task
def say(mark=None):
    if mark:
        Path(mark).touch()
        time.sleep(2.0)
    return WORD
WORD = {!r}
"""


def write(folder, text):
    """Replace the file at one stroke, as editors do."""
    (folder / "proj_words.new").write_text(text)
    (folder / "proj_words.new").replace(folder / "proj_words.py")


@pytest.mark.parametrize(
    "pool", [["prefork"], ["prefork", "--pool-start-method", "forkserver"], ["threads"], ["gevent"]], ids="-".join
)
def test_new_code_runs_after_an_edit_and_the_running_task_is_finished_by_the_old(tmp_path, client, pool):
    def say(*args):
        return client.send_task("proj_words.say", args)

    write(tmp_path, WORDS.format("old"))
    with running_worker(tmp_path, "--autoreload", "-c", "2", "-P", *pool, app=APP) as worker:
        assert say().get(timeout=30) == "old"
        long = say(str(tmp_path / "mark"))
        until((tmp_path / "mark").exists)
        write(tmp_path, WORDS.format("new"))
        worker.until_logged("every child is replaced after its task")
        until(lambda: say().get(timeout=30) == "new")
        # a thread has no code of its own: its task sees the module in which it began
        assert long.get(timeout=30) == "old"
        write(tmp_path, WORDS.format("broken") + "def oops(:\n")
        worker.until_logged("the old code goes on: ")
        assert say().get(timeout=30) == "new"
        (line,) = [line for line in worker.log.splitlines() if "the old code goes on: " in line]
        assert "SyntaxError" in line
        assert "proj_words.py, line" in line
        write(tmp_path, WORDS.format("third") + "@app.task\ndef more(): return 'more'\n")
        until(lambda: say().get(timeout=30) == "third")
        assert client.send_task("proj_words.more").get(timeout=30) == "more", "tasks that were not there before"
        assert worker.stop() == 0
        assert "lost" not in worker.log
