"""The end of a chord on a result backend that does not count parts by itself (wire reference 16.3)."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bootsteps_tasks.canvas.chords import body_failed
from bootsteps_tasks.canvas.signature import signature
from bootsteps_tasks.errors import ChordError, Retry
from bootsteps_tasks.groups import GroupResult, result_from_tuple

if TYPE_CHECKING:
    from bootsteps_tasks.task import Task

__all__ = ["unlock"]

log = logging.getLogger("bootsteps.task")


def unlock(
    task: Task[..., Any],
    group_id: str,
    callback: Mapping[str, Any],
    interval: float | None,
    max_retries: int | None,
    result: Sequence[Any],
) -> None:
    """Run the body if all results are there. Raises `Retry` if not, and after the last attempt what ends them."""
    app = task.app
    header = GroupResult(group_id, [result_from_tuple(found, app) for found in result], app)
    body = signature(callback, app=app)
    if not header.ready():
        try:
            pause = app.conf["result_chord_retry_interval"] if interval is None else interval
            task.retry(countdown=pause, max_retries=max_retries)
        except Retry:
            raise
        except Exception as exc:
            # Nobody will look again.
            log.exception("chord %s is given up", group_id)
            body_failed(app, body, ChordError(f"chord_unlock could not be retried: {exc!r}"))
            raise
    failed = next((leaf for leaf in header.leaves() if not leaf.successful()), None)
    if failed is not None:
        body_failed(app, body, ChordError(f"Dependency {failed.id} raised {failed.result!r}"))
    else:
        timeout = app.conf["result_chord_join_timeout"]
        body.apply_async((header.join(timeout, disable_sync_subtasks=False),))
