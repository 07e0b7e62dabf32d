"""Who runs a command that came by the socket: the loop if it turns, else, if it has no effect, whoever asks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

from bootsteps_consumer_control import Switchboard

__all__ = ["ACCEPTED", "Turns"]

#: Seconds that the loop has for a question before it counts as busy.
TURN_S = 0.01
ACCEPTED = "accepted; the loop is busy, and does it as soon as it turns"


class _Once:
    """A command that is run once, by whoever comes first."""

    def __init__(self, run: Callable[[], Any]) -> None:
        self._run = run
        self._lock = threading.Lock()
        self._taken = False
        self.done = threading.Event()
        self.answer: Any = None

    def __call__(self) -> None:
        if self.take():
            self.finish()

    def take(self) -> bool:
        """Tell, once, that it is yours."""
        with self._lock:
            taken, self._taken = self._taken, True
        return not taken

    def finish(self) -> None:
        self.answer = self._run()
        self.done.set()


class Turns:
    """Answers commands from any thread. What has an effect is done by the loop alone, however late."""

    def __init__(self, switchboard: Switchboard, call_soon: Callable[..., Any]) -> None:
        self._switchboard = switchboard
        self._call_soon = call_soon

    def answer(self, name: str, arguments: Mapping[str, Any], timeout_s: float) -> Any:
        """Return the command's reply; for one with an effect, after `timeout_s`, that it is accepted."""
        command = self._switchboard.command(name)
        once = _Once(lambda: self._switchboard.run(name, arguments))
        if command is None:
            once()
            return once.answer
        asks = command.kind == "inspect"
        self._call_soon(once)
        if once.done.wait(TURN_S if asks else timeout_s):
            return once.answer
        if not asks:
            return {"ok": ACCEPTED}
        # The loop is in a task, or in a long turn: nobody writes meanwhile, or it answers itself after all.
        if once.take():
            once.finish()
        once.done.wait(timeout_s)
        return once.answer if once.done.is_set() else {"error": "the worker is busy with this very question"}
