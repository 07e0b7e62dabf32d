"""Which queues a worker begins with."""

from __future__ import annotations

import pytest

from bootsteps import KernelError
from bootsteps_consumer_tasks.queues import TaskQueues
from bootsteps_tasks import App


def names(only: tuple[str, ...] = (), without: tuple[str, ...] = ()) -> list[str]:
    app = App("proj", broker="memory://queues", task_queues=["orders", "images", "mail"])
    return [queue.name for queue in TaskQueues(app, only, without)]


def test_excluded_queues_are_taken_from_the_configured_or_from_the_chosen_ones():
    assert names(without=("images",)) == ["orders", "mail"]
    assert names(without=("images", "orders")) == ["mail"]
    assert names(only=("mail", "more", "images"), without=("images",)) == ["mail", "more"]


def test_a_queue_that_is_not_consumed_anyway_cannot_be_excluded():
    with pytest.raises(KernelError, match="'image' cannot be excluded: the queues are images, mail, orders") as caught:
        names(without=("image",))
    assert "did you mean 'images'?" in str(caught.value)
    with pytest.raises(KernelError, match="'orders' cannot be excluded: the queues are images, mail"):
        names(only=("images", "mail"), without=("orders",))


def test_a_worker_without_any_queue_is_refused():
    with pytest.raises(KernelError, match="every queue is excluded: mail"):
        names(only=("mail",), without=("mail",))
