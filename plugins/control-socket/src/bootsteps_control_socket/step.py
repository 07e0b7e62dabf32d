"""The worker step `ControlSocket`."""

from __future__ import annotations

from bootsteps import HUB, KernelError, Setting, Step, WorkerView
from bootsteps_consumer import CONSUMER

__all__ = ["ControlSocket"]

ENABLED = Setting[bool](
    "worker_control_socket", bool, True, flags=("--control-socket",), help="answer commands on a local socket"
)
FOLDER = Setting[str | None](
    "worker_control_socket_folder", str, None, flags=(), help="the folder of the sockets; default: this user's own"
)


class ControlSocket(Step):
    """Answers remote commands to this user's programs on this machine, also while the loop is busy."""

    requires = (CONSUMER, HUB)
    settings = (ENABLED, FOLDER)

    def include_if(self, worker: WorkerView) -> bool:
        return bool(worker.setting(ENABLED))

    def start(self, worker: WorkerView) -> None:
        from pathlib import Path

        from bootsteps_consumer_control import Switchboard
        from bootsteps_control_socket.folder import default_folder
        from bootsteps_control_socket.server import Server
        from bootsteps_control_socket.turns import Turns

        named = worker.setting(FOLDER)
        turns = Turns(Switchboard(worker.get(CONSUMER).blueprint), worker.get(HUB).call_soon)
        server = Server(Path(named) if named else default_folder(), worker.hostname, turns.answer)
        worker.on_stop(server.close)
        try:
            server.open()
        except (OSError, KernelError) as exc:  # a convenience must not keep a worker from its work
            worker.log.warning("no local socket for commands: %s", exc)
            return
        worker.log.debug("commands are answered on %s", server.path)
