"""Fixtures for the tests of all distributions: real servers, shared by one test session.

This file stands in the root, since plugins that speak to Redis or RabbitMQ need the fixtures too.
"""

import os
import socket
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from services import ServerMissing, postgresql_server, rabbitmq_server, redis_server


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-services",
        action="store_true",
        help="fail, instead of skip, the tests whose server (redis-server, RabbitMQ, PostgreSQL) is not installed",
    )


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Tell of a failure when it happens: a run may be ended before its summary, and what passes when it is run again
    (`--reruns`) is not to be forgotten."""
    outcome: str = report.outcome
    if outcome in ("failed", "rerun"):
        print(f"\n{outcome}: {report.nodeid} ({report.when}, {report.duration:.1f} s)", flush=True)
    if outcome == "rerun":
        print(*report.longreprtext.splitlines()[-40:], sep="\n", flush=True)


@pytest.fixture(autouse=True)
def _no_default_timeout(request: pytest.FixtureRequest) -> Iterator[None]:
    """Keep what a peer does in this process (kombu's Connection.collect, in two threads) from all later sockets."""
    yield
    left = socket.getdefaulttimeout()
    if left is not None:
        socket.setdefaulttimeout(None)
        warnings.warn(f"{request.node.nodeid} left a default timeout of {left} s for sockets", stacklevel=1)


@pytest.fixture(scope="session")
def redis_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a Redis for these tests: TEST_REDIS_URL, else a private server.

    One server serves the whole session: use names of your own, and no FLUSHALL.
    """
    yield from service(request, "TEST_REDIS_URL", redis_server, tmp_path_factory.mktemp("redis"))


@pytest.fixture(scope="session")
def amqp_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a RabbitMQ for these tests: TEST_AMQP_URL, else a private node (boots in 3-5 s).

    One node serves the whole session: use queue and exchange names of your own.
    """
    yield from service(request, "TEST_AMQP_URL", rabbitmq_server, tmp_path_factory.mktemp("rabbitmq"))


@pytest.fixture(scope="session")
def postgresql_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL for these tests: TEST_POSTGRESQL_URL, else a private server (as SQLAlchemy writes it).

    One server serves the whole session: use table names of your own.
    """
    yield from service(request, "TEST_POSTGRESQL_URL", postgresql_server, tmp_path_factory.mktemp("postgresql"))


def service(
    request: pytest.FixtureRequest,
    variable: str,
    server: Callable[[Path], AbstractContextManager[str]],
    folder: Path,
) -> Iterator[str]:
    if os.environ.get(variable):
        yield os.environ[variable]
        return
    try:
        running = server(folder)
        url = running.__enter__()
    except ServerMissing as exc:
        reason = f"{exc} (or set {variable})"
        if request.config.getoption("--require-services"):
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    try:
        yield url
    finally:
        running.__exit__(None, None, None)
