"""Start, signal and await nodes."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from bootsteps_daemon import wait_for_end
from bootsteps_multi.nodes import Node

__all__ = ["Cluster", "running_command"]

#: Seconds between two signs that somebody is still waited for.
SIGN_S = 1.0


class Cluster:
    """Some nodes, and where to tell what happens to them: `say(text, level)`, level 0 = always, 1 = unless quiet."""

    def __init__(self, nodes: Sequence[Node], say: Callable[[str, int], None]) -> None:
        self._nodes = nodes
        self._say = say

    def start(self, nodes: Iterable[Node] | None = None) -> int:
        """Start them, all at one time; return 1 if one did not become ready, else 0."""
        begun = [(node, self._launch(node)) for node in (self._nodes if nodes is None else nodes)]
        failed = 0
        for node, process in begun:
            status = process.wait()
            failed |= status != 0
            self._say(f"\t> {node.name}: {'OK' if status == 0 else f'FAILED (status {status})'}", 1)
        return failed

    def _launch(self, node: Node) -> subprocess.Popen[bytes]:
        for word in node.command:
            flag, _, value = word.partition("=")
            if flag in ("--pidfile", "--logfile", "--statedb"):
                Path(value).absolute().parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._say(f"  {' '.join((node.executable, *node.command))}", 2)
        return subprocess.Popen([node.executable, *node.command], stdin=subprocess.DEVNULL)

    def signal(self, signum: int) -> dict[int, Node]:
        """Send it to all that are running, and return those."""
        found: dict[int, Node] = {}
        for node in self._nodes:
            pid = node.pid
            if pid is None:
                self._say(f"> {node.name}: DOWN", 1)
                continue
            with suppress(ProcessLookupError):
                os.kill(pid, signum)
                found[pid] = node
                self._say(f"\t> {node.name}: {signal.Signals(signum).name} -> {pid}", 1)
        return found

    def wait(self, running: dict[int, Node], then: Callable[[Node], None] = lambda node: None) -> None:
        """Wait until all of them have ended, and call `then` with each at its end."""
        left = dict(running)
        if left:
            self._say(f"> Waiting for {len(left)} {'node' if len(left) == 1 else 'nodes'}...", 1)
        while left:
            for pid in wait_for_end(left, SIGN_S):
                node = left.pop(pid)
                self._say(f"\t> {node.name}: OK", 1)
                if node.pid is None:
                    node.pidfile.unlink(missing_ok=True)  # one that was killed leaves it
                then(node)

    def restart(self, signum: int) -> int:
        """Stop all that run, and start each again as soon as it has ended; those that did not run are started, too."""
        status = 0

        def again(node: Node) -> None:
            nonlocal status
            self._say(f"> Restarting node {node.name}:", 1)
            status |= self.start([node])

        commands = {node.name: running_command(node) for node in self._nodes}
        self._nodes = [commands[node.name] for node in self._nodes]
        running = self.signal(signum)
        ran = {node.name for node in running.values()}
        self.wait(running, again)
        for node in [node for node in self._nodes if node.name not in ran]:
            again(node)
        return status


def running_command(node: Node) -> Node:
    """Return the node with the command line that it runs with now, if nothing was typed for the worker itself.

    So a restart needs no more than what names the node and its pid file. Linux only.
    """
    pid = node.pid
    if node.own or pid is None:
        return node
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")[:-1]
    except OSError:
        return node
    return replace(node, executable=words[0], command=tuple(words[1:])) if len(words) > 1 else node
