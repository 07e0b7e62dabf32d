from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from kombu import Queue

from bootsteps_consumer_tasks.prefetch import EXACT_S, Own, Prefetch, own_limits

USUAL = 8
ABLE = SimpleNamespace(changes_own_limits=True)
QUORUM = Queue("q", queue_arguments={"x-queue-type": "quorum"})


@pytest.mark.parametrize(
    ("channel", "queues", "own"),
    [
        (ABLE, [Queue("a")], Own.AT_TIMES),
        (ABLE, [Queue("a", queue_arguments={"x-max-priority": 10})], Own.AT_TIMES),
        (ABLE, [Queue("a"), Queue("b")], Own.NEVER),
        (SimpleNamespace(), [Queue("a")], Own.NEVER),
        (None, [Queue("a")], Own.NEVER),
        (ABLE, [Queue("a", auto_delete=True)], Own.NEVER),
        (ABLE, [Queue("a", no_ack=True)], Own.NEVER),
        (ABLE, [Queue("a", consumer_arguments={"x-priority": 5})], Own.NEVER),
        (ABLE, [Queue("a", queue_arguments={"x-single-active-consumer": True})], Own.NEVER),
        (None, [QUORUM], Own.ALWAYS),
        (ABLE, [Queue("a"), QUORUM], Own.ALWAYS),
    ],
)
def test_consumers_have_limits_of_their_own_where_they_can_be_made_anew(channel, queues, own):
    assert own_limits(channel, queues) is own


class Told:
    """A limit, what the broker was told of it (count, for the channel), and the time."""

    def __init__(self, own: Own) -> None:
        self.now, self.own, self.usual = 100.0, own, USUAL
        self.heard: list[tuple[int, bool]] = []
        self.prefetch = Prefetch(self.hear, lambda: self.usual, lambda: self.own, lambda: self.now)
        self.prefetch.update()

    def hear(self, prefetch_count: int, apply_global: bool) -> None:
        self.heard.append((prefetch_count, apply_global))

    @property
    def last(self) -> tuple[int, bool]:
        return self.heard[-1]


@pytest.fixture
def told() -> Told:
    return Told(Own.AT_TIMES)


def test_what_grows_with_the_pace_is_the_consumers_own(told):
    assert told.last == (USUAL, False)
    told.prefetch.stretch(500)
    assert told.last == (USUAL + 500, False)
    told.prefetch.stretch(0)
    assert told.last == (USUAL, False)


def test_less_than_usual_is_exact_and_stays_so_for_a_while(told):
    told.prefetch.stretch(-6)
    assert told.last == (2, True)
    told.now += EXACT_S / 2
    told.prefetch.stretch(0)
    assert told.last == (USUAL, True)
    told.now += EXACT_S
    told.prefetch.stretch(100)
    assert told.last == (USUAL + 100, False)


@pytest.mark.parametrize("change", ["increment_eventually", "decrement_eventually", "set"])
def test_what_was_counted_or_asked_for_is_exact(told, change):
    getattr(told.prefetch, change)(3)
    told.prefetch.update()
    assert told.last == (told.prefetch.value, True)
    told.prefetch.stretch(40)
    assert told.last == (told.prefetch.value + 40, True)


def test_no_limit_is_the_channels(told):
    told.prefetch.set(0)
    assert told.last == (0, True)


def test_more_children_change_no_more_than_the_number(told):
    told.usual = 12
    told.prefetch.increment_eventually(4)
    told.prefetch.update()
    assert told.last == (12, False)


def test_more_queues_are_told_of(told):
    told.own = Own.NEVER
    told.prefetch.tell()
    assert told.last == (USUAL, True)


@pytest.mark.parametrize(("own", "for_all"), [(Own.NEVER, True), (Own.ALWAYS, False)])
def test_where_there_is_no_choice_there_is_none(own: Own, for_all: bool) -> None:
    told: Any = Told(own)
    told.prefetch.stretch(-6)
    told.prefetch.set(20)
    told.prefetch.stretch(70)
    assert told.heard == [(USUAL, for_all), (2, for_all), (14, for_all), (90, for_all)]
