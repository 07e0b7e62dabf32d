"""How long answers are waited for."""

from __future__ import annotations

from bootsteps_control_client.audience import GRACE_S, Audience, addressed


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_all_that_were_reached_are_enough() -> None:
    audience = Audience(1.0, count=2, clock=Clock())
    audience.heard(["a"])
    assert audience.patience() == 1.0
    audience.heard(["b"])
    assert audience.patience() == 0.0


def test_nobody_reached_is_not_waited_for() -> None:
    assert Audience(1.0, count=0, clock=Clock()).patience() == 0.0


def test_a_limit_is_enough_and_silence_ends_it() -> None:
    clock = Clock()
    audience = Audience(1.0, limit=1, count=3, clock=clock)
    clock.now += 0.75
    assert audience.patience() == 0.25
    clock.now += 0.75
    assert audience.patience() == 0.0
    audience = Audience(1.0, limit=1, count=3, clock=clock)
    audience.heard(["a"])
    assert audience.patience() == 0.0


def test_every_answer_begins_the_silence_anew_as_with_celery() -> None:
    clock = Clock()
    audience = Audience(1.0, clock=clock)
    for _ in range(3):
        clock.now += 0.75
        audience.heard(["a"])
    assert audience.patience() == 1.0


def test_known_nodes_are_waited_for_and_then_a_moment_for_others() -> None:
    clock = Clock()
    audience = Audience(1.0, known={"a", "b"}, clock=clock)
    assert audience.patience() == 1.0
    audience.heard(["a"])
    audience.heard(["stranger"])
    assert audience.patience() == 1.0
    audience.heard(["b"])
    assert audience.patience() == GRACE_S
    clock.now += GRACE_S
    assert audience.patience() == 0.0


def test_without_a_timeout_it_waits_for_ever_but_not_for_more_than_all() -> None:
    audience = Audience(None, count=1, clock=Clock())
    assert audience.patience() is None
    audience.heard(["a"])
    assert audience.patience() == 0.0


def test_those_are_addressed_who_would_act() -> None:
    names = ["w1@a", "w2@a", "x@b"]
    assert addressed(names, None, None, None) == set(names)
    assert addressed(names, ["x@b", "y@b"], None, None) == {"x@b"}
    assert addressed(names, None, "w*", "glob") == {"w1@a", "w2@a"}
    assert addressed(names, None, "w[2-9]@", "pcre") == {"w2@a"}
    assert addressed(names, None, "w*", None) == set(names)  # one alone does not count
