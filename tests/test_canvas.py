"""Workflows at size, at random, and with faults: right results, and nothing left behind."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pairs
from bootsteps import KernelError
from bootsteps_tasks import App, chain, chord, group
from workers import WorkerProcess, running_worker, until

#: The sizes of the issue are 1,000 retries, 10,000 parts, 500 links: `CANVAS_SCALE=1` runs those.
SCALE = float(os.environ.get("CANVAS_SCALE", "0.1"))

TASKS = """
    import os, random, signal
    from pathlib import Path
    from bootsteps_tasks import App, chain, chord, group
    app = App("proj")
    if os.environ.get("KERNEL_BROKER_URL", "").startswith("redis"):
        app.conf.override({"broker_transport_options": {"lease": 2.0}})  # what the dead held is soon back

    @app.task
    def add(x, y):
        return x + y

    @app.task(bind=True)
    def swapped(self, x):
        raise self.replace(add.s(x, 100))

    @app.task
    def same(x):
        return x

    @app.task
    def total(xs):
        return xs if isinstance(xs, int) else sum(total(x) for x in xs)

    @app.task
    def fail(*args):
        raise ValueError("bad")

    @app.task(autoretry_for=(OSError,), retry_backoff=0.01, retry_backoff_max=0.05, max_retries=None)
    def flaky(n):
        if app.tasks["proj.flaky"].request.retries < 2:
            raise OSError("not yet")
        return n

    @app.task
    def die_once(x, mark):
        if not Path(mark).exists():
            Path(mark).touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return x

    @app.task(acks_late=False)
    def die():
        os.kill(os.getpid(), signal.SIGKILL)

    @app.task
    def nap(seconds):
        import time
        time.sleep(seconds)

    @app.task
    def note(task_id, mark):
        with open(mark, "a") as file:
            file.write(task_id + "\\n")
