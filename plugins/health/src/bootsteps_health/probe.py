"""`kernel health`, as a probe calls it: a few modules of the standard library, one question, one exit status."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False  # not typing's: that would be a third of what a probe takes
if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence
else:
    try:
        import _socket as socket  # what `socket` wraps: its enums and selectors would be half of what a probe takes
    except ImportError:
        import socket

__all__ = ["CHECKS", "END", "Question", "ask", "default_folder", "run"]

CHECKS = {"live": "/livez", "ready": "/readyz", "startup": "/startupz"}
#: What the sockets are called, behind a pid or a node name.
END = ".health"
#: How an answer is written: for programs, or for people (`worker@host: live`, or the reasons why it is not).
JSON, TEXT = "application/json", "text/plain"
#: Seconds to wait for an answer if nobody says.
TIMEOUT_S = 3.0
#: A Unix socket's name has so many bytes at most (108 on Linux, less elsewhere).
LONGEST = 100


class Question:
    """What is asked, and whom."""

    def __init__(
        self,
        check: str = "live",
        name: str = "",
        as_json: bool = False,
        timeout_s: float = TIMEOUT_S,
        folder: str = "",
        address: str = "",
    ) -> None:
        self.check = check
        #: A pid or a node name; empty = every worker of this user on this machine.
        self.name = name
        self.as_json = as_json
        self.timeout_s = timeout_s
        self.folder = folder or os.environ.get("KERNEL_WORKER_HEALTH_FOLDER") or default_folder()
        #: HOST:PORT instead of a socket.
        self.address = address


def run(words: Sequence[str]) -> int | None:
    """Answer `kernel health WORDS`; None = this is not for a probe: help, or wrong use."""
    question = _understood(words)
    return None if question is None else ask(question)


def _understood(words: Sequence[str]) -> Question | None:
    """Return what the words ask, if they are plain."""
    options = {"-t": "timeout_s", "--timeout": "timeout_s", "--folder": "folder", "--address": "address"}
    found: dict[str, str] = {}
    rest: list[str] = []
    words = list(words)
    while words:
        word, equals, value = words.pop(0).partition("=")
        if word in ("-j", "--json") and not equals:
            found["as_json"] = "yes"
        elif word in options and (equals or words):
            found[options[word]] = value if equals else words.pop(0)
        elif word.startswith("-"):
            return None
        else:
            rest.append(word + equals + value)
    check = rest.pop(0) if rest and rest[0] in CHECKS else "live"
    if len(rest) > 1 or not found.get("timeout_s", "1").replace(".", "", 1).isdigit():
        return None
    timeout_s = float(found.get("timeout_s", TIMEOUT_S))
    named = "".join(rest), bool(found.get("as_json")), timeout_s, found.get("folder", ""), found.get("address", "")
    return Question(check, *named)


def ask(question: Question) -> int:
    """Print what the workers answer; return 0 = yes, all of them; 1 = one says no; 2 = nobody answers."""
    try:
        answers = _answers(question)
    except OSError as exc:
        print(f"Error: no worker answers: {exc}", file=sys.stderr)
        return 2
    if not answers:
        called = f"called {question.name} " if question.name else ""
        print(f"Error: no worker {called}answers: there is no socket of one in {question.folder}", file=sys.stderr)
        print("  try: kernel health --folder FOLDER, or --address HOST:PORT", file=sys.stderr)
        return 2
    for _, text in answers:
        print(text.rstrip())
    return max(status for status, _ in answers)


def _answers(question: Question) -> list[tuple[int, str]]:
    """Ask them all. Who ends meanwhile is none of those that were asked for, unless by name. Raises OSError."""
    found = []
    for name, where in _whom(question).items():
        try:
            found.append(_answer(question, name, where))
        except OSError:
            if question.name or not where or _is_there(where):
                raise
    return found


def _is_there(path: str) -> bool:
    try:
        return _is_alive(path)
    except OSError:
        return False


def _whom(question: Question) -> dict[str, str]:
    """Return the sockets to ask by what they are called; the address for one that is no file."""
    if question.address:
        return {question.address: ""}
    folder = question.folder
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(END))
    except FileNotFoundError:
        return {}
    known = {name.removesuffix(END): f"{folder}/{name}" for name in names}
    if not question.name:
        return {name: path for name, path in known.items() if name.isdigit() and _is_alive(path)}
    wanted = _quoted(question.name)
    return {name: path for name, path in known.items() if wanted in (name, name.partition("@")[0])}


def _quoted(name: str) -> str:
    """Return how a node's name is written in the name of its link."""
    if name.replace("@", "").replace("-", "").replace(".", "").replace("_", "").isalnum() and name.isascii():
        return name
    from urllib.parse import quote

    return quote(name, safe="@")


def _is_alive(path: str) -> bool:
    """Tell whether anybody is behind a socket: what a killed worker left behind answers nobody."""
    try:
        _connect(path, 1.0).close()
    except ConnectionRefusedError:
        return False
    return True


def _connect(path: str, timeout_s: float) -> socket.socket:
    line = socket.socket(socket.AF_UNIX)
    line.settimeout(timeout_s)
    folder = -1
    try:
        if len(os.fsencode(path)) > LONGEST:
            folder = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
            path = f"/proc/self/fd/{folder}/{os.path.basename(path)}"
        line.connect(path)
    except BaseException:
        line.close()
        raise
    finally:
        if folder >= 0:
            os.close(folder)
    return line


def _answer(question: Question, name: str, path: str) -> tuple[int, str]:
    """Return the exit status and the text of one worker, as it wrote it: JSON is not read here. Raises OSError."""
    if path:
        line = _connect(path, question.timeout_s)
    else:
        from socket import create_connection

        host, _, port = question.address.rpartition(":")
        line = create_connection((host.strip("[]") or "127.0.0.1", int(port)), question.timeout_s)
    kind = JSON if question.as_json else TEXT
    try:
        line.settimeout(question.timeout_s)
        line.sendall(f"GET {CHECKS[question.check]} HTTP/1.0\r\nHost: {name}\r\nAccept: {kind}\r\n\r\n".encode())
        data = b""
        while more := line.recv(65536):
            data += more
    finally:
        line.close()
    head, _, body = data.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1."):
        raise ConnectionError(f"what {name} says is no answer: {data[:80]!r}")
    return (0 if head.split()[1] == b"200" else 1), body.decode()


def default_folder() -> str:
    """Return the folder of this user's sockets, which is the one of `bootsteps-control-socket`."""
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    return f"{runtime}/bootsteps" if os.path.isabs(runtime) else f"/tmp/bootsteps-{os.getuid()}"
