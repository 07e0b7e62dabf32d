"""Remote control without a broker: a local socket of each worker."""

from typing import TYPE_CHECKING

from bootsteps.lazy import lazily

if TYPE_CHECKING:
    from bootsteps_control_socket.client import ask, find
    from bootsteps_control_socket.folder import address, is_alive, link_name, own_folder

__all__ = ["address", "ask", "find", "is_alive", "link_name", "own_folder"]

__getattr__ = lazily(
    __name__,
    {
        "address": "folder",
        "ask": "client",
        "find": "client",
        "is_alive": "folder",
        "link_name": "folder",
        "own_folder": "folder",
    },
)
