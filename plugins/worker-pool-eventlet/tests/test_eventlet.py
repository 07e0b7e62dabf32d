"""The pool on real children."""

from __future__ import annotations

import sys
import time
from typing import Any

from bootsteps import HUB, POOL, RUNNER, TIMER, App, ServiceKey
from bootsteps.testing import check_step, make_blueprint
from bootsteps.testing_pool import Loop, PoolBench, TrialRunner, check_pool, pool_bench
from bootsteps_worker_pool_eventlet.step import EventletPool


def test_keeps_the_contract_of_a_step_and_of_a_pool() -> None:
    check_step(EventletPool, {RUNNER: TrialRunner}, worker_concurrency=2)
    check_pool(EventletPool, worker_concurrency=4)


def test_five_hundred_naps_in_one_child_take_little_longer_than_one_and_the_worker_is_not_patched() -> None:
    with pool_bench(EventletPool, worker_concurrency=500) as bench:
        bench.do("echo warm")
        began = time.monotonic()
        pids = {outcome.pid for outcome in bench.done(bench.submit(*["sleep 1"] * 500))}
        assert time.monotonic() - began < 2.0
        assert len(pids) == 1
        assert "eventlet" not in sys.modules


def test_it_tells_what_celerys_pool_of_this_name_tells() -> None:
    hub, told = Loop(), []
    app = App("proj", worker_concurrency=2)
    for hook in ("started", "apply", "preshutdown", "postshutdown"):
        app.hooks.connect(f"eventlet_pool_{hook}")(lambda hook=hook, **facts: told.append((hook, facts)))
    services: dict[ServiceKey[Any], Any] = {HUB: hub, TIMER: hub, RUNNER: TrialRunner}
    blueprint = make_blueprint([EventletPool], services, app)
    blueprint.apply()
    blueprint.start()
    bench = PoolBench(blueprint.parent.get(POOL), hub)
    bench.do("echo 1", "echo 2")
    blueprint.stop()
    hub.close()
    assert [hook for hook, _ in told] == ["started", "apply", "apply", "preshutdown", "postshutdown"]
    assert {facts["pool"] for _, facts in told} == {bench.pool}
    assert [facts["job"].payload for hook, facts in told if hook == "apply"] == [b"echo 1", b"echo 2"]
