"""Commands by name: whoever has a way in (the broker, a socket) runs them here."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from bootsteps import Blueprint, Command, KernelError
from bootsteps.errors import did_you_mean
from bootsteps_consumer import CONSUMER

__all__ = ["Switchboard"]

log = logging.getLogger("consumer.Control")


class Switchboard:
    """Runs the remote commands of a worker for the blueprint of its consumer. Loop thread only, but for `command`."""

    def __init__(self, blueprint: Blueprint) -> None:
        self._commands = [*blueprint.plan.outwards()][-1].commands
        self._views = {name: blueprint.command_view(self._commands[name], (CONSUMER,)) for name in self._commands}

    def command(self, name: str) -> Command | None:
        """Return the command of this name or alias, None if there is none."""
        return self._commands.get(name)

    def run(self, name: str, arguments: Mapping[str, Any]) -> Any:
        """Run a command and return its reply; an error is one, too, in Celery's words where it is not ours."""
        command = self._commands.get(name)
        if command is None:
            log.error("no remote command is called %r %s", name, did_you_mean(name, self._commands))
            return {"error": repr(KeyError(name))}
        try:
            return command.fun(self._views[name], **arguments)
        except KernelError as exc:
            return {"error": str(exc)}
        except Exception as exc:
            log.error("the remote command %s failed: %r", name, exc, exc_info=not isinstance(exc, TypeError))
            return {"error": repr(exc)}
