from __future__ import annotations

from typing import Any

import pytest

from bootsteps_consumer_tasks.handover import HandOver
from bootsteps_consumer_tasks.window import AHEAD, COPIED_MOST, LOOK_S, MOST, PUSHED, STILL_S, Window

USUAL = 4


class Channel:
    def __init__(self) -> None:
        self.given_back: list[list[Any]] = []

    def give_back(self, tags: list[Any], *, counted: bool) -> None:
        assert not counted
        self.given_back.append(tags)


class Lab:
    """A bench with a window; messages have numbers as ids and delivery tags."""

    def __init__(self, bench: Any, message: Any, copies: Any = None) -> None:
        self.bench, self.message, self.channel, self.now, self.sent = bench, message, Channel(), 0.0, 0
        told = bench.qos, bench.ledger, bench.pool, bench.timer, lambda: USUAL
        self.kept: list[Any] = []
        window = Window(*told, lambda: self.now, copies=copies)
        bench.hand_over = HandOver(
            bench.ledger, bench.pool, bench.qos, bench.settlement, bench.revoked, bench.buckets, bench.timer,
            bench.intake.flush, window,
        )  # fmt: skip

    def take(self, number: int) -> None:
        for _ in range(number):
            made = self.message(str(self.sent))
            made.channel, made.delivery_tag = self.channel, self.sent
            self.sent += 1
            self.kept.append(made)
            self.bench.intake.on_message(made)
        self.bench.hand_over()

    def end(self, number: int) -> None:
        for _ in range(number):
            self.bench.finish()
            self.bench.hand_over()

    def look(self, times: int = 1) -> None:
        for _ in range(times):
            self.now += LOOK_S
            self.bench.timer.advance(LOOK_S)
            self.bench.hand_over()

    @property
    def told(self) -> int:
        return int(self.bench.limits[-1])


@pytest.fixture
def lab(bench: Any, message: Any) -> Lab:
    return Lab(bench, message)


def test_the_window_grows_with_the_tasks_that_end_within_bounds(lab):
    lab.take(11)
    lab.end(10)
    lab.look()
    assert (lab.told, lab.bench.qos.value) == (15, USUAL)
    lab.take(1000)
    lab.end(900)
    lab.look()
    assert lab.told == MOST


def test_where_nothing_waits_it_is_looked_at_seldom(lab):
    looks, call_after = [], lab.bench.timer.call_after

    def noted(seconds, *rest):
        looks.append(seconds)
        return call_after(seconds, *rest)

    lab.bench.timer.call_after = noted
    for _ in range(10):
        lab.take(1)
        lab.end(1)
        lab.look()
    assert looks == [STILL_S]
    lab.take(2)
    assert looks == [STILL_S, LOOK_S]


def test_a_task_that_runs_alone_for_long_makes_the_window_small(lab):
    lab.take(1)
    lab.look(round(STILL_S / LOOK_S) + 1)
    assert lab.told == 1, "others may have what comes now"


def test_it_is_the_usual_one_again_when_there_is_nothing_to_do(lab):
    lab.take(10)
    lab.end(10)
    lab.look(2)
    assert (lab.told, lab.bench.timer.pending) == (USUAL, 0)


def test_what_waits_goes_back_when_no_task_ends_any_more(lab):
    lab.take(4)
    lab.look(round(STILL_S / LOOK_S) - 1)
    assert lab.channel.given_back == []
    lab.look(2)
    assert lab.channel.given_back == [[1, 2, 3]]
    assert (lab.told, lab.bench.ledger.held()) == (1, 1)
    assert lab.bench.ledger.outstanding() == 4, "the autoscaler must see them"
    assert lab.bench.ledger.total == {"add": 1}
    lab.bench.pool.concurrency = 2
    lab.look()
    assert lab.told == 2
    lab.take(1)
    assert lab.bench.ledger.outstanding() == 4
    lab.bench.pool.concurrency = 4
    lab.look(2)
    assert lab.bench.ledger.outstanding() == 2, "there was room, and nothing came"
    lab.end(2)
    lab.look(2)
    assert lab.told == USUAL


