"""The same words, said by our client and by Celery's, to our worker and to Celery's."""

from __future__ import annotations

import pytest

from pairs import Pair

#: Seconds.
SOON = 30


def test_a_call_is_answered(pair: Pair):
    assert pair.add.delay(2, 3).get(timeout=SOON) == 5
    with pytest.raises(ValueError, match="bad"):
        pair.fail.delay().get(timeout=SOON)


def test_a_chain_hands_each_result_on(pair: Pair):
    result = (pair.add.s(1, 2) | pair.add.s(3) | pair.add.s(4)).delay()
    assert result.get(timeout=SOON) == 10
    assert (result.parent.get(timeout=SOON), result.parent.parent.get(timeout=SOON)) == (6, 3)


def test_an_immutable_signature_takes_nothing(pair: Pair):
    assert (pair.add.s(1, 2) | pair.add.si(5, 5) | pair.add.s(1)).delay().get(timeout=SOON) == 11


def test_a_group_runs_all_and_keeps_their_order(pair: Pair):
    result = pair.group(pair.add.s(i, i) for i in range(20)).delay()
    assert result.get(timeout=SOON) == [2 * i for i in range(20)]
    assert (result.successful(), result.completed_count()) == (True, 20)


def test_a_chord_runs_its_body_with_all_results_in_order(pair: Pair):
    result = pair.chord([pair.add.s(i, i) for i in range(30)])(pair.same.s())
    assert result.get(timeout=SOON) == [2 * i for i in range(30)]


def test_a_chord_of_nothing_runs_its_body(pair: Pair):
    assert pair.chord([], pair.same.s()).delay().get(timeout=SOON) == []


def test_groups_in_chains_become_chords(pair: Pair):
    add, total, same, group = pair.add, pair.total, pair.same, pair.group
    found = add.s(1, 2) | group(add.s(1), add.s(2)) | total.s() | add.s(1) | group(add.s(1), add.s(2)) | same.s()
    assert found.delay().get(timeout=SOON) == [11, 12]
    assert (group(add.s(1, 1), add.s(2, 2)) | group(total.s(), same.s())).delay().get(timeout=SOON) == [6, [2, 4]]


def test_a_chord_of_chains_of_groups_keeps_its_shape(pair: Pair):
    add, total, group, chord = pair.add, pair.total, pair.group, pair.chord
    header = [
        chord([add.s(1, 1), add.s(2, 2)], total.s()),
        add.s(1, 1) | group(add.s(1), add.s(2)),
        group(add.s(5, 5), add.s(5, 5)),  # Celery's client turns such a group round
        add.s(1, 1) | add.s(1),
    ]
    assert chord(header, pair.same.s()).delay().get(timeout=SOON) == [6, [3, 4], 10, 10, 3]


def test_a_chord_may_be_the_body_of_a_chord(pair: Pair):
    add, total, chord = pair.add, pair.total, pair.chord
    inner = chord([total.s(), pair.same.s()], pair.same.s())
    assert chord([add.s(1, 1), add.s(2, 2)], inner).delay().get(timeout=SOON) == [6, [2, 4]]


def test_maps_and_chunks(pair: Pair):
    items = [(i, i) for i in range(7)]
    assert pair.add.starmap(items).apply_async().get(timeout=SOON) == [2 * i for i in range(7)]
    assert pair.same.map([1, 2]).apply_async().get(timeout=SOON) == [1, 2]
    assert pair.add.chunks(items, 3).apply_async().get(timeout=SOON) == [[0, 2, 4], [6, 8, 10], [12]]
    assert (pair.add.chunks(items, 3).group() | pair.total.s()).delay().get(timeout=SOON) == 42


def test_a_callback_gets_the_result(pair: Pair):
    result = pair.add.apply_async((1, 2), link=pair.add.s(10))
    assert result.get(timeout=SOON) == 3
    [child] = result.children
    assert child.get(timeout=SOON) == 13
    assert [value for _, value in result.collect()] == [3, 13]


def test_several_callbacks_all_run(pair: Pair):
    sig = pair.add.s(1, 2)
    for more in (10, 20):
        sig.link(pair.add.s(more))
    sig.link(pair.group(pair.add.s(30), pair.add.s(40)))
    result = sig.delay()
    assert result.get(timeout=SOON) == 3
    values = sorted(str(child.get(timeout=SOON)) for child in result.children)
    assert values == ["[13, 23]", "[33, 43]"]


def test_errbacks_of_a_task_are_sent_with_its_id_or_called_with_the_error(pair: Pair):
    result = pair.fail.apply_async((), link_error=[pair.note.s("sent"), pair.told.s()])
    with pytest.raises(ValueError, match="bad"):
        result.get(timeout=SOON)
    pair.until_noted(f"sent {result.id}")
    pair.until_noted(f"told {result.id} ValueError('bad', 42)")


def test_a_failure_ends_a_chain_and_everybody_who_waits(pair: Pair):
    result = (pair.add.s(1, 1) | pair.fail.s() | pair.add.s(1) | pair.add.s(2)).delay()
    with pytest.raises(ValueError, match="bad"):
        result.get(timeout=SOON)
    assert result.parent.parent.parent.get(timeout=SOON) == 2