"""


class Place:
    """A broker and a store of results, and what is in them."""

    def __init__(self, broker: str, backend: str) -> None:
        self.broker, self.backend = broker, backend

    def left(self) -> dict[str, int]:
        """Count what is there, by kind."""
        if self.backend.startswith("sqlite"):
            tables = ("celery_taskmeta", "celery_tasksetmeta", "bootsteps_chord", "bootsteps_chord_part")
            found = _rows(self.backend, tables)
            return {**found, **_rows(self.broker, ("message",))}
        import redis

        with redis.Redis.from_url(self.backend) as server:
            keys = [key.decode() for key in server.scan_iter()]
        # What remembers for five minutes that a chord is done is the protocol's own; who is alive is the transport's.
        known = ("_kombu", "_bootsteps.leases", "_bootsteps.sweep")
        kinds = [key.partition("-meta-")[0] for key in keys if not key.startswith(known) and key[-2:] != ".c"]
        return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def _rows(url: str, tables: Any) -> dict[str, int]:
    path = url.removeprefix("sqlite:///")
    if not Path(path).exists():
        return {}
    with sqlite3.connect(path) as con:
        names = {row[0] for row in con.execute("select name from sqlite_master where type = 'table'")}
        counts = {name: con.execute(f"select count(*) from {name}").fetchone()[0] for name in tables if name in names}
    return {name: count for name, count in counts.items() if count}


@pytest.fixture(params=["redis", "sqlite"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "sqlite":
        yield Place(f"sqlite:///{tmp_path}/broker.db", f"sqlite:///{tmp_path}/results.db")
        return
    redis = pytest.importorskip("redis")
    url = f"{request.getfixturevalue('redis_url').rpartition('/')[0]}/10"
    with redis.Redis.from_url(url) as server:
        server.flushdb()
    yield Place(url, url)


@pytest.fixture
def tasks(place: Place, tmp_path: Path) -> Iterator[Any]:
    """The tasks, as the client has them."""
    found: dict[str, Any] = {"__name__": "proj"}
    import textwrap

    exec(textwrap.dedent(TASKS), found)
    app: App = found["app"]
    app.conf["broker_url"], app.conf["result_backend"] = place.broker, place.backend
    yield type("Tasks", (), found)
    app.close()


def working(tmp_path: Path, place: Place, *words: str) -> Any:
    return running_worker(tmp_path, *(words or ("-c", "2")), app=TASKS, broker=place.broker, backend=place.backend)


def forgotten(result: Any) -> None:
    """Forget a result, those before it, and their children."""
    while result is not None:
        result.forget()
        result = result.parent


def test_large_workflows_are_right_and_leave_nothing(tmp_path, place, tasks):
    wide, long, many = int(10_000 * SCALE), int(500 * SCALE), int(1_000 * SCALE)
    with working(tmp_path, place) as worker:
        add, total = tasks.add, tasks.total
        results = [
            chord((add.s(i, 1) for i in range(wide)), total.s()).delay(),
            chain(add.s(0, 0), *[add.s(1) for _ in range(long - 1)]).delay(),
            group(tasks.flaky.s(i) for i in range(many)).delay(),
            chord([group(add.s(i, 1) | add.s(2), add.s(i, 3)) for i in range(10)], total.s()).delay(),
        ]
        limit = 60 + 120 * SCALE
        assert results[0].get(timeout=limit) == sum(range(wide)) + wide
        assert results[1].get(timeout=limit) == long - 1
        assert results[2].get(timeout=limit) == list(range(many))
        assert results[3].get(timeout=limit) == 2 * sum(range(10)) + 60
        # The intermediate results of chains inside the header are known to nobody: they expire.
        for result in results:
            forgotten(result)
        until(lambda: worker.log.count("Task proj") >= wide + long + 3 * many + 30 + 2, "the end of all")
        kept = place.left()
        assert sum(kept.values()) == 10, kept  # those ten
        assert worker.stop() == 0
    assert sum(place.left().values()) == 10


def test_canvases_at_random_give_what_they_give_eagerly(tmp_path, place, tasks):
    eager = App("proj", task_always_eager=True)
    for task in (tasks.add, tasks.same, tasks.total):
        eager.task(name=task.name)(task.run)
    with working(tmp_path, place):
        for seed in range(int(os.environ.get("CANVAS_SEEDS", "10"))):
            found = made_at_random(random.Random(seed), 3, tasks)
            expected = eager.signature(json.loads(json.dumps(found))).apply((1,)).get()
            assert found.delay(1).get(timeout=30) == expected, f"seed {seed}: {found!r}"


def made_at_random(rng: random.Random, depth: int, tasks: Any, last: bool = True) -> Any:
    """Return a signature that takes a number or a nest of numbers; only the last may give a nest."""
    add, total, same = tasks.add, tasks.total, tasks.same

    def make(last: bool = False) -> Any:
        return made_at_random(rng, depth - 1, tasks, last)

    kind = (
        rng.choice(["task", "chain", "chord", "grouped", "nested", *(["group", "shape"] * last)]) if depth else "task"
    )
    several = range(rng.randrange(1, 4))
    if kind == "task":
        return chain(total.s(), add.s(rng.randrange(10)))
    if kind == "chain":
        return chain(*[make() for _ in several])
    if kind == "chord":
        return chord([make() for _ in several], total.s() | make(last))
    if kind == "grouped":
        return make() | group(make() for _ in several) | total.s()
    if kind == "group":
        return make() | group([make(True) for _ in several] + [make()])
    if kind == "shape":
        return chord([make(True) for _ in several], same.s())
    return chord([make() | group(make(), make()), make()], chord([total.s(), total.s() | make()], total.s()))


def test_a_part_whose_child_dies_is_run_again_and_counts_once(tmp_path, place, tasks):
    with working(tmp_path, place):
        header = [tasks.die_once.s(number, str(tmp_path / f"mark{number}")) for number in range(4)]
        result = chord(header, tasks.same.s()).delay()
        assert result.get(timeout=30) == [0, 1, 2, 3]
        forgotten(result)
        until(lambda: not place.left(), "the last acknowledgement")


def test_a_worker_killed_in_the_middle_of_a_chord_loses_no_part(tmp_path, tasks, place):
    result = chord([tasks.nap.s(0.01) | tasks.add.si(number, 1) for number in range(100)], tasks.total.s()).delay()
    with working(tmp_path, place, "-c", "1") as worker:
        worker.until_logged("succeeded in", times=30)
        worker.signal(signal.SIGKILL)
        worker.wait()
    with working(tmp_path, place, "-c", "2"):
        assert result.get(timeout=60) == sum(range(100)) + 100


def test_a_failed_chord_leaves_nothing_either(tmp_path, place, tasks):
    mark = tmp_path / "errors"
    with working(tmp_path, place):
        result = (group(tasks.fail.s(), tasks.add.s(1, 1)) | tasks.same.s() | tasks.add.s(1)).delay()
        with pytest.raises(Exception, match="bad"):
            result.get(timeout=20)
        noted = chord([tasks.fail.s(), tasks.fail.s()], tasks.same.s().on_error(tasks.note.s(str(mark)))).delay()
        with pytest.raises(Exception, match="bad"):
            noted.get(timeout=20)
        until(mark.exists, "the errback")
        assert mark.read_text().split() == [noted.id]
        for found in (result, noted):
            forgotten(found)
        until(lambda: sum(place.left().values()) <= 1, f"nothing but the errback's result in {place.left()}")


@pytest.mark.parametrize("fate", ["killed at its limit", "expired", "lost"])
def test_a_part_that_no_child_could_end_fails_its_chord(tmp_path, place, tasks, fate):
    mark = tmp_path / "errors"
    part = {
        "killed at its limit": tasks.nap.s(30).set(time_limit=0.3),
        "expired": tasks.nap.s(0).set(expires=-1.0),
        "lost": tasks.die.s().set(),
    }[fate]
    part.link_error(tasks.note.s(str(mark)))
    header = [part | tasks.add.si(1, 1) | tasks.add.s(1), tasks.add.s(1, 1)]
    result = chord(header, tasks.same.s()).delay()
    with working(tmp_path, place, "-P", "prefork", "-c", "2"):
        failed, whole = result.parent.results
        assert whole.get(timeout=30) == 2
        with pytest.raises(Exception, match=r"expired|0\.3|exited"):
            failed.get(timeout=30)
        result.parent = None
        with pytest.raises(Exception, match=r"raised (TaskRevoked|TimeLimit|WorkerLost)"):
            result.get(timeout=30)
        if fate != "expired":
            until(mark.exists, "the errback")


def test_a_failure_in_a_chord_fails_the_chords_around_it(tmp_path, place, tasks):
    inner = chord([tasks.fail.s(), tasks.add.s(1, 1)], tasks.total.s())
    body = chord([tasks.same.s()], tasks.total.s())
    with working(tmp_path, place):
        outer = chord([inner | tasks.add.s(1), tasks.add.s(1, 1)], body).delay()
        outer.parent = None
        with pytest.raises(Exception, match=r"ChordError.*ValueError"):
            outer.get(timeout=20)


def test_answers_by_messages_follow_a_chain_and_a_replaced_task(tmp_path, place, tasks):
    pytest.importorskip("bootsteps_result_rpc")
    app = tasks.app
    app.conf["result_backend"] = "rpc://"
    with running_worker(tmp_path, "-c", "1", app=TASKS, broker=place.broker, backend="rpc://"):
        assert (tasks.add.s(1, 1) | tasks.swapped.s() | tasks.add.s(1)).delay().get(timeout=20) == 103
        failed = (tasks.fail.s() | tasks.add.s(1) | tasks.add.s(1)).delay()
        with pytest.raises(ValueError, match="bad"):
            failed.get(timeout=20, follow_parents=False)
        with pytest.raises(KernelError, match="a chord needs a result backend that keeps results"):
            chord([tasks.add.s(1, 1)], tasks.total.s()).delay()


def test_our_worker_and_celerys_count_the_parts_of_one_chord(tmp_path, redis_url):
    pytest.importorskip("celery", reason="pip install 'celery>=5.7,<5.8'")
    url = f"{redis_url.rpartition('/')[0]}/7"
    (tmp_path / "theirs").mkdir()
    queue = f"shared-{os.getpid()}-{time.monotonic_ns()}"
    facts = {"broker": url, "backend": url, "queue": queue, "notes": str(tmp_path / "notes")}
    slow = "\n\n@app.task\ndef slow(x):\n    import time\n    time.sleep(0.02)\n    return x\n"
    (tmp_path / "theirs" / "proj.py").write_text(pairs.THEIRS + pairs.TASKS.format(**facts) + slow)
    (tmp_path / "proj.py").write_text(pairs.OURS + pairs.TASKS.format(**facts) + slow)
    theirs, ours = pairs.CeleryProcess(tmp_path / "theirs", f"{queue}@%h"), WorkerProcess(tmp_path, "-c", "2")
    app = App("client", broker=url, backend=url, task_default_queue=queue)
    try:
        for worker in (theirs, ours):
            worker.until_logged(" ready.")
        slow_, total = app.signature("proj.slow"), app.signature("proj.total")
        # Each of them publishes the bodies of some.
        results = [chord([slow_.clone((i,)) for i in range(20)], total).delay() for _ in range(10)]
        assert [result.get(timeout=60) for result in results] == [sum(range(20))] * 10
        assert all(worker.log.count("proj.slow") > 10 for worker in (theirs, ours))
        chains = [(slow_.clone((i,)) | slow_ | chord([slow_, slow_], total) | slow_).delay() for i in range(20)]
        assert [result.get(timeout=60) for result in chains] == [2 * i for i in range(20)]
    finally:
        app.close()
        for worker in (theirs, ours):
            worker.stop()


def test_followers_that_are_none_hurt_nobody(tmp_path, place, tasks):
    """A message may say anything."""
    hostile: list[Any] = [5, [5], ["x", None], {"task": 5}, {"options": 5}, [{"task": "proj.add", "args": 5}]]
    app = tasks.app
    with working(tmp_path, place) as worker:
        for task in (tasks.add, tasks.fail):
            for number, value in enumerate(hostile):
                for place_ in ("link", "link_error", "chain"):
                    app.publish(task, (1, 1), {}, {place_: value})
                chord_ = {"chord": value, "group_id": f"g{number}"}
                app.publish(task, (1, 1), {}, {**chord_, "group_index": "first"})
                if place.backend.startswith("redis"):
                    app.backend.begin_chord(f"g{number}", 1)
                app.publish(task, (1, 1), {}, chord_)
        body = tasks.add.s(1, 2, 3)  # takes no list, and not so many
        failed = chord([tasks.add.s(1, 1)], body).delay()
        with pytest.raises(Exception, match="Callback error"):
            failed.get(timeout=30)
        assert tasks.add.delay(1, 1).get(timeout=30) == 2
        until(lambda: worker.log.count("] received") > 60, "all of them")
        assert tasks.add.delay(1, 1).get(timeout=30) == 2
        assert worker.stop() == 0
    assert "was lost" not in worker.log