def test_of_what_a_broker_pushed_copies_go_back_if_it_would_wait_for_long(bench, message):
    lab = Lab(bench, message, bench.guard.give_back)
    lab.take(320)
    lab.end(20)
    lab.look()
    assert lab.told == round(20 * AHEAD * PUSHED)
    lab.look(round(STILL_S / LOOK_S) - 2)
    assert bench.poster.posted == []
    lab.look(2)  # no task ends any more
    assert bench.poster.posted == [("celery", {})] * COPIED_MOST
    assert bench.ledger.held() == 300 - COPIED_MOST
    lab.look(9)
    assert (len(bench.poster.posted), bench.ledger.held()) == (300 - USUAL, USUAL), "the usual ones stay"
    assert [outcome for each in (lab.kept[-1], lab.kept[0]) for outcome in each.settled] == ["ack", "ack"]


def test_a_pace_below_the_usual_does_not_move_the_window_of_a_broker_that_pushes(bench, message):
    lab = Lab(bench, message, bench.guard.give_back)
    for _ in range(5):
        lab.take(3)
        lab.end(2)
        lab.look()
        lab.end(1)
        lab.look()
    assert bench.limits == [USUAL], "each change is a message to the broker"


def test_what_no_copy_is_made_of_stays_here(bench, message, caplog):
    bench.poster.refused = True
    lab = Lab(bench, message, bench.guard.give_back)
    lab.take(50)
    lab.end(10)
    lab.look(round(STILL_S / LOOK_S) + 9)
    assert (bench.ledger.held(), len([1 for each in lab.kept if each.settled])) == (40, 10)
    assert caplog.text.count("36 tasks that wait here cannot be given back, and are kept") == 1


def test_what_is_beyond_the_pace_goes_back_at_the_next_look(lab):
    lab.take(31)
    lab.end(20)
    lab.look()
    assert (lab.told, lab.channel.given_back) == (30, [])
    lab.look()
    assert lab.told == USUAL
    assert lab.channel.given_back == [list(range(24, 31))]


def test_remote_control_moves_the_limit_and_the_pace_does_so_too(lab):
    lab.take(11)
    lab.end(10)
    lab.look()
    lab.bench.qos.increment_eventually(3)
    lab.bench.hand_over()
    assert (lab.told, lab.bench.qos.value) == (18, 7)
    lab.take(20)
    lab.look()
    assert (lab.told, lab.bench.ledger.held()) == (7, 7)


def test_what_waits_for_its_eta_is_not_counted(lab, message):
    for number in range(10):
        lab.bench.take(message(f"later-{number}", countdown=30))
    lab.take(4)
    lab.look(round(STILL_S / LOOK_S) + 1)
    assert lab.channel.given_back == [[1, 2, 3]]
    assert lab.told == 11


def test_no_limit_stays_no_limit(lab):
    lab.bench.qos.value = 0
    lab.take(50)
    lab.look(round(STILL_S / LOOK_S) + 1)
    assert (lab.told, lab.channel.given_back) == (0, [])


def test_it_asks_the_pool_for_what_no_child_has(lab):
    lab.bench.pool.withdraw = lambda most, may: [2, 3] if may(2) and may(3) else []
    lab.bench.pool.concurrency = 3
    lab.take(3)
    lab.bench.pool.concurrency = 1
    lab.look(round(STILL_S / LOOK_S) + 1)
    assert lab.channel.given_back == [[1, 2]]
    assert lab.bench.ledger.processed() == 1


def test_what_comes_again_is_announced_once(lab, message, caplog):
    caplog.set_level("INFO")
    lab.take(4)
    lab.look(round(STILL_S / LOOK_S) + 1)
    assert lab.channel.given_back == [[1, 2, 3]]
    lab.bench.take(message("1"))
    assert caplog.text.count("Task add[1] received") == 1
