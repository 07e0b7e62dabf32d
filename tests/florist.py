"""A real Flower beside workers of ours: started, asked over HTTP as a browser would, and stopped by its process."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from workers import until

__all__ = ["APP", "Flower", "running_flower"]

#: Tasks that end in every way; `{name}` is of the queue and the exchanges, since one server serves all tests.
APP = """
    import time
    from pathlib import Path
    from bootsteps_tasks import App
    app = App("proj", broker={broker!r})
    app.conf.update(
        task_default_queue={name!r}, control_exchange={name!r}, event_exchange="{name}.ev", task_ignore_result=True,
        task_send_sent_event=True, worker_pool_restarts=True,
    )

    @app.task
    def add(x, y=0):
        return x + y

    @app.task
    def fail():
        raise ValueError("bad", 42)

    @app.task(bind=True, max_retries=1)
    def again(self, go):
        if self.request.retries:
            while not Path(go).exists():
                time.sleep(0.01)
            return "at last"
        raise self.retry(countdown=30, exc=KeyError("nope"))

    @app.task
    def nap(seconds):
        time.sleep(seconds)
"""
LIMIT_S = 30.0


class Flower:
    """Asks Flower what its pages and its buttons ask."""

    def __init__(self, url: str, log: Path) -> None:
        self.url = url
        self.log = log

    def ask(self, path: str, method: str = "GET", **query: Any) -> tuple[int, str]:
        """Return the status and the body."""
        url = f"{self.url}{path}" + (f"?{urllib.parse.urlencode(query)}" if query else "")
        request = urllib.request.Request(url, method=method, data=b"" if method == "POST" else None)
        try:
            with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as exc:
            return exc.code, exc.read().decode()

    def page(self, path: str, **query: Any) -> str:
        """Return a page, which must be there."""
        status, body = self.ask(path, **query)
        assert status == 200, f"{path}: {status} {body}\n{self.log.read_text()}"
        return body

    def told(self, path: str, **query: Any) -> Any:
        """Return what the API answers."""
        return json.loads(self.page(path, **query))

    def press(self, path: str, **query: Any) -> str:
        """Do what a button does, and return the message that it shows."""
        status, body = self.ask(path, "POST", **query)
        assert status == 200, f"{path}: {status} {body}\n{self.log.read_text()}"
        return str(json.loads(body)["message"])

    def worker(self, name: str) -> dict[str, Any]:
        """Return what it has just learnt of a worker."""
        return dict(self.told("/api/workers", refresh=1, workername=name)[name])

    def until_online(self, name: str) -> None:
        """Wait until it counts a worker among those that are up, and has asked it everything."""
        until(lambda: self.told("/api/workers", status=1).get(name) is True, f"{name} online", LIMIT_S)
        until(lambda: "stats" in self.told("/api/workers", refresh=1).get(name, {}), f"{name}'s statistics", LIMIT_S)

    def task(self, uuid: str, *states: str) -> dict[str, Any]:
        """Wait until a task is in one of these states, and return what it tells of it."""
        found: dict[str, Any] = {}

        def is_there() -> bool:
            status, body = self.ask(f"/api/task/info/{uuid}")
            found.clear()
            found.update(json.loads(body) if status == 200 else {})
            return found.get("state") in states

        until(is_there, f"{uuid} {states}, last {found}", LIMIT_S)
        return found


@contextmanager
def running_flower(folder: Path) -> Iterator[Flower]:
    """Start Flower for the `proj.py` in this folder, on a free port of loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = folder / "flower.log"
    words = ["-A", "proj", "flower", "--address=127.0.0.1", f"--port={port}", "--inspect_timeout=3000"]
    env = dict(os.environ, PYTHONPATH=str(folder), FLOWER_UNAUTHENTICATED_API="true", COLUMNS="80")
    env["XDG_STATE_HOME"] = str(folder / "state")
    with log.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "bootsteps", *words], cwd=folder, env=env, stdout=file, stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    flower = Flower(f"http://127.0.0.1:{port}", log)

    def is_up() -> bool:
        assert process.poll() is None, log.read_text()
        try:
            return flower.ask("/healthcheck")[0] == 200
        except OSError:
            return False

    try:
        until(is_up, "Flower's start", LIMIT_S)
        yield flower
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
