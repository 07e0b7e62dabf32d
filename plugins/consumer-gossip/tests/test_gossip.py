"""What a worker hears of the others, and elections."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from bootsteps import HUB, TIMER, ServiceKey
from bootsteps.testing import FakeHub, FakeTimer, check_step, make_blueprint
from bootsteps_consumer_events import EVENT_DISPATCHER
from bootsteps_consumer_gossip.elections import DECIDE_AFTER_S, REMEMBERED, Candidate, Elections
from bootsteps_consumer_gossip.gossip import Gossip
from bootsteps_consumer_gossip.step import GossipStep
from bootsteps_consumer_gossip.watch import ELECTION_LOOK_S, LOOK_EVERY_S, Watch
from bootsteps_tasks import App


class Wire:
    """A dispatcher that hands every event to all who listen, stamped with a clock."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[dict[str, Any]], object]] = []
        self.clock = 0
        self.queue: list[dict[str, Any]] = []

    def for_(self, hostname: str, pid: int) -> Any:
        wire = self

        class One:
            def send(self, type: str, **fields: Any) -> None:
                wire.clock += 1
                common = {"hostname": hostname, "pid": pid, "clock": wire.clock, "type": type}
                wire.queue.append(common | {"timestamp": time.time(), "local_received": time.time(), **fields})

        return One()

    def deliver(self) -> None:
        while self.queue:
            event = self.queue.pop(0)
            for listener in self.listeners:
                listener(dict(event))


class Node:
    def __init__(self, wire: Wire, name: str, pid: int) -> None:
        self.ran: list[Any] = []
        self.seen: list[tuple[str, str]] = []
        self.dispatcher = wire.for_(name, pid)
        self.gossip = Gossip(App("proj", broker="memory://"), name, self.dispatcher)
        self.gossip.full_hostname = f"{name}.{pid}"
        self.gossip.election_handlers["test"] = self.ran.append
        for what in ("node_join", "node_leave", "node_lost"):
            getattr(self.gossip.on, what).add(lambda worker, what=what: self.seen.append((what, worker.hostname)))
        wire.listeners.append(lambda event: self.gossip.on_event(event, own=event["hostname"] == name))


@pytest.fixture
def wire() -> Wire:
    return Wire()


@pytest.fixture
def nodes(wire: Wire) -> list[Node]:
    found = [Node(wire, f"w{number}@h", 100 + number) for number in range(3)]
    for node in found:
        node.dispatcher.send("worker-online", freq=2.0)
    wire.deliver()
    return found


def test_it_hears_who_comes_and_goes(wire: Wire, nodes: list[Node]) -> None:
    assert sorted(nodes[0].gossip.state.workers) == ["w1@h", "w2@h"]
    nodes[2].dispatcher.send("worker-offline")
    wire.deliver()
    assert nodes[0].seen == [("node_join", "w1@h"), ("node_join", "w2@h"), ("node_leave", "w2@h")]
    assert sorted(nodes[0].gossip.state.workers) == ["w1@h"]


def test_one_whose_heartbeat_is_overdue_is_lost(wire: Wire, nodes: list[Node]) -> None:
    nodes[0].gossip.look()
    assert len(nodes[0].gossip.state.workers) == 2
    nodes[0].gossip.state.workers["w1@h"].heartbeats[:] = [time.time() - 60]
    nodes[0].gossip.look()
    assert nodes[0].seen[-1] == ("node_lost", "w1@h")
    assert sorted(nodes[0].gossip.state.workers) == ["w2@h"]
    nodes[1].dispatcher.send("worker-heartbeat", freq=2.0)
    wire.deliver()
    assert nodes[0].seen[-1] == ("node_join", "w1@h")


def test_a_callback_that_fails_is_logged_and_the_others_hear(
    wire: Wire, nodes: list[Node], caplog: pytest.LogCaptureFixture
) -> None:
    def fails(worker: Any) -> None:
        raise ValueError("no")

    nodes[0].gossip.on.node_leave.add(fails)
    nodes[1].dispatcher.send("worker-offline")
    wire.deliver()
    assert "failed" in caplog.text
    assert ("node_leave", "w1@h") in nodes[0].seen


