"""One cell of the table: one system on one broker, its worker and its client, for one measurement."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from comparing.processes import Tree
from comparing.slots import NotDone, Slots
from comparing.systems import System

__all__ = ["Cell", "Client", "Worker"]

APPS = Path(__file__).resolve().parent.parent / "apps"
STOP_LIMIT_S = 5.0
IMPORT_LIMIT_S = 30.0


@dataclass(frozen=True)
class Cell:
    """What a measurement gets: it starts workers and clients here, and finds all files in `folder`."""

    system: System
    bin: Path
    broker_url: str
    backend_url: str
    folder: Path
    limit_s: float

    def slots(self, count: int) -> Slots:
        """Make the sink of this cell, before its worker and client are started."""
        return Slots(self.folder / "sink", count)

    def one_at_a_time(self) -> Cell:
        """Return the cell with a worker whose processes run one task at one time each."""
        words = (*self.system.worker, *self.system.one_at_a_time)
        return replace(self, system=replace(self.system, worker=words))

    @contextmanager
    def client(self, results: bool = False) -> Iterator[Client]:
        """Run a producer in the system's environment."""
        command = [str(self.bin / "python"), str(APPS / "client.py"), self.system.app]
        with (self.folder / "client.log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, env=self._environment(results), stderr=log,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            )  # fmt: skip
        try:
            yield Client(process, self.limit_s)
        finally:
            process.kill()
            process.communicate()

    @contextmanager
    def worker(self, results: bool = False, name: str = "worker") -> Iterator[Worker]:
        """Run the system's worker."""
        program, *words = (word.replace("{node}", name) for word in self.system.worker)
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [str(self.bin / program), *words], cwd=self.folder, env=self._environment(results), stdout=log,
                stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        worker = Worker(process)
        try:
            yield worker
        finally:
            worker.stop()

    def command_s(self, words: tuple[str, ...]) -> float:
        """Run one of the system's commands; return the seconds that it takes."""
        began = time.monotonic()
        command = [str(self.bin / words[0]), *words[1:]]
        subprocess.run(command, cwd=self.folder, env=self._environment(False), check=True, capture_output=True)
        return time.monotonic() - began

    def _environment(self, results: bool) -> dict[str, str]:
        """Return the environment of worker and client: nothing of whoever calls us reaches them by accident."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        ours: Mapping[str, str] = {
            "BENCH_BROKER": self.broker_url,
            "BENCH_BACKEND": self.backend_url,
            "BENCH_RESULTS": "1" if results else "0",
            "BENCH_SINK": str(self.folder / "sink"),
            "BENCH_VARIANT": "",
            "PYTHONPATH": str(APPS),
            "XDG_STATE_HOME": str(self.folder / "state"),
        }
        return {**kept, **ours, **self.system.env}


class Client:
    """The harness's side of apps/client.py."""

    def __init__(self, process: subprocess.Popen[bytes], limit_s: float) -> None:
        self._process = process
        self._limit_s = limit_s
        #: of bulk, later, nap: what the system has
        self.offers: list[str] = self._read(IMPORT_LIMIT_S)["offers"]

    def call(self, command: str, *arguments: float) -> dict[str, Any]:
        """Have the client do something; return its answer. Raises NotDone."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([command, *arguments]).encode() + b"\n")
        self._process.stdin.flush()
        return self._read(self._limit_s)

    def _read(self, limit_s: float) -> dict[str, Any]:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], limit_s)[0]:
            raise NotDone(f"the client did not answer within {limit_s:.0f} s")
        line = self._process.stdout.readline()
        if not line:
            raise NotDone("the client ended")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise NotDone(answer["error"])
        return answer


class Worker:
    """A running worker of any system."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self.tree = Tree(process.pid)

    def alive(self) -> bool:
        return self._process.poll() is None

    def stop(self) -> None:
        """End it: warmly, and whatever is left of its tree by force."""
        pids = self.tree.pids()
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_LIMIT_S)
        for pid in pids[1:]:
            _kill(pid, self._process.pid)
        self._process.kill()
        self._process.wait()


def _kill(pid: int, session: int) -> None:
    """Kill a process if it still is of this session: its number may belong to somebody else by now."""
    with suppress(ProcessLookupError):
        if os.getsid(pid) == session:
            os.kill(pid, signal.SIGKILL)
