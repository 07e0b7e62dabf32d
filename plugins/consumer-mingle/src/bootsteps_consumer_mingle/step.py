"""The consumer step `Mingle`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from bootsteps import ConsumerView, Setting, Step
from bootsteps_consumer import CONNECTION
from bootsteps_consumer_tasks import REVOKED

__all__ = ["Mingle"]

WITHOUT = Setting[bool](
    "worker_without_mingle",
    bool,
    False,
    flags=("--without-mingle",),
    help="do not ask the other workers at the start which tasks are revoked",
)
#: Seconds without an answer after which nobody is waited for (Celery's number).
PATIENCE_S = 1.0


class Mingle(Step):
    """Asks the other workers which tasks are revoked, and where the logical clock stands, before any task is taken.

    It waits until all that the broker knows of have answered, and for none if there is none. Who cannot be asked is
    done without.
    """

    requires = (CONNECTION, REVOKED)
    # Before this worker can be asked itself: it could not answer while it waits.
    before = ("Control", "Tasks")
    settings = (WITHOUT,)

    def include_if(self, consumer: ConsumerView) -> bool:
        return not consumer.setting(WITHOUT)

    def start(self, consumer: ConsumerView) -> None:
        try:
            answers = self._ask(consumer)
        except Exception as exc:
            consumer.log.warning("the other workers could not be asked what is revoked: %s", exc)
            return
        met = {node: answer for node, answer in sorted(answers.items()) if _is_greeting(answer)}
        for answer in met.values():
            consumer.get(REVOKED).update(_ids(answer.get("revoked")))
            consumer.app.clock.adjust(answer.get("clock") or 0)
        consumer.log.info("met %s", ", ".join(met) or "no other worker")

    def _ask(self, consumer: ConsumerView) -> dict[str, Any]:
        own = consumer.hostname
        # Everybody but this worker, whose mailbox is open while it reconnects.
        # By this connection, which answered a moment ago; another that was made before may lead nowhere by now.
        inspect = consumer.app.control.inspect(
            timeout=PATIENCE_S, pattern=f"(?!{re.escape(own)}$)", matcher="pcre", connection=consumer.get(CONNECTION)
        )
        found = inspect.hello(own, consumer.get(REVOKED).snapshot()) or {}
        return {node: answer for node, answer in found.items() if node != own}


def _is_greeting(answer: Any) -> bool:
    """Tell whether it is the answer of a worker that mingles: others say that they do not know the command."""
    return isinstance(answer, dict) and "revoked" in answer and isinstance(answer.get("clock") or 0, int)


def _ids(revoked: Any) -> Iterable[str]:
    """Task ids, oldest first. Celery before 5.7 sent them with times of its own clock."""
    return list(revoked) if isinstance(revoked, dict | list) else ()
