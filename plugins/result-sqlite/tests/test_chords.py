"""Chords in the results file."""

from __future__ import annotations

import sqlite3
import time
from typing import Any

from bootsteps_tasks.backend import ChordBackend, Part


def part(task_id: str, place: int | None = 0, state: str = "SUCCESS", result: Any = 1) -> Part:
    return Part("g", task_id, place, state, result, {"task": "body"})


def rows(backend: Any) -> tuple[int, int]:
    with sqlite3.connect(backend.path) as con:
        chords = con.execute("select count(*) from bootsteps_chord").fetchone()[0]
        return chords, con.execute("select count(*) from bootsteps_chord_part").fetchone()[0]


def test_it_counts_parts_itself_and_leaves_nothing(opened):
    backend = opened()
    assert isinstance(backend, ChordBackend)
    backend.begin_chord("g", 3)
    assert backend.return_parts([part("c", None, result=3), part("b", 1, result=2)]) == []
    assert rows(backend) == (1, 2)
    [claim] = backend.return_parts([part("a")])
    assert claim.results == [("a", "SUCCESS", 1), ("b", "SUCCESS", 2), ("c", "SUCCESS", 3)]
    backend.finish_chord(claim)
    assert rows(backend) == (0, 0)


def test_a_nested_header_keeps_its_shape(opened):
    backend, tree = opened(), [["g", None], [[["x", None], [[["a", None], None]]]]]
    backend.begin_chord("g", 1, tree)
    [claim] = backend.return_parts([part("a")])
    assert claim.tree == tree


def test_a_part_that_returns_again_counts_once_and_not_at_all_when_the_chord_is_done(opened):
    backend = opened()
    backend.begin_chord("g", 2)
    assert backend.return_parts([part("a"), part("a", result=9)]) == []
    assert backend.return_parts([part("a")]) == []
    [claim] = backend.return_parts([part("b", 1)])
    backend.finish_chord(claim)
    assert backend.return_parts([part("b", 1)]) == []
    assert rows(backend) == (0, 0)


def test_a_chord_whose_publisher_died_is_claimed_by_the_part_that_comes_again(opened):
    dead, alive = opened(), opened()
    dead.begin_chord("g", 1)
    assert len(dead.return_parts([part("a")])) == 1
    with sqlite3.connect(dead.path) as con:  # the claim's own time, made short
        con.execute("update bootsteps_chord set claimed_until = ?", (time.time() + 0.2,))
    [claim] = alive.return_parts([part("a")])
    dead.finish_chord(claim._replace(token="lost"))
    assert rows(alive) == (1, 1)
    alive.finish_chord(claim)
    assert rows(alive) == (0, 0)


def test_parts_may_be_added(opened):
    backend = opened()
    backend.begin_chord("g", 1)
    backend.add_to_chord("g")
    assert backend.return_parts([part("a")]) == []
    assert len(backend.return_parts([part("b")])) == 1


def test_chords_that_never_ended_are_cleaned_up(opened):
    backend = opened(result_chord_expires=0.01)
    backend.begin_chord("g", 2)
    backend.return_parts([part("a")])
    until = time.monotonic() + 10
    while rows(backend) != (0, 0) and time.monotonic() < until:
        backend.cleanup()
    assert rows(backend) == (0, 0)


def test_groups_are_kept_until_they_are_deleted(opened):
    backend, found = opened(), [["g", None], [[["a", None], None]]]
    assert backend.restore_group("g") is None
    backend.save_group("g", found)
    backend.save_group("g", found)
    assert opened().restore_group("g") == found
    backend.delete_group("g")
    assert backend.restore_group("g") is None
