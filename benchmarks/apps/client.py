"""A producer in a system's own environment: python client.py APPLICATION, one JSON list per line in, one answer out.

It knows the applications' functions and nothing of any system: `send` and `result`, and those that a system may lack
(`send_bulk`, `send_later`, `send_nap`); without `send_each` one call of `send` follows the other.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from time import monotonic, process_time, sleep
from typing import Any

import sink

Answer = dict[str, Any]


class Client:
    """Each public method is one command."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._last: Any = None
        getattr(app, "start", lambda: None)()

    def each(self, first: int, count: int) -> Answer:
        """Publish no-op tasks one by one."""
        send_each: Callable[[range], Any] = getattr(self._app, "send_each", self._one_by_one)
        return self._timed(send_each, range(first, first + count))

    def bulk(self, first: int, count: int) -> Answer:
        """Publish no-op tasks the way that the system has for many."""
        return self._timed(self._app.send_bulk, range(first, first + count))

    def fill(self, first: int, count: int) -> Answer:
        """Publish no-op tasks in the fastest way: what it costs is not what is measured."""
        return self.bulk(first, count) if hasattr(self._app, "send_bulk") else self.each(first, count)

    def later(self, first: int, count: int, seconds: float) -> Answer:
        """Publish no-op tasks that are due in so many seconds."""
        return self._timed(lambda indexes: self._app.send_later(indexes, seconds), range(first, first + count))

    def naps(self, first: int, count: int, seconds: float) -> Answer:
        """Publish tasks that sleep for so many seconds, noting when each was sent."""
        for index in range(first, first + count):
            sink.sent(index)
            self._app.send_nap(index, seconds)
        return {}

    def paced(self, first: int, count: int, rate: float) -> Answer:
        """Publish no-op tasks at an even rate, whatever becomes of them, noting when each was sent."""
        starts = monotonic()
        for number in range(count):
            _sleep_until(starts + number / rate)
            sink.sent(first + number)
            self._last = self._app.send(first + number)
        return {}

    def results(self, first: int, count: int, rate: float) -> Answer:
        """Publish and wait for the result, one task at a time, `rate` a second at most; answer the seconds of each."""
        waits, due = [], monotonic()
        for index in range(first, first + count):
            _sleep_until(due)
            began = monotonic()
            self._app.result(self._app.send(index))
            waits.append(monotonic() - began)
            due = max(due + 1 / rate, monotonic())
        return {"waits": waits}

    def last(self) -> Answer:
        """Wait for the result of the last task sent: whoever claims to store results has it."""
        self._app.result(self._last)
        return {}

    def _one_by_one(self, indexes: range) -> Any:
        send, handle = self._app.send, None
        for index in indexes:
            handle = send(index)
        return handle

    def _timed(self, publish: Callable[[range], Any], indexes: range) -> Answer:
        wall, cpu = monotonic(), process_time()
        self._last = publish(indexes)
        return {"seconds": monotonic() - wall, "cpu_s": process_time() - cpu}


def _sleep_until(moment: float) -> None:
    while (left := moment - monotonic()) > 0:
        sleep(left)


def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # whatever a system prints is no answer
    app = importlib.import_module(sys.argv[1])
    client = Client(app)
    offers = [name for name in ("bulk", "later", "nap") if hasattr(app, f"send_{name}")]
    print(json.dumps({"offers": offers}), file=answers, flush=True)
    for line in iter(sys.stdin.readline, ""):
        command, *arguments = json.loads(line)
        try:
            answer = getattr(client, command)(*arguments)
        except Exception as exc:  # whatever a system raises is told to who asked
            answer = {"error": f"{command}: {type(exc).__name__}: {exc}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
