"""The worker as a process of its system: in the background, with a pid file, as another user, as PID 1."""

from typing import TYPE_CHECKING

from bootsteps.lazy import lazily

if TYPE_CHECKING:
    from bootsteps_daemon.pidfile import owner, wait_for_end

__all__ = ["owner", "wait_for_end"]

__getattr__ = lazily(__name__, {"owner": "pidfile", "wait_for_end": "pidfile"})
