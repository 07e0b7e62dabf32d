"""The consumer step `Agent`: an object of the application's own that lives with the connection."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from bootsteps import ConsumerView, KernelError, Setting, Step
from bootsteps_consumer.keys import AGENT, CONNECTION

__all__ = ["Agent"]

CLASS = Setting[Any](
    "worker_agent", lambda given: given, None, flags=(),
    help='a class, or "package.module:Class": made with each new connection to the broker, and started',
)  # fmt: skip


class Agent(Step):
    """Makes the agent with each connection, starts it, and stops it with the connection."""

    provides = (AGENT,)
    requires = (CONNECTION,)
    settings = (CLASS,)
    conditional = True
    _cls: Any = None

    def include_if(self, consumer: ConsumerView) -> bool:
        self._cls = _imported(consumer.setting(CLASS))
        return self._cls is not None

    def start(self, consumer: ConsumerView) -> None:
        agent = self._cls(consumer.get(CONNECTION))
        consumer.lend(AGENT, agent)
        consumer.on_stop(getattr(agent, "stop", lambda: None))
        agent.start()


def _imported(given: Any) -> Any:
    if not isinstance(given, str):
        return given
    module, _, name = given.replace(":", ".").rpartition(".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as exc:
        what = f"worker_agent names {given!r}, which cannot be imported: {exc}"
        raise KernelError(what, ("setting worker_agent",), "write it as package.module:Class") from exc
