"""One install gives a complete worker."""

from __future__ import annotations

from bootsteps import Catalogue, compose, scan
from bootsteps_tasks import App


def test_the_set_boots_without_anything_else():
    parts = Catalogue([p for p in scan() if p.dist.startswith("bootsteps")])
    plan = compose(App("proj"), parts)
    assert {"Timer", "Hub", "Pool", "Consumer"} <= {candidate.name for candidate in plan.order}
    assert {"Connection", "Tasks", "event loop"} <= {candidate.name for candidate in plan.nested["Consumer"].order}


def test_prefork_is_the_default_pool():
    plan = compose(App("proj"), Catalogue(scan()))
    assert plan.by_name["Pool"].dist == "bootsteps-worker-pool-prefork"
