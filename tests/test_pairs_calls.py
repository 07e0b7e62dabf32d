"""The same words again, for single calls: options, retries, errors, limits, revokes, states."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pairs import PAIRS, Pair
from workers import until

#: Seconds.
SOON = 30


#: Where results are makes no difference here.
pytestmark = pytest.mark.parametrize("pair", [kind for kind in PAIRS if kind.backend != "sql"], indirect=True, ids=str)


@pytest.fixture
def mark(tmp_path: Path) -> Path:
    """A file that a task makes when it has started."""
    return tmp_path / "mark"


def test_options_of_a_call_are_seen_by_the_task(pair: Pair):
    names = ("id", "retries", "timelimit", "group", "group_index", "root_id", "parent_id", "argsrepr", "shadow")
    result = pair.request.apply_async(
        names, task_id=f"own-{pair.queue}", time_limit=20, soft_time_limit=10, shadow="alias"
    )
    found = result.get(timeout=SOON)
    assert found == {
        **dict.fromkeys(("group", "group_index", "parent_id")),
        **{"id": result.id, "root_id": result.id, "retries": 0, "timelimit": [20, 10], "shadow": "alias"},
        "argsrepr": repr(names),
    }


def test_a_task_waits_for_its_time(pair: Pair):
    began = datetime.now(UTC)
    results = [
        pair.add.apply_async((1, 1), countdown=0.5),
        pair.add.apply_async((1, 1), eta=began + timedelta(seconds=0.5)),
    ]
    assert [result.get(timeout=SOON) for result in results] == [2, 2]
    assert datetime.now(UTC) - began >= timedelta(seconds=0.5)


def test_a_task_that_is_too_late_is_revoked(pair: Pair):
    result = pair.add.apply_async((1, 1), expires=0.3, countdown=1)
    if pair.kind.broker != "redis":
        return  # other brokers may drop it while it waits in the queue, and then nobody is told
    with pytest.raises(pair.TaskRevokedError, match="expired"):
        result.get(timeout=SOON)


def test_a_retry_ends_with_a_result_or_with_the_last_error(pair: Pair):
    assert pair.again.delay("x", 2).get(timeout=SOON) == "x"
    with pytest.raises(pair.MaxRetriesExceededError):
        pair.again.delay("x", 5).get(timeout=SOON)
    assert pair.flaky.delay(2).get(timeout=SOON) == 2
    with pytest.raises(ConnectionError, match="down"):
        pair.flaky.delay(9).get(timeout=SOON)


def test_errors_come_back_as_their_class_with_the_workers_traceback(pair: Pair):
    result = pair.fail.delay()
    with pytest.raises(ValueError) as caught:
        result.get(timeout=SOON)
    assert caught.value.args == ("bad", 42)
    assert (result.state, "in fail" in result.traceback) == ("FAILURE", True)
    assert repr(result.get(propagate=False)) == "ValueError('bad', 42)"


def test_wrong_arguments_are_refused_here_and_fail_there(pair: Pair):
    with pytest.raises(TypeError):
        pair.add.delay(1)
    with pytest.raises(TypeError):
        pair.app.send_task("proj.add", (1,)).get(timeout=SOON)


def test_a_soft_limit_can_be_caught_and_a_hard_one_not(pair: Pair, mark: Path):
    assert pair.patient.apply_async((60,), soft_time_limit=0.3).get(timeout=SOON) == "caught"
    with pytest.raises(pair.TimeLimitExceeded):
        pair.nap.apply_async((60, str(mark)), time_limit=0.5).get(timeout=SOON)
    with pytest.raises(pair.SoftTimeLimitExceeded):
        pair.nap.apply_async((60, str(mark)), soft_time_limit=0.3).get(timeout=SOON)


def test_a_task_can_be_revoked_and_terminated(pair: Pair, mark: Path):
    later = pair.nap.apply_async((60, str(mark)), countdown=30)
    running = pair.nap.delay(60, str(mark))
    until(mark.exists, "the nap's start")
    later.revoke()
    running.revoke(terminate=True, signal="SIGKILL")
    with pytest.raises(pair.TaskRevokedError, match="terminated"):
        running.get(timeout=SOON)
    if pair.kind.worker == "ours":  # Celery's looks when the time has come
        with pytest.raises(pair.TaskRevokedError, match="revoked"):
            later.get(timeout=SOON)


def test_states_on_the_way_are_seen(pair: Pair, mark: Path):
    result = pair.steps.delay(str(mark))
    until(lambda: result.state == "PROGRESS", "the state PROGRESS")
    assert result.info == {"done": 1}
    mark.touch()
    assert result.get(timeout=SOON) == result.id


def test_ignore_stores_nothing_and_reject_a_failure(pair: Pair):
    ignored = pair.ignores.delay()
    rejected = pair.rejects.delay()
    with pytest.raises(pair.Reject):
        rejected.get(timeout=SOON)
    pair.until_noted(f"ignored {ignored.id}")
    assert ignored.state == "PENDING"


def test_no_result_is_kept_of_a_call_that_wants_none(pair: Pair):
    quiet = pair.note.apply_async((pair.queue, "quiet"), ignore_result=True)
    pair.until_noted(f"quiet {pair.queue}")
    assert pair.add.delay(1, 1).get(timeout=SOON) == 2
    assert pair.app.AsyncResult(quiet.id).state == "PENDING"


def test_a_result_can_be_forgotten(pair: Pair):
    result = pair.add.delay(1, 1)
    result.get(timeout=SOON)
    result.forget()
    assert pair.app.AsyncResult(result.id).state == "PENDING"


def test_a_name_that_nobody_knows_is_told(pair: Pair):
    with pytest.raises(pair.NotRegistered):
        pair.app.send_task("proj.nobody").get(timeout=SOON)


def test_many_calls_at_one_time_are_all_answered(pair: Pair):
    results = [pair.add.delay(n, n) for n in range(200)]
    assert [result.get(timeout=SOON) for result in results] == [2 * n for n in range(200)]
