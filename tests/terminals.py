"""A real terminal: a program runs in a pseudo-terminal, keys are pressed, and the screen is read."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Iterator
from pathlib import Path

import pyte

from workers import until

__all__ = ["Terminal", "running_terminal"]

COLUMNS, LINES = 140, 30


class Terminal:
    """What a program shows in `COLUMNS` times `LINES`, and its keyboard."""

    def __init__(self, words: list[str], folder: Path, env: dict[str, str]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self._screen = pyte.Screen(COLUMNS, LINES)
        self._lock = threading.Lock()
        self.process = subprocess.Popen(
            words, cwd=folder, env=env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # or Ctrl-C is a letter like any other
        )  # fmt: skip
        os.close(slave)
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        stream = pyte.ByteStream(self._screen)
        with contextlib.suppress(OSError):  # the program ended
            while data := os.read(self._master, 65536):
                with self._lock:
                    stream.feed(data)

    @property
    def text(self) -> str:
        """What is on the screen now."""
        with self._lock:
            return "\n".join(line.rstrip() for line in self._screen.display)

    def press(self, *keys: str) -> None:
        """Press keys, one after the other."""
        for key in keys:
            os.write(self._master, key.encode())

    def until_shown(self, *texts: str, gone: str = "\0") -> None:
        """Wait until all these texts are on the screen, and `gone` is not."""
        try:
            until(lambda: all(text in self.text for text in texts) and gone not in self.text, f"{texts}")
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.text}") from None


@contextlib.contextmanager
def running_terminal(folder: Path, *args: str, broker: str = "") -> Iterator[Terminal]:
    """Run `kernel ARGS` in a terminal, and end it in any case."""
    env = dict(os.environ, PYTHONPATH=str(folder), TERM="xterm-256color", XDG_STATE_HOME=str(folder / "state"))
    env |= {"COLUMNS": str(COLUMNS), "LINES": str(LINES)}  # pytest-xdist tells its workers 80
    env |= {"KERNEL_BROKER_URL": broker} if broker else {}
    terminal = Terminal([sys.executable, "-m", "bootsteps", *args], folder, env)
    try:
        yield terminal
    finally:
        if terminal.process.poll() is None:
            terminal.process.kill()
            terminal.process.wait()
