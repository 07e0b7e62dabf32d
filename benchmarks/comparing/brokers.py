"""Private brokers for one run, and how to empty them between two cells."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from services import ServerFailed, ServerMissing, rabbitmq_server, redis_server

__all__ = ["BROKERS", "Brokers", "running"]

BROKERS = ("redis", "amqp", "sqlite")


class Brokers:
    """The URLs of what could be started; `missing` says why the rest could not."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.urls: dict[str, str] = {"sqlite": ""}
        self.missing: dict[str, str] = {}

    def place(self, broker: str, folder: Path) -> tuple[str, str]:
        """Return the URLs of the broker and the result backend of a cell that has `folder` for itself."""
        if broker == "sqlite":
            return f"sqlite:///{folder}/broker.db", f"sqlite:///{folder}/results.db"
        return self.urls[broker], self.urls.get("redis", "")

    def clear(self, broker: str, queues: Sequence[str], folder: Path) -> None:
        """Leave nothing of a cell behind."""
        if url := self.urls.get("redis"):
            from redis import Redis

            Redis.from_url(url).flushall()
        if broker == "amqp":
            _delete_queues(self.urls["amqp"], queues)
        shutil.rmtree(folder, ignore_errors=True)


def _delete_queues(url: str, queues: Sequence[str]) -> None:
    from kombu import Connection

    with Connection(url) as connection:
        for queue in queues:
            connection.default_channel.queue_delete(queue)


@contextmanager
def running(wanted: Sequence[str], folder: Path) -> Iterator[Brokers]:
    """Start the servers that are wanted; Redis also for the results of cells on RabbitMQ."""
    brokers = Brokers(folder)
    servers = {"redis": redis_server, "amqp": rabbitmq_server}
    with ExitStack() as stack:
        for name, server in servers.items():
            if name not in wanted and not (name == "redis" and "amqp" in wanted):
                continue
            place = folder / f"server-{name}"
            place.mkdir()
            try:
                brokers.urls[name] = stack.enter_context(server(place))
            except (ServerMissing, ServerFailed) as exc:
                brokers.missing[name] = str(exc)
        yield brokers
