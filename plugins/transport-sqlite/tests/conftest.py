# mypy: disable-error-code="no-untyped-call"
"""Brokers in temporary folders, and other processes that use them."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from kombu.connection import Connection

from bootsteps_transport_sqlite import connection

PEER = Path(__file__).with_name("peer.py")
DEADLINE_S = 30.0


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder like pytest's own, with a path that is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="bts-") as folder:
        yield Path(folder)


@pytest.fixture
def broker_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/broker.db"


@pytest.fixture
def connect(broker_url: str) -> Iterator[Callable[..., Connection]]:
    opened: list[Connection] = []

    def make(**options: Any) -> Connection:
        opened.append(connection(broker_url, **options))
        return opened[-1]

    yield make
    for each in opened:
        each.release()


class Peer:
    """A process that runs peer.py and tells what it does, one JSON line for each event."""

    def __init__(self, *args: str) -> None:
        self.process = subprocess.Popen([sys.executable, str(PEER), *args], stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self._fd = self.process.stdout.fileno()
        self._rest = b""

    def read(self, timeout: float = DEADLINE_S) -> Any:
        """Return the next event; fails after `timeout` seconds without one."""
        deadline = monotonic() + timeout
        while b"\n" not in self._rest:
            left = deadline - monotonic()
            assert left > 0, "the peer said nothing"
            if select.select([self._fd], [], [], left)[0]:
                got = os.read(self._fd, 65536)
                assert got, f"the peer ended with status {self.process.wait(5)}"
                self._rest += got
        line, self._rest = self._rest.split(b"\n", 1)
        return json.loads(line)

    def read_rest(self) -> list[Any]:
        """Return what a process said before its end."""
        while got := os.read(self._fd, 65536):
            self._rest += got
        return [json.loads(line) for line in self._rest.splitlines()]

    def end(self) -> None:
        self.process.kill()
        self.process.wait(10)
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def spawn(broker_url: str) -> Iterator[Callable[..., Peer]]:
    peers: list[Peer] = []

    def start(verb: str, *args: object) -> Peer:
        peers.append(Peer(verb, broker_url, *map(str, args)))
        return peers[-1]

    yield start
    for peer in peers:
        peer.end()
