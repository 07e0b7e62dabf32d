"""How a service tells systemd something: see sd_notify(3)."""

from __future__ import annotations

import os

__all__ = ["tell"]


def tell(*lines: str) -> bool:
    """Send these assignments (`READY=1`) to systemd; False when nobody asked for them, or nobody takes them."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address.startswith("@"):
        address = "\0" + address[1:]  # Linux's abstract names
    import socket

    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as outlet:
        try:
            outlet.settimeout(1.0)
            outlet.connect(address)
            outlet.sendall("\n".join(lines).encode())
        except OSError as exc:
            import logging  # most are not started by systemd, and read this all the same

            logging.getLogger("bootsteps.systemd").warning("systemd cannot be told %s: %s", lines[0], exc)
            return False
    return True
