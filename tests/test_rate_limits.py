"""Rate limits in a real worker: what waits for one holds no place and stands in nobody's way."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bootsteps_tasks import App
from bootsteps_tasks.control import broadcast
from workers import running_worker

APP = """
    import time
    from bootsteps_tasks import App
    app = App("proj", task_default_queue={queue!r}, control_exchange={queue!r})

    @app.task(rate_limit="4/s")
    def slow(x):
        return time.time()

    @app.task
    def quick(x):
        return x
"""


@pytest.fixture(params=["redis", "amqp", "sqlite"])
def app(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    queue = f"rates-{os.getpid()}-{time.monotonic_ns()}"
    url = {} if request.param == "sqlite" else {"broker_url": request.getfixturevalue(f"{request.param}_url")}
    app = App("proj", task_default_queue=queue, control_exchange=queue, **url)
    yield app
    app.close()


def test_limited_tasks_run_at_their_rate_and_others_flow_past_them(app, tmp_path):
    text = APP.format(queue=app.conf["task_default_queue"])
    limited = [app.send_task("proj.slow", (n,)) for n in range(9)]
    behind = [app.send_task("proj.quick", (n,)) for n in range(30)]
    with running_worker(tmp_path, "-c", "1", app=text, broker=app.conf["broker_url"] or "") as worker:
        worker.until_logged("the mailbox is open")
        assert [result.get(timeout=20) for result in behind] == list(range(30))
        assert not limited[-1].ready()
        moments = [result.get(timeout=20) for result in limited]
        gaps = [after - before for before, after in itertools.pairwise(moments)]
        # One may be late on a busy machine, and the next is on time all the same.
        assert all(sum(pair) > 0.35 for pair in itertools.pairwise(gaps)), gaps
        assert moments[-1] - moments[0] > 0.25 * (len(moments) - 1) - 0.2
        assert moments[-1] - moments[0] < 4
        broadcast(app, "rate_limit", {"task_name": "proj.slow", "rate_limit": 0})
        worker.until_logged("received", times=39)
        more = [app.send_task("proj.slow", (n,)) for n in range(20)]
        began = time.monotonic()
        for result in more:
            result.get(timeout=20)
        assert time.monotonic() - began < 4
        assert worker.stop() == 0