def test_exactly_one_wins_an_election_and_it_is_the_same_for_all(wire: Wire, nodes: list[Node]) -> None:
    for node in reversed(nodes):
        node.gossip.election("one", "test", "the job")
    wire.deliver()
    assert [node.ran for node in nodes] == [[], [], ["the job"]]  # the smallest clock: it stood first
    assert not any(node.gossip.waits for node in nodes)


def test_a_single_worker_elects_itself(wire: Wire) -> None:
    alone = Node(wire, "w@h", 1)
    alone.gossip.election("one", "test", 7)
    wire.deliver()
    assert alone.ran == [7]


def test_a_topic_that_nobody_handles_is_logged(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    alone = Node(wire, "w@h", 1)
    alone.gossip.election("one", "cooking", 7)
    wire.deliver()
    assert "'cooking'" in caplog.text


def test_the_winner_of_the_topic_task_sends_it(wire: Wire) -> None:
    alone = Node(wire, "w@h", 1)
    app = alone.gossip.app
    sent: list[str] = []
    app.hooks.connect("after_task_publish")(lambda name: sent.append(name))
    alone.gossip.election("one", "task", {"task": "proj.add", "args": [1, 2], "kwargs": {}, "options": {}})
    wire.deliver()
    assert sent == ["proj.add"]


def test_who_does_not_vote_is_not_waited_for_for_ever() -> None:
    now, told = [0.0], list[tuple[str, str]]()
    elections = Elections(lambda: ["a.1", "b.2"], lambda of, won: told.append((of, won.name)), lambda: now[0])
    elections.stands("one", Candidate(5, "b.2"))
    now[0] = DECIDE_AFTER_S - 0.1
    elections.look()
    assert told == []
    now[0] = DECIDE_AFTER_S
    elections.look()
    assert told == [("one", "b.2")]
    elections.stands("one", Candidate(1, "a.1"))
    elections.look()
    assert told == [("one", "b.2")]
    assert len(elections) == 0


def test_ties_go_by_name_and_what_is_over_is_not_kept_without_end() -> None:
    told: list[str] = []
    elections = Elections(lambda: ["a.1", "b.2"], lambda of, won: told.append(won.name))
    for number in range(REMEMBERED + 10):
        elections.stands(str(number), Candidate(5, "b.2"))
        elections.stands(str(number), Candidate(5, "a.1"))
    assert set(told) == {"a.1"}
    assert len(elections._over) == REMEMBERED


def test_keeps_the_contract() -> None:
    class Dispatcher:
        def send(self, *args: Any, **fields: Any) -> None: ...

    class Hub(FakeHub):
        def call_repeatedly(self, delay: float, callback: Any, *args: Any) -> Any:
            return FakeTimer().call_repeatedly(delay, callback, args)

    services: dict[ServiceKey[Any], Any] = {EVENT_DISPATCHER: Dispatcher(), HUB: Hub(), TIMER: FakeTimer()}
    check_step(GossipStep, services, app=App, broker="memory://")


def test_it_can_be_left_out() -> None:
    services: dict[ServiceKey[Any], Any] = {EVENT_DISPATCHER: object(), HUB: FakeHub(), TIMER: FakeTimer()}
    blueprint = make_blueprint([GossipStep], services, App("proj", worker_without_gossip=True))
    blueprint.apply()
    assert "Gossip" not in blueprint.order


def test_an_idle_worker_is_woken_for_no_election() -> None:
    class Looked:
        waits, looks = False, 0

        def look(self) -> None:
            self.looks += 1

    gossip, timer = Looked(), FakeTimer()
    watch = Watch(gossip, timer)  # type: ignore[arg-type]
    watch.begin()
    watch.after_event()
    timer.advance(LOOK_EVERY_S + 0.1)
    assert (gossip.looks, timer.pending) == (1, 1)
    gossip.waits = True
    watch.after_event()
    watch.after_event()
    timer.advance(ELECTION_LOOK_S)
    assert (gossip.looks, timer.pending) == (2, 2), "and once more, since it still waits"
    gossip.waits = False
    timer.advance(ELECTION_LOOK_S)
    assert (gossip.looks, timer.pending) == (3, 1)
    watch.end()
    assert timer.pending == 0
