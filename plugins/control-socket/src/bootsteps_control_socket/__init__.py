"""Remote control without a broker: a local socket of each worker."""

from bootsteps_control_socket.client import ask, find
from bootsteps_control_socket.folder import address, is_alive, link_name, own_folder

__all__ = ["address", "ask", "find", "is_alive", "link_name", "own_folder"]
