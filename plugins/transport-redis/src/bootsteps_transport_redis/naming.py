# mypy: disable-error-code="no-untyped-call,misc"
"""The part of the kombu channel that knows its options, and the names of kombu's keys."""

from __future__ import annotations

from bisect import bisect
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from kombu.transport import virtual
from kombu.transport.base import to_rabbitmq_queue_arguments

from bootsteps_transport_redis.addressing import database

if TYPE_CHECKING:
    from bootsteps_transport_redis.transport import Transport

__all__ = ["NamedKeys"]

#: Seconds until a socket that says nothing is given up, unless the options say otherwise.
SOCKET_TIMEOUT_S = 5.0
#: The bindings of a queue that expires are kept so many times longer than the queue, and so many milliseconds at least:
#: who consumes it may be busy with a long task, and must not lose them (kombu's numbers).
BINDINGS_LAST, BINDINGS_LAST_MS = 2, 60 * 60 * 1000


class NamedKeys(virtual.Channel):
    """kombu's names and defaults are a protocol: they are what Celery's clients and workers use.

    Options are those of kombu's channel. Some are taken and mean nothing here: what was not acknowledged is brought
    back by leases, and redis-py's pools and health checks are not used.
    """

    keyprefix_queue = "_kombu.binding.%s"
    keyprefix_binding_deadlines = "_kombu.binding_deadlines"
    keyprefix_binding_permanent = "_kombu.binding_permanent.%s"
    keyprefix_fanout = "/{db}."
    sep = "\x06\x16"
    unacked_key = "unacked"
    unacked_index_key = "unacked_index"
    unacked_mutex_key = "unacked_mutex"
    unacked_mutex_expire = 300
    unacked_restore_limit: Any = None
    unacked_restore_interval = 10
    unacked_restore_throttle = 10
    visibility_timeout: Any = 3600
    priority_steps: Any = (0, 3, 6, 9)
    ack_emulation = True
    fanout_prefix: Any = True
    fanout_patterns = True
    global_keyprefix = ""
    queue_order_strategy: Any = "round_robin"
    socket_timeout: Any = SOCKET_TIMEOUT_S
    socket_connect_timeout: Any = SOCKET_TIMEOUT_S
    socket_keepalive: Any = None
    socket_keepalive_options: Any = None
    max_connections = 10
    health_check_interval = 25
    retry_on_timeout: Any = None
    client_name: Any = None

    from_transport_options: Any = (
        *virtual.Channel.from_transport_options,
        *("sep", "ack_emulation", "unacked_key", "unacked_index_key", "unacked_mutex_key", "unacked_mutex_expire"),
        *("visibility_timeout", "unacked_restore_limit", "unacked_restore_interval", "unacked_restore_throttle"),
        *("fanout_prefix", "fanout_patterns", "global_keyprefix", "socket_timeout", "socket_connect_timeout"),
        *("socket_keepalive", "socket_keepalive_options", "queue_order_strategy", "max_connections"),
        *("health_check_interval", "retry_on_timeout", "priority_steps", "client_name"),
    )

    def __init__(self, connection: Transport, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)
        self._expires: dict[str, int] = {}
        self._fanout_queues: dict[str, tuple[str, str]] = {}
        self.auto_delete_queues: set[str] = set()
        if not self.fanout_prefix:
            self.keyprefix_fanout = ""
        elif isinstance(self.fanout_prefix, str):
            self.keyprefix_fanout = self.fanout_prefix
        self.keyprefix_fanout = self.keyprefix_fanout.format(db=database(connection.client.virtual_host))

    def _new_queue(self, queue: str, auto_delete: bool = False, **options: Any) -> None:
        """Note what a declaration asks for; there is nothing to make in Redis."""
        if auto_delete:
            self.auto_delete_queues.add(queue)
        self._expires.pop(queue, None)
        with suppress(KeyError, TypeError, ValueError):  # none is named, or none that is a number
            self._expires[queue] = int(options["arguments"]["x-expires"])

    def prepare_queue_arguments(self, arguments: Any, **kwargs: Any) -> Any:
        """Return the arguments of a declaration with what kombu has words of its own for (`expires`)."""
        return to_rabbitmq_queue_arguments(arguments, **kwargs)

    def _q_for_pri(self, queue: str, priority: int) -> str:
        """Return the list of a queue for a priority: that of the step which is not above it."""
        step = self.priority_steps[bisect(self.priority_steps, priority) - 1]
        return f"{queue}{self.sep}{step}" if step else queue

    def _get_publish_topic(self, exchange: str, routing_key: str) -> str:
        """Return the channel of Pub/Sub for what goes to a fanout exchange."""
        key = f"/{routing_key}" if routing_key and self.fanout_patterns else ""
        return f"{self.keyprefix_fanout}{exchange}{key}"

    def _binding_ttl(self, queue: str) -> int:
        """Return for how many milliseconds the bindings of a queue that expires are kept."""
        return max(self._expires[queue] * BINDINGS_LAST, BINDINGS_LAST_MS)
