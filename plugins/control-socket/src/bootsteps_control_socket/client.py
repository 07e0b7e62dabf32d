"""Ask a worker on this machine. Imports nothing that takes time."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from bootsteps import KernelError
from bootsteps.errors import UnknownName, did_you_mean
from bootsteps_control_socket.folder import address, default_folder, is_alive, names

__all__ = ["ask", "find"]


def find(name: str, folder: Path | None = None) -> Path:
    """Return the socket of the worker with this pid or node name; the part before `@` is enough if it is the only one.

    Raises `UnknownName`.
    """
    folder = folder or default_folder()
    known = {called: path for called, path in names(folder).items() if is_alive(path)}
    short = [called for called in known if called.partition("@")[0] == name]
    if name in known:
        return known[name]
    if len(short) == 1:
        return known[short[0]]
    what = f"no worker on this machine is called {name!r}" if not short else f"several workers are called {name!r}"
    listed = ", ".join(sorted(short or known)) or "none of this user's workers has a socket"
    raise UnknownName(what, (f"sockets in {folder}: {listed}",), did_you_mean(name, known) or "a pid or a node name")


def ask(path: Path, command: str, arguments: Mapping[str, Any], timeout_s: float = 1.0) -> dict[str, Any]:
    """Run a command and return `{node: answer}`. Raises `KernelError` when nothing comes in time and 5 s more."""
    question = {"command": command, "arguments": dict(arguments), "timeout": timeout_s}
    try:
        with socket.socket(socket.AF_UNIX) as line, address(path) as name:
            line.settimeout(timeout_s + 5.0)
            line.connect(name)
            line.sendall(json.dumps(question).encode() + b"\n")
            with suppress(OSError):
                line.shutdown(socket.SHUT_WR)
            with line.makefile("rb") as file:
                answer = file.readline()
        found = json.loads(answer)
    except (OSError, ValueError) as exc:
        what = f"the worker does not answer on its socket: {exc}"
        raise KernelError(what, (str(path),), "is it ending? kernel status asks by the broker") from exc
    return dict(found)
