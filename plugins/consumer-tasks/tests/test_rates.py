"""Rate limits: how they are written, and that what waits for one stands in nobody's way."""

from __future__ import annotations

from typing import Any

import pytest

from bootsteps import KernelError
from bootsteps_consumer_tasks import handover
from bootsteps_consumer_tasks.ledger import State
from bootsteps_consumer_tasks.rates import Buckets, TokenBucket, per_second


@pytest.mark.parametrize(
    ("written", "rate"),
    [("10/s", 10), ("120/m", 2), ("7200/h", 2), (5, 5), ("5", 5), (0.5, 0.5), (0, 0), (None, 0), ("", 0), ("0/m", 0)],
)
def test_a_rate_is_a_number_per_second_minute_or_hour(written, rate):
    assert per_second(written) == rate


@pytest.mark.parametrize("written", ["fast", "10/d", "-1/s", "nan", True, "inf/s", [1]])
def test_a_rate_that_is_none_is_refused(written):
    with pytest.raises(ValueError, match="a rate limit is a number"):
        per_second(written)


def test_a_bucket_gives_one_token_at_a_time():
    now = [0.0]
    bucket = TokenBucket(2.0, clock=lambda: now[0])
    assert (bucket.can_consume(), bucket.can_consume()) == (True, False)
    assert bucket.expected_time() == 0.5
    now[0] = 100.5
    assert (bucket.can_consume(), bucket.can_consume()) == (True, False)  # no burst after a pause
    with pytest.raises(IndexError):
        bucket.pop()


@pytest.fixture
def bench(make_bench: Any, app: Any) -> Any:
    app.tasks["add"].rate_limit = "1/h"
    return make_bench(concurrency=2)


def test_a_limited_task_waits_and_others_flow_past_it(bench, message):
    bench.take(*(message(f"a{n}") for n in range(4)), message("b", "early", ()))
    assert [job.kind for job in bench.pool.jobs] == ["add", "early"]
    assert bench.ledger.count(State.LIMITED) == 3
    bench.finish(1)
    bench.take(message("c", "early", ()))
    assert [job.kind for job in bench.pool.jobs] == ["add", "early"]
    assert bench.qos.value == 4 + 3


def test_the_prefetch_limit_grows_within_bounds(bench, message, monkeypatch):
    monkeypatch.setattr(handover, "MOST_LIMITED", 2)
    bench.take(*(message(f"a{n}") for n in range(5)))
    bench.hand_over()
    assert bench.qos.value == 4 + 2


def test_the_loop_wakes_for_the_next_token_and_a_new_limit_counts_at_once(bench, message):
    bench.take(message("a"), message("b"), message("c"))
    assert bench.timer.pending == 1
    bench.control.rate_limit("add", 0)
    bench.hand_over()
    assert len(bench.pool.jobs) == 2
    bench.finish()
    bench.take(message("d"))
    assert len(bench.pool.jobs) == 2
    assert bench.app.tasks["add"].rate_limit == 0


def test_what_waits_for_a_token_is_given_back_and_forgotten_like_the_rest(bench, message):
    first, second = message("a"), message("b")
    bench.take(first, second)
    assert bench.intake.close() == 1
    assert (second.settled, bench.buckets["add"].contents) == (["requeue"], ())
    bench.connect()
    third = message("c")
    bench.take(third)
    bench.intake.hang_up()
    assert bench.buckets["add"].contents == ()
    assert bench.ledger.count(State.LIMITED) == 0


def test_an_eta_comes_before_the_rate(bench, message):
    bench.take(message("a", countdown=5), message("b"))
    assert bench.ledger.count(State.HELD) == 1
    bench.timer.advance(6)
    assert (bench.ledger.count(State.HELD), bench.ledger.count(State.LIMITED)) == (0, 1)


def test_limits_can_be_switched_off_and_have_a_default(app):
    def rate(name: str) -> float | None:
        bucket = Buckets(app.tasks)[name]
        return None if bucket is None else bucket.fill_rate

    app.tasks["add"].rate_limit = "1/m"
    assert rate("add") == pytest.approx(1 / 60)
    assert (Buckets(app.tasks)["early"], Buckets(app.tasks)["nobody"]) == (None, None)
    app.conf["task_default_rate_limit"] = "3/s"
    assert rate("early") == 3
    assert rate("add") == pytest.approx(1 / 60)
    assert Buckets(app.tasks, disabled=True)["add"] is None


def test_a_wrong_limit_changes_nothing(bench, app):
    with pytest.raises(KernelError, match="a rate limit is a number"):
        bench.control.rate_limit("add", "fast")
    with pytest.raises(KernelError, match="unknown task"):
        bench.control.rate_limit("nobody", "1/s")
    app.tasks["early"].rate_limit = "slow"
    with pytest.raises(KernelError, match="task 'early': a rate limit is a number"):
        bench.buckets.reset()
    assert bench.buckets["add"] is not None
