"""The cluster that the monitor shows: what its events tell, and what is told to its workers."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bootsteps_consumer_events.state import State
    from bootsteps_tasks import App

__all__ = ["Cluster"]

#: Seconds for which workers are waited for when they are told something.
PATIENCE_S = 5.0


class Cluster:
    """Listens in a thread of its own while it is entered. Safe from any thread; what it tells workers may block.

    Raises `KernelError` when the application's broker is none that is known.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._url = app.mask_url(app.connection().as_uri())
        #: Workers and tasks.
        self.state: State = app.events.State()
        #: How it stands with the broker, for people to read.
        self.line = f"connecting to {self._url} ..."
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="events", daemon=True)

    def __enter__(self) -> Cluster:
        self._thread.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._ended.set()
        self._thread.join(2.0)

    def _listen(self) -> None:
        from bootsteps_consumer_events.watching import watch

        try:
            watch(self._app, self.state.event, self._ended.is_set, on_open=self._opened, on_lost=self._lost)
        except Exception as exc:  # the screen stays, and says why nothing moves
            self.line = f"no longer listening: {exc}"

    def _opened(self) -> None:
        self.line = self._url

    def _lost(self, why: str) -> None:
        self.line = f"no connection to the broker: {why}; trying again ..."

    def revoke(self, uuid: str, terminate: bool = False) -> str:
        """Revoke a task, and with `terminate` end it if it runs; return what the workers say."""
        return self._said(self._app.control.revoke(uuid, terminate=terminate, reply=True, timeout=PATIENCE_S))

    def limit(self, name: str, rate: str) -> str:
        """Limit the rate of a task in all workers; return what they say."""
        return self._said(self._app.control.rate_limit(name, rate, reply=True, timeout=PATIENCE_S))

    def enable_events(self) -> str:
        """Have the workers send events of tasks; return what they say."""
        return self._said(self._app.control.enable_events(reply=True, timeout=PATIENCE_S))

    def result(self, uuid: str) -> str | None:
        """Return a task's result as the result backend knows it; None if it knows none, or cannot be asked."""
        try:
            found = self._app.AsyncResult(uuid)
            return repr(found.result) if found.ready() else None
        except Exception:  # whatever the backend raises; the event tells the result, too
            return None

    @staticmethod
    def _said(answers: Iterable[dict[str, Any]] | None) -> str:
        said = [(node, answer) for each in answers or () for node, answer in sorted(each.items())]
        lines = [f"{node}: {answer.get('ok') or answer.get('error') or answer}" for node, answer in said]
        return "\n".join(lines) or "no worker answered"
