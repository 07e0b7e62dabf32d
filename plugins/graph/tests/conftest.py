"""Made-up distributions, and `kernel graph` on them and on nothing else that is installed."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from bootsteps import scan
from bootsteps.cli import Session
from bootsteps_graph.cli import graph

Install = Callable[..., None]
Graph = Callable[..., Result]

STEPS = """
from bootsteps import ServiceKey, Setting, Step, ConsumerStep
CHOICE = Setting("worker_pool", str, None, flags=("-P", "--pool"))
HUB, POOL, CONNECTION = ServiceKey("hub"), ServiceKey("pool", chosen_by=CHOICE), ServiceKey("connection")
class Hub(Step):
    provides = (HUB,)
    def create(self, parent): raise AssertionError("kernel graph creates nothing")
    def start(self, parent): raise AssertionError("kernel graph starts nothing")
class Solo(Step):
    name = "Pool"; provides = (POOL,); requires = (HUB,); choice = "solo"
class Threads(Step):
    name = "Pool"; provides = (POOL,); requires = (HUB,); choice = "threads"
class Watch(Step):
    wants = ("Pool", "Beat"); after = (HUB,); settings = (Setting("stuck_after", float, 5.0, unit="s", help="when"),)
class Consumer(Step):
    runs = "consumer"; last = True; requires = (HUB,)
class Connection(Step):
    provides = (CONNECTION,); first = True
class Tasks(Step):
    requires = (CONNECTION, POOL)
    provides = tuple(map(ServiceKey, ("strategies", "qos", "task_consumer", "eta")))
"""

POINTS = {
    "acme-hub": {"worker.steps": {"Hub": "acme:Hub"}},
    "acme-pools": {"worker.steps": {"SoloPool": "acme:Solo", "ThreadPool": "acme:Threads"}},
    "acme-watch": {"worker.steps": {"Watch": "acme:Watch"}},
    "acme-consumer": {
        "worker.steps": {"Consumer": "acme:Consumer"},
        "consumer.steps": {"Connection": "acme:Connection", "Tasks": "acme:Tasks"},
    },
}


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """The folder into which distributions are installed."""
    return tmp_path / "site"


@pytest.fixture
def install(site: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Return a function that installs a distribution: name, entry points by group, modules by name."""
    made: list[str] = []

    def make(name: str, points: Mapping[str, Mapping[str, str]], modules: Mapping[str, str] = {}) -> None:
        info = site / f"{name.replace('-', '_')}-1.5.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.5\n")
        groups = (f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in p.items()) for group, p in points.items())
        (info / "entry_points.txt").write_text("\n".join(groups))
        for module, text in modules.items():
            (site / f"{module}.py").write_text(text)
            made.append(module)
        importlib.invalidate_caches()

    monkeypatch.syspath_prepend(str(site))
    yield make
    for module in made:
        sys.modules.pop(module, None)


@pytest.fixture
def kernel_graph(site: Path, monkeypatch: pytest.MonkeyPatch) -> Graph:
    """Return a function that runs `kernel graph`; what this environment has installed besides does not take part."""
    monkeypatch.setattr("bootsteps.cli.session.scan_once", lambda: scan([str(site)]))

    def run(*args: str) -> Result:
        return CliRunner().invoke(graph, list(args), obj=Session())

    return run


@pytest.fixture
def acme(install: Install, kernel_graph: Graph) -> Graph:
    """`kernel graph` with a worker of seven steps from four distributions."""
    for name, points in POINTS.items():
        install(name, points, {"acme": STEPS} if name == "acme-hub" else {})
    return kernel_graph