def test_the_errback_of_a_chain_belongs_to_each_of_its_tasks(pair: Pair):
    result = (pair.add.s(1, 1) | pair.fail.s() | pair.add.s(1)).on_error(pair.note.s("chain")).delay()
    with pytest.raises(ValueError, match="bad"):
        result.get(timeout=SOON)
    pair.until_noted(f"chain {result.parent.id}")


def test_the_errback_of_a_group_belongs_to_each_of_its_tasks(pair: Pair):
    result = pair.group(pair.fail.s(), pair.add.s(1, 1), pair.fail.s()).on_error(pair.note.s("group")).delay()
    with pytest.raises(ValueError, match="bad"):
        result.get(timeout=SOON)
    pair.until_noted(f"group {result.results[0].id}")
    pair.until_noted(f"group {result.results[2].id}")
    assert result.results[1].get(timeout=SOON) == 2


def test_a_part_that_fails_fails_the_chord(pair: Pair):
    body = pair.total.s().on_error(pair.note.s("chord"))
    result = pair.chord([pair.add.s(1, 1), pair.fail.s()], body).delay()
    with pytest.raises((pair.ChordError, ValueError), match="bad"):
        result.get(timeout=SOON)
    pair.until_noted(f"chord {result.id}")
    result = pair.app.AsyncResult(result.id)
    assert (result.state, type(result.result).__name__) == ("FAILURE", "ChordError")


def test_what_follows_a_chord_that_failed_fails_too(pair: Pair):
    found = pair.group(pair.fail.s(), pair.add.s(1, 1)) | pair.total.s() | pair.add.s(1)
    with pytest.raises((pair.ChordError, ValueError), match="bad"):
        found.delay().get(timeout=SOON)


def test_a_retry_keeps_what_follows(pair: Pair):
    found = pair.group(pair.again.s(1, 2), pair.again.s(2, 1) | pair.again.s(2)) | pair.total.s() | pair.again.s(1)
    assert found.apply_async().get(timeout=SOON) == 3


def test_a_task_may_be_replaced_by_a_chain_a_group_or_a_chord(pair: Pair):
    assert (pair.add.s(1, 1) | pair.chained_instead.s() | pair.add.s(1)).delay().get(timeout=SOON) == 1103
    assert (pair.add.s(1, 1) | pair.grouped_instead.s() | pair.same.s()).delay().get(timeout=SOON) == [102, 1002]
    header = [pair.chained_instead.s(1), pair.grouped_instead.s(2), pair.chord_instead.s(3), pair.add.s(1, 1)]
    found = pair.chord(header, pair.same.s()).delay()
    assert found.get(timeout=SOON) == [1101, [102, 1002], 1106, 2]


def test_a_part_may_add_parts(pair: Pair):
    if pair.kind.backend == "sql":
        pytest.skip("nobody counts parts there")
    assert pair.chord([pair.one_more.s(1), pair.add.s(1, 1)], pair.total.s()).delay().get(timeout=SOON) == 1004


def test_stamps_are_carried_through(pair: Pair):
    found = pair.chord([pair.request.s("stamps"), pair.same.s(1) | pair.request.s("stamps")], pair.same.s())
    found.stamp(tenant="acme")
    assert found.delay().get(timeout=SOON) == [{"stamps": {"tenant": "acme"}}, {"stamps": {"tenant": "acme"}}]


def test_a_visitor_stamps_each_task(pair: Pair):
    class Visitor(pair.StampingVisitor):  # type: ignore[name-defined,misc]
        def on_signature(self, sig, **headers):
            return {"of": sig.task, "stamped_headers": ["of"]}

    found = pair.request.s("stamps") | pair.request.si("stamps", "stamped_headers")
    found.stamp(visitor=Visitor())
    assert found.delay().get(timeout=SOON) == {"stamps": {"of": "proj.request"}, "stamped_headers": ["of"]}


def test_a_group_can_be_kept_and_restored(pair: Pair):
    result = pair.group(pair.add.s(1, 1), pair.add.s(1, 1) | pair.group(pair.add.s(1), pair.add.s(2))).delay()
    result.save()
    found = pair.GroupResult.restore(result.id, app=pair.app)
    assert found.get(timeout=SOON) == [2, [3, 4]]
    found.delete()
    assert pair.GroupResult.restore(result.id, app=pair.app) is None


def test_children_are_what_a_task_published(pair: Pair):
    result = pair.publishes.delay(3)
    ids = result.get(timeout=SOON)
    assert [child.id for child in result.children] == ids
    result = pair.publishes_quietly.delay(1)
    assert len(result.get(timeout=SOON)) == 1
    assert not result.children


def test_the_workflow_is_known_to_each_of_its_tasks(pair: Pair):
    result = (pair.number.s(1) | pair.request.si("root_id", "parent_id")).delay()
    assert result.get(timeout=SOON) == {"root_id": result.parent.id, "parent_id": result.parent.id}
