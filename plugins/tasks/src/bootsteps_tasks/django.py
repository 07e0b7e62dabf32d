"""Tasks that are sent when the transaction is committed that they were called in. Needs Django, once they are called.

@app.task(base=DjangoTask)
def welcome(user_id): ...

welcome.delay_on_commit(user.pk)
"""

from __future__ import annotations

from functools import partial
from typing import Any, ParamSpec, TypeVar

from bootsteps_tasks.task import Task

__all__ = ["DjangoTask"]

P = ParamSpec("P")
R = TypeVar("R")


class DjangoTask(Task[P, R]):
    """A worker may be faster than a commit, and then finds no row; and what is rolled back should send nothing."""

    def delay_on_commit(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Call `delay` once the present transaction is committed; at once if there is none, never if it is undone."""
        _on_commit(partial(self.delay, *args, **kwargs))

    def apply_async_on_commit(self, *args: Any, using: str | None = None, **kwargs: Any) -> None:
        """Call `apply_async` then; `using` names the database whose transaction it is."""
        _on_commit(partial(self.apply_async, *args, **kwargs), using)


def _on_commit(send: partial[Any], using: str | None = None) -> None:
    from django.db import transaction

    transaction.on_commit(send, using=using)
