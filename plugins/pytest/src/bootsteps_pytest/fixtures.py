"""The fixtures, the marker and the environment of `celery.contrib.pytest`, for an application and a worker of ours."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bootsteps_pytest.worker import start_worker
from bootsteps_tasks import App
from bootsteps_worker.controller import WorkController

__all__ = [
    "celery_app",
    "celery_class_tasks",
    "celery_config",
    "celery_enable_logging",
    "celery_includes",
    "celery_parameters",
    "celery_session_app",
    "celery_session_worker",
    "celery_worker",
    "celery_worker_parameters",
    "celery_worker_pool",
    "pytest_configure",
]


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "celery(**settings): settings of the application `celery_app` for this test")


# What a test suite overrides.


@pytest.fixture(scope="session")
def celery_config() -> Mapping[str, Any]:
    """Settings of both applications."""
    return {}


@pytest.fixture(scope="session")
def celery_parameters() -> Mapping[str, Any]:
    """What else `App(...)` takes: `main`, `task_cls`."""
    return {}


@pytest.fixture(scope="session")
def celery_worker_parameters() -> Mapping[str, Any]:
    """What `start_worker` takes."""
    return {}


@pytest.fixture(scope="session")
def celery_worker_pool() -> str:
    """The pool of the workers."""
    return "solo"


@pytest.fixture(scope="session")
def celery_includes() -> Sequence[str]:
    """Modules with tasks that a worker imports."""
    return ()


@pytest.fixture(scope="session")
def celery_class_tasks() -> Sequence[Any]:
    """Tasks made of classes, to be registered."""
    return ()


@pytest.fixture(scope="session")
def celery_enable_logging() -> bool:
    """Whether workers log at INFO to where logging is set up, or to standard error."""
    return False


# What a test takes.


@pytest.fixture(scope="session")
def celery_session_app(
    tmp_path_factory: pytest.TempPathFactory,
    celery_config: Mapping[str, Any],
    celery_parameters: Mapping[str, Any],
    celery_includes: Sequence[str],
    celery_class_tasks: Sequence[Any],
) -> Iterator[App]:
    """An application for all tests, with a broker and results of its own."""
    folder = tmp_path_factory.mktemp("celery")
    with _application(folder, {**celery_config, **celery_parameters}, celery_includes, celery_class_tasks) as app:
        yield app


@pytest.fixture(scope="session")
def celery_session_worker(
    celery_session_app: App,
    celery_worker_pool: str,
    celery_worker_parameters: Mapping[str, Any],
    celery_enable_logging: bool,
) -> Iterator[WorkController]:
    """A worker for `celery_session_app`, while all tests run."""
    with _worker(celery_session_app, celery_worker_pool, celery_worker_parameters, celery_enable_logging) as worker:
        yield worker


@pytest.fixture
def celery_app(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    celery_config: Mapping[str, Any],
    celery_parameters: Mapping[str, Any],
    celery_includes: Sequence[str],
    celery_class_tasks: Sequence[Any],
) -> Iterator[App]:
    """An application for this test, with a broker and results of its own."""
    settings = {**celery_config, **celery_parameters}
    for marker in reversed(list(request.node.iter_markers("celery"))):  # the nearest one goes last
        settings.update(marker.kwargs)
    with _application(tmp_path / "celery", settings, celery_includes, celery_class_tasks) as app:
        yield app


@pytest.fixture
def celery_worker(
    celery_app: App,
    celery_worker_pool: str,
    celery_worker_parameters: Mapping[str, Any],
    celery_enable_logging: bool,
) -> Iterator[WorkController]:
    """A worker for `celery_app`, while this test runs."""
    with _worker(celery_app, celery_worker_pool, celery_worker_parameters, celery_enable_logging) as worker:
        yield worker


@contextmanager
def _application(
    folder: Path, settings: Mapping[str, Any], includes: Sequence[str], tasks: Sequence[Any]
) -> Iterator[App]:
    folder.mkdir(exist_ok=True)
    places = {
        "broker_url": os.environ.get("TEST_BROKER") or f"sqlite:///{folder}/broker.db",
        "result_backend": os.environ.get("TEST_BACKEND") or f"sqlite:///{folder}/results.db",
    }
    app = App(**{"main": "celery.tests", **places, "include": tuple(includes), **settings})
    for task in tasks:
        app.register_task(task)
    try:
        yield app
    finally:
        app.close()


@contextmanager
def _worker(app: App, pool: str, parameters: Mapping[str, Any], logs: bool) -> Iterator[WorkController]:
    if os.environ.get("NO_WORKER"):
        pytest.skip("NO_WORKER is set, and this test needs a worker")
    with start_worker(app, **{"pool": pool, "loglevel": "INFO" if logs else None, **parameters}) as worker:
        yield worker
