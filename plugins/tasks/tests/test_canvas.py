"""Signatures: what they are, what they become when combined, and what travels."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Callable
from typing import Any

import pytest

from bootsteps_tasks import (
    App,
    Signature,
    StampingVisitor,
    chain,
    chord,
    chunks,
    group,
    signature,
    xmap,
    xstarmap,
)
from bootsteps_tasks.canvas.freezing import freeze, steps_of
from bootsteps_tasks.canvas.sending import plan
from bootsteps_tasks.errors import ChordError


@pytest.fixture
def app() -> App:
    return App("proj", task_always_eager=True)


@pytest.fixture
def add(app: App) -> Any:
    @app.task(name="add")
    def add(x: int, y: int = 0) -> int:
        return x + y

    return add


@pytest.fixture
def same(app: App) -> Any:
    @app.task(name="same")
    def same(x: Any) -> Any:
        return x

    return same


@pytest.fixture
def bad(app: App) -> Any:
    @app.task(name="bad")
    def bad(*args: Any) -> None:
        raise ValueError("bad")

    return bad


def test_a_signature_is_what_travels(add):
    sig = add.signature((1,), {"y": 2}, countdown=5, immutable=True)
    assert json.loads(json.dumps(sig)) == {
        "task": "add",
        "args": [1],
        "kwargs": {"y": 2},
        "options": {"countdown": 5},
        "subtask_type": None,
        "immutable": True,
    }
    assert type(pickle.loads(pickle.dumps(sig))) is dict


def test_a_signature_comes_back_from_json_as_what_it_was(app, add, same):
    found = chord([add.s(1, 1), add.s(2) | add.s(3)], group(same.s(), chain(same.s(), same.s())))
    again: Any = signature(json.loads(json.dumps(found)), app=app)
    kinds = [type(again), type(again.tasks[1]), type(again.body), type(again.body.tasks[1])]
    assert kinds == [chord, chain, group, chain]
    assert json.loads(json.dumps(again)) == json.loads(json.dumps(found))
    for made in (add.map([1]), add.starmap([(1, 2)]), add.chunks([(1, 2)], 1)):
        assert type(signature(json.loads(json.dumps(made)))) is type(made)
    assert (type(add.map([1])), type(add.starmap([])), type(add.chunks([], 1))) == (xmap, xstarmap, chunks)


def test_later_arguments_come_first_and_a_clone_is_another(add):
    sig = add.s(2)
    more = sig.clone((1,), {"z": 3}, queue="q")
    assert (more.args, more.kwargs, more.options) == ((1, 2), {"z": 3}, {"queue": "q"})
    assert (sig.args, sig.kwargs, sig.options) == ((2,), {}, {})
    assert add.si(2).clone((1,)).args == (2,)
    more.link(add.s(1))
    assert "link" not in sig.clone().options


def test_a_group_id_and_stamps_are_never_replaced_by_later_options(add):
    sig = add.s(1).set(group_id="g", stamped_headers=["tenant"], tenant="acme", queue="a")
    _, _, options = sig.merged((), {}, {"group_id": "h", "tenant": "other", "stamped_headers": ["x"], "queue": "b"})
    assert options == {"group_id": "g", "stamped_headers": ["tenant"], "tenant": "acme", "queue": "b"}


def test_what_follows_what_decides_the_kind(add, same):
    a, b, c = add.s(1), add.s(2), same.s()
    both = group(a, b)
    assert [sig.args for sig in (a | b | c).tasks] == [(1,), (2,), ()]
    assert [type(sig) for sig in ((a | b) | (b | c)).tasks] == [Signature] * 4
    assert type(both | c) is chord
    assert [type(sig) for sig in (a | both).tasks] == [Signature, group]
    assert [type(sig) for sig in (a | both | c).tasks] == [Signature, chord]
    assert type((both | c | c).body) is chain
    assert [type(sig) for sig in (a | both | both).tasks] == [Signature, chord]
    assert (a | group()) is a
    assert (a | group(b)).tasks[1].args == (2,)
    assert type(chain(a)) is Signature


def test_combining_changes_none_of_the_parts(add, same):
    left, right = add.s(1) | group(add.s(1), add.s(2)), same.s() | same.s()
    before = json.dumps([left, right])
    left | right | same.s()
    (left | right).freeze()
    plan(left | right, (), {}, {})
    assert json.dumps([left, right]) == before


def test_freezing_gives_ids_to_all_and_the_results_lead_back(app, add, same):
    sig: Any = add.s(1, 1) | group(add.s(1), add.s(2) | add.s(3)) | same.s() | same.s()
    result = sig.freeze("the-id")
    assert (result.id, sig.freeze().id) == ("the-id", "the-id")
    header = result.parent.parent
    assert [len(header), header.parent.id] == [2, sig.tasks[0].id]
    step: Any = steps_of(sig)[1]
    assert step.tasks[0].options["group_id"] == header.id


def messages(sig: Signature, *args: Any) -> list[Any]:
    made, _ = plan(sig, args, {}, {})
    return list(made.calls)


def test_a_chain_is_one_message_and_the_next_stands_last(add):
    [call] = messages(add.s(1, 1) | add.s(4) | add.s(8))
    assert [step["args"] for step in call.options["chain"]] == [[8], [4]]
    assert all(step["options"]["task_id"] for step in call.options["chain"])


def test_each_task_of_a_header_carries_the_body_with_all_that_follows_it(add, same):
    calls = messages(group(add.s(i, i) for i in range(3)) | same.s() | add.s(5) | add.s(6))
    assert [call.options["group_index"] for call in calls] == [0, 1, 2]
    [body] = [json.loads(text) for text in {json.dumps(call.options["chord"]) for call in calls}]
    assert body["task"] == "same"
    assert [step["args"] for step in body["options"]["chain"]] == [[6], [5]]
    assert {call.options["group_id"] for call in calls} == {body["options"]["group_id"]}
    assert all("chain" not in call.options for call in calls)


def test_a_chord_counts_what_will_return(add, same):
    header = [add.s(1, 1), add.s(1) | group(add.s(1), add.s(2)), chord([add.s(1)], same.s()), group(add.s(1), add.s(2))]
    made, _ = plan(chord(header, same.s()), (), {}, {})
    assert sorted(found.size for found in made.chords) == [1, 6]


@pytest.mark.parametrize("count", [2, 5])
def test_link_error_of_a_chain_belongs_to_each_and_link_to_the_last(add, same, count):
    sig = chain(*[add.s(i) for i in range(count)]).on_error(same.s(1))
    sig.link(same.s(2))
    first, *rest = steps_of(sig)
    assert all(step.options["link_error"] == [same.s(1)] for step in (first, *rest))
    assert rest[-1].options["link"] == [same.s(2)]
    assert "link" not in first.options


def test_errbacks_of_a_chord_belong_to_its_body_and_by_a_setting_to_its_header(app, add, same, bad):
    found = chord([add.s(1)], same.s()).on_error(bad.s())
    assert ("link_error" in found.tasks[0].options, found.body.options["link_error"]) == (False, [bad.s()])
    app.conf["task_allow_error_cb_on_chord_header"] = True
    found = chord([add.s(1)], same.s()).on_error(bad.s())
    assert found.tasks[0].options["link_error"][0].immutable


def test_stamps_go_down_to_callbacks_and_a_visitor_decides_for_each(add, same):
    class Visitor(StampingVisitor):
        def on_signature(self, sig: Any, **stamps: Any) -> Any:
            return {"of": sig.task}

        def on_callback(self, callback: Any, **stamps: Any) -> Any:
            return {"back": True}

    found = chord([add.s(1), add.s(2) | add.s(3)], same.s())
    found.tasks[0].link(same.s())
    found.stamp(Visitor(), tenant="acme")
    first, body = found.tasks[0].options, found.body.options
    assert (first["stamped_headers"], first["tenant"], first["of"]) == (["tenant", "of"], "acme", "add")
    assert (body["tenant"], body["of"]) == ("acme", "same")
    assert first["link"][0].options["back"] is True
    assert found.tasks[1].tasks[1].options["of"] == "add"


def test_appended_stamps_are_kept_beside_the_old_ones(add):
    sig = add.s(1).stamp(tag="a")
    sig.stamp(append_stamps=True, tag="b")
    assert (sig.options["tag"], sig.options["stamped_headers"]) == (["a", "b"], ["tag"])
    assert add.s(1).stamp(tag="a").stamp(tag="b").options["tag"] == "b"


def test_all_kinds_run_eagerly(add, same, bad):
    assert (add.s(1, 1) | add.s(2) | group(add.s(1), add.s(2)) | same.s()).apply().get() == [5, 6]
    assert chord([add.s(1, 1), group(add.s(2, 2))], same.s())().get() == [2, 4]
    assert add.chunks([(1, 1), (2, 2), (3, 3)], 2)().get() == [[2, 4], [6]]
    assert add.map([1, 2]).delay().get() == [1, 2]
    failed = (bad.s() | same.s()).apply()
    assert (failed.state, type(failed.result)) == ("FAILURE", ValueError)
    assert type(chord([bad.s(), add.s(1)], same.s()).apply().result) is ChordError


def test_callbacks_and_errbacks_run_eagerly(app, add, bad):
    seen: list[Any] = []
    note = app.task(name="note")(lambda what: seen.append(what))
    told = app.task(name="told")(lambda request, exc, traceback: seen.append((request.id, repr(exc))))
    add.apply((1, 2), link=note.s())
    result = bad.apply((), link_error=[note.s(), told.s()])
    assert seen == [3, (result.id, "ValueError('bad')"), result.id]


def test_a_replaced_task_gives_the_result_of_what_replaced_it_eagerly(app, add, same):
    def replaced(self: Any, x: int) -> Any:
        return self.replace(group(add.s(x, 1), add.s(x, 2)))

    swap = app.task(name="swap", bind=True)(replaced)
    assert (add.s(1, 1) | swap.s() | same.s()).apply().get() == [3, 4]


def test_a_frozen_group_keeps_the_order_of_groups_in_it(add):
    sig = group(add.s(1), group(add.s(2), add.s(3)), add.s(4))
    freeze(sig)
    assert [(task.args, task.options["group_index"]) for task in sig.tasks] == [((n,), n - 1) for n in (1, 2, 3, 4)]


def made_at_random(rng: random.Random, depth: int, add: Any, total: Any) -> Any:
    """Return a signature that takes a number, or what `total` can add up, and gives a number."""
    make: Callable[[], Any] = lambda: made_at_random(rng, depth - 1, add, total)  # noqa: E731
    kind = rng.choice(["task", "chain", "chord", "grouped", "nested"]) if depth else "task"
    if kind == "task":
        return total.s() | add.s(rng.randrange(10))
    if kind == "chain":
        return chain(*[make() for _ in range(rng.randrange(1, 4))])
    if kind == "chord":
        return chord([make() for _ in range(rng.randrange(1, 4))], total.s() | make())
    if kind == "grouped":
        return make() | group(make() for _ in range(rng.randrange(1, 4))) | total.s()
    return chord([make() | group(make(), make()), make()], chord([total.s(), total.s() | make()], total.s()))


def test_canvases_at_random_give_eagerly_what_their_parts_would(app, add):
    def added(xs: Any) -> int:
        return xs if isinstance(xs, int) else sum(map(added, xs))

    total = app.task(name="total")(added)
    for seed in range(40):
        found = made_at_random(random.Random(seed), 3, add, total)
        once = found.apply((1,)).get()
        assert isinstance(once, int)
        assert signature(json.loads(json.dumps(found)), app=app).apply((1,)).get() == once
