"""Chords in Redis: what stands there is what Celery 5.7 writes (wire reference 16.1)."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

import pytest

from bootsteps_tasks.backend import ChordBackend, Part


def part(group_id: str, task_id: str, place: int | None = 0, state: str = "SUCCESS", result: Any = 1) -> Part:
    return Part(group_id, task_id, place, state, result, {"task": "body"})


@pytest.fixture
def gid(server: Any) -> Any:
    gid = str(uuid4())
    yield gid
    for key in server.scan_iter(f"*{gid}*"):
        server.delete(key)


def keys(server: Any, gid: str) -> dict[str, str]:
    base = f"celery-taskset-meta-{gid}"
    return {key.decode().removeprefix(base): server.type(key).decode() for key in sorted(server.scan_iter(f"{base}*"))}


def test_it_counts_parts_itself(opened):
    assert isinstance(opened(), ChordBackend)


def test_the_keys_are_those_of_the_protocol(opened, server, gid):
    backend, base = opened(result_expires=100), f"celery-taskset-meta-{gid}"
    backend.begin_chord(gid, 2)
    assert (server.get(f"{base}.s"), 90 < server.ttl(f"{base}.s") <= 100) == (b"2", True)
    assert backend.return_parts([part(gid, "a", 1, result=[5])]) == []
    assert keys(server, gid) == {".d": "set", ".j": "zset", ".s": "string"}
    assert server.zrange(f"{base}.j", 0, -1, withscores=True) == [(b'[1, "a", "SUCCESS", [5]]', 1.0)]
    assert server.smembers(f"{base}.d") == {b"a:1"}
    assert 90 < server.ttl(f"{base}.j") <= 100
    [claim] = backend.return_parts([part(gid, "b", 0)])
    assert keys(server, gid)[".c"] == "string"
    assert server.ttl(f"{base}.c") > 6  # longer than the first claim: the body is being published
    backend.finish_chord(claim)
    assert keys(server, gid) == {".c": "string"}
    assert (server.get(f"{base}.c"), 290 < server.ttl(f"{base}.c") <= 300) == (b"done", True)


def test_results_come_in_the_headers_order_and_a_nested_header_with_its_shape(opened, gid):
    backend, tree = opened(), [[gid, None], [[["a", None], None], [["g", None], [[["b", None], None]]]]]
    backend.begin_chord(gid, 3, tree)
    [claim] = backend.return_parts([part(gid, "c", None, result=3), part(gid, "b", 1, result=2), part(gid, "a")])
    assert [tuple(found) for found in claim.results] == [("a", "SUCCESS", 1), ("b", "SUCCESS", 2), ("c", "SUCCESS", 3)]
    assert claim.tree == tree


def test_a_part_that_returns_again_counts_once(opened, gid):
    backend = opened()
    backend.begin_chord(gid, 2)
    assert backend.return_parts([part(gid, "a"), part(gid, "a", result=9)]) == []
    assert backend.return_parts([part(gid, "a")]) == []
    [claim] = backend.return_parts([part(gid, "b", 1)])
    assert [found[2] for found in claim.results] == [1, 1]
    backend.finish_chord(claim)
    assert backend.return_parts([part(gid, "b", 1)]) == []


def test_a_chord_whose_publisher_died_is_claimed_by_the_part_that_comes_again(opened, server, gid):
    dead, alive = opened(), opened()
    dead.begin_chord(gid, 1)
    assert len(dead.return_parts([part(gid, "a")])) == 1
    server.pexpire(f"celery-taskset-meta-{gid}.c", 300)  # the claim's own time, made short
    [claim] = alive.return_parts([part(gid, "a")])
    alive.finish_chord(claim)
    assert keys(server, gid) == {".c": "string"}


def test_parts_may_be_added(opened, server, gid):
    backend = opened()
    backend.begin_chord(gid, 1)
    backend.add_to_chord(gid)
    assert backend.return_parts([part(gid, "a")]) == []
    assert len(backend.return_parts([part(gid, "b")])) == 1


def test_it_waits_for_a_celery_publisher_that_says_the_size_last(opened, server, gid):
    backend = opened()
    assert backend.return_parts([part(gid, "a")]) == []
    server.set(f"celery-taskset-meta-{gid}.s", 2)
    assert len(backend.return_parts([part(gid, "b", 1)])) == 1


def test_a_prefix_and_an_unordered_count_are_as_configured(opened, server, gid):
    options = {"global_keyprefix": "mine", "result_chord_ordered": False}
    backend = opened(result_backend_transport_options=options)
    backend.begin_chord(gid, 2)
    backend.return_parts([part(gid, "b", 1)])
    assert server.type(f"mine_celery-taskset-meta-{gid}.j") == b"list"
    [claim] = backend.return_parts([part(gid, "a", 0)])
    assert [found[0] for found in claim.results] == ["b", "a"]
    backend.finish_chord(claim)


def test_groups_are_kept_as_celery_keeps_them(opened, server, gid):
    backend, found = opened(result_expires=100), [[gid, None], [[["a", None], None]]]
    assert backend.restore_group(gid) is None
    backend.save_group(gid, found)
    key = f"celery-taskset-meta-{gid}"
    assert (json.loads(server.get(key)), 90 < server.ttl(key) <= 100) == ({"result": found}, True)
    assert backend.restore_group(gid) == found
    backend.delete_group(gid)
    assert backend.restore_group(gid) is None
