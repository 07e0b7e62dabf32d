"""Before a worker boots: go into the background, become another user, get an init."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from bootsteps import App, hookimpl
from bootsteps_daemon.mark import LONGEST, Mark
from bootsteps_daemon.settings import DETACH, EXECUTABLE, GID, INIT, UID, UMASK

__all__ = ["Launch"]


class Launch:
    """Has the program called again where another process shall be the worker.

    A fresh interpreter, not a fork: of this one the application, which is imported by now, may have taken threads and
    sockets, and its files are open as another user.
    """

    @staticmethod
    @hookimpl
    def worker_launched(app: App, command: Sequence[str], folder: str) -> None:
        if Mark.read() is not None:
            return
        if app.conf.get(DETACH):
            command = [app.conf.get(EXECUTABLE) or command[0], *command[1:]]
            _detach(command, folder, _credentials(app))
        who = _credentials(app)
        if who or (os.getpid() == 1 and app.conf.get(INIT)):
            _again(command, folder, who)


def _credentials(app: App) -> dict[str, Any]:
    """Return who the worker shall be, as Popen takes it; nothing where it is so already."""
    uid, gid, umask = (app.conf.get(setting) for setting in (UID, GID, UMASK))
    found: dict[str, Any] = {}
    if uid is not None and uid != os.geteuid():
        entry = pwd.getpwuid(uid)
        gid = entry.pw_gid if gid is None else gid
        found |= {"user": uid, "extra_groups": os.getgrouplist(entry.pw_name, gid)}
    if gid is not None and (found or gid != os.getegid()):
        found["group"] = gid
    if umask is not None:
        found["umask"] = umask
    return found


def _environment(mark: Mark, who: Mapping[str, Any]) -> dict[str, str]:
    env = mark.environment()
    if "user" in who:  # or the worker would look for its files in the home of who started it
        entry = pwd.getpwuid(who["user"])
        env |= {"HOME": entry.pw_dir, "USER": entry.pw_name, "LOGNAME": entry.pw_name}
    return env


def _detach(command: Sequence[str], folder: str, who: Mapping[str, Any]) -> NoReturn:
    """Start the worker in a session of its own, wait until it is ready, and end as it did if it is not."""
    import subprocess

    reader, writer = os.pipe()
    mark = Mark(detached=True, line=writer)
    try:
        process = subprocess.Popen(
            command, cwd=folder, env=_environment(mark, who), stdin=subprocess.DEVNULL, pass_fds=(writer,),
            start_new_session=True, **who,
        )  # fmt: skip
    except OSError as exc:
        sys.exit(f"Error: the worker cannot be started: {exc}\n  {command[0]}\n  try: --executable, --uid, --workdir")
    os.close(writer)
    try:
        said = os.read(reader, LONGEST).decode(errors="replace")  # and not to its end: children may hold it open
    except KeyboardInterrupt:
        process.terminate()
        raise
    if said == "ready\n":
        process.returncode = 0  # it goes on without us, and nobody shall warn of that
        sys.exit(0)
    status = process.wait()
    sys.stderr.write(said or ("" if status > 0 else f"Error: the worker ended before it was ready ({status})\n"))
    sys.exit(status if status > 0 else 1)


def _again(command: Sequence[str], folder: str, who: Mapping[str, Any]) -> NoReturn:
    """Become the program that is called again, as somebody else, and with an init above it in a container."""
    is_init = os.getpid() == 1
    env = _environment(Mark(has_init=is_init), who)
    if "umask" in who:
        os.umask(who["umask"])
    try:
        if "extra_groups" in who:
            os.setgroups(who["extra_groups"])
        if "group" in who:
            os.setgid(who["group"])
        if "user" in who:
            os.setuid(who["user"])
    except PermissionError:
        sys.exit("Error: only root may become somebody else\n  --uid, --gid\n  try: sudo, or leave them out")
    os.chdir(folder)
    init = [command[0], "-I", "-S", str(Path(__file__).with_name("init.py"))] if is_init else []
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(command[0], [*init, *command], env)
