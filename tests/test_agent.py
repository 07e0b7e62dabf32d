"""`worker_agent`: an object of the application's own that lives with the consumer's connection."""

from __future__ import annotations

from pathlib import Path

from cable import Cable
from workers import running_worker

APP = """
    from bootsteps_tasks import App
    app = App("proj", worker_agent="proj:Agent", broker_connection_timeout=2)

    class Agent:
        def __init__(self, connection):
            self.connection = connection
        def start(self):
            print("agent starts", self.connection.connected, flush=True)
        def stop(self):
            print("agent stops", flush=True)
"""


def test_an_agent_is_made_and_started_with_each_connection(tmp_path: Path, redis_url: str) -> None:
    cable = Cable(f"{redis_url.rpartition('/')[0]}/13")
    with running_worker(tmp_path, "-P", "solo", app=APP, broker=cable.url) as worker:
        worker.until_logged("agent starts True")
        cable.cut()
        worker.until_logged("agent stops")
        cable.mend()
        worker.until_logged("agent starts True", times=2)
        assert worker.stop() == 0
        assert worker.log.count("agent stops") == 2
    cable.cut()


def test_an_agent_that_cannot_be_imported_ends_the_boot(tmp_path: Path, redis_url: str) -> None:
    text = """
    from bootsteps_tasks import App
    app = App("proj", worker_agent="proj:Nobody")
    """
    with running_worker(tmp_path, "-P", "solo", app=text, broker=redis_url, ready=False) as worker:
        assert worker.wait() == 2
        assert "worker_agent names 'proj:Nobody', which cannot be imported" in worker.log
        assert "Traceback" not in worker.log
