"""The worker step `Health`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bootsteps import HUB, POOL, TIMER, KernelError, Setting, SettingError, Step, WorkerView, hookimpl
from bootsteps_health.keys import HEALTH

if TYPE_CHECKING:
    import socket

    from bootsteps_health.state import HealthState

__all__ = ["Health"]


def _place(value: Any) -> str:
    """Return HOST:PORT; the host is loopback if only a port is named."""
    host, _, port = str(value).rpartition(":")
    if not port.isdigit() or int(port) > 65535:
        raise ValueError("HOST:PORT or PORT is wanted")
    return f"{host or '127.0.0.1'}:{int(port)}"


ADDRESS = Setting[str | None](
    "worker_health_address",
    _place,
    None,
    flags=("--health-address",),
    help="answer /livez, /readyz, /startupz by HTTP on HOST:PORT; only PORT: on loopback; default: not",
)
SOCKET = Setting[bool](
    "worker_health_socket", bool, True, flags=("--health-socket",), help="answer `kernel health` on a local socket"
)
FOLDER = Setting[str | None](
    "worker_health_folder", str, None, flags=(), help="the folder of these sockets; default: this user's own"
)
LIMIT = Setting[float](
    "worker_health_limit",
    float,
    30.0,
    unit="s",
    flags=("--health-limit",),
    help="a worker whose loop or pool makes no progress for longer is not live",
)


class Health(Step):
    """Says, from a thread of its own, whether the worker lives, is ready, and has started."""

    provides = (HEALTH,)
    requires = (HUB, TIMER)
    wants = (POOL,)
    settings = (ADDRESS, SOCKET, FOLDER, LIMIT)
    _state: HealthState | None = None

    def start(self, worker: WorkerView) -> None:
        from bootsteps_health.state import HealthState

        pool: Any = worker.get(POOL, None)
        in_loop = getattr(pool, "runs_in_loop", False)
        limit_s = worker.setting(LIMIT)
        self._state = state = HealthState(
            worker.hostname,
            limit_s,
            getattr(pool, "complaints", tuple),
            (lambda: bool(pool.running())) if in_loop else (lambda: False),
            worker.get(HUB).call_soon,
        )
        worker.lend(HEALTH, state)
        tick = worker.get(TIMER).call_repeatedly(max(0.05, min(limit_s / 4, 5.0)), state.look)
        worker.on_stop(tick.cancel)
        self._listen_on_port(worker, state)
        self._listen_on_socket(worker, state)

    def _listen_on_port(self, worker: WorkerView, state: HealthState) -> None:
        place = worker.setting(ADDRESS)
        if place is None:
            return
        from bootsteps_health.server import on_port

        try:
            listener = on_port(place)
        except OSError as exc:
            what = f"health cannot be told on {place}: {exc.strerror or exc}"
            raise SettingError(what, ("setting worker_health_address",), "choose another address") from exc
        self._serve(worker, state, listener)
        worker.log.info("health is told on http://%s:%d", *listener.getsockname()[:2])

    def _listen_on_socket(self, worker: WorkerView, state: HealthState) -> None:
        if not worker.setting(SOCKET):
            return
        from pathlib import Path

        from bootsteps_health.probe import default_folder
        from bootsteps_health.server import on_socket

        try:
            listener, remove = on_socket(Path(worker.setting(FOLDER) or default_folder()), worker.hostname)
        except (OSError, KernelError) as exc:  # a convenience must not keep a worker from its work
            worker.log.warning("no local socket for health: %s", exc)
            return
        worker.on_stop(remove)
        self._serve(worker, state, listener)

    def _serve(self, worker: WorkerView, state: HealthState, listener: socket.socket) -> None:
        from bootsteps_health.server import Server

        worker.on_stop(Server(listener, state.judge).close)

    @hookimpl
    def worker_ready(self, worker: object) -> None:
        if self._state is not None:
            self._state.look()
            self._state.started = True

    @hookimpl
    def worker_stopping(self, how: str) -> None:
        if self._state is not None:
            self._state.stopping = True
