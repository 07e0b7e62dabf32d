"""`/metrics` over HTTP, by prometheus_client."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import ThreadingWSGIServer
from prometheus_client.registry import Collector

__all__ = ["serve"]


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """A scrape every few seconds is nothing to tell."""


def serve(host: str, port: int, collector: Collector) -> tuple[int, Callable[[], None]]:
    """Answer in a thread; return the port, and how to stop. Raises OSError."""
    registry = CollectorRegistry()
    registry.register(collector)
    server: Any = make_server(host, port, make_wsgi_app(registry), ThreadingWSGIServer, _Quiet)
    thread: Any = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.fork_safe = True  # it waits in `select`: a pool may fork beside it
    thread.start()

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join(5)

    return int(server.server_port), stop
