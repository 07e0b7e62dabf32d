"""Which queue a message goes to, and which queues a worker consumes from (wire reference 1.1 and 5)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from bootsteps.errors import UnknownName, did_you_mean

if TYPE_CHECKING:
    from bootsteps import Settings

__all__ = ["Route", "configured_queues", "pick_queues", "route"]


class Route(NamedTuple):
    """Where a message goes."""

    exchange: str
    routing_key: str
    #: The queue to declare before, None when the caller named the exchange.
    queue: Any = None


def configured_queues(conf: Settings) -> dict[str, Any]:
    """Return the kombu queues of the settings by name: `task_queues`, or the default queue."""
    given = conf["task_queues"] or [_default_queue(conf)]
    items = given.items() if isinstance(given, Mapping) else [(None, queue) for queue in given]
    found = [_as_queue(name, queue, conf) for name, queue in items]
    return {queue.name: queue for queue in found}


def _default_queue(conf: Settings) -> Any:
    from kombu import Queue

    name = conf["task_default_queue"]
    key = conf["task_default_routing_key"] or name
    return Queue(name, _default_exchange(conf), key, **_arguments(conf, conf["task_default_queue_type"]))


def _arguments(conf: Settings, type_: str) -> dict[str, Any]:
    """The options of a queue that the settings decide (RabbitMQ's arguments)."""
    highest = conf["task_queue_max_priority"]
    arguments = {"x-queue-type": "quorum"} if type_ == "quorum" else {}
    if highest is not None:
        arguments |= {"x-max-priority": highest}
    return {"queue_arguments": arguments} if arguments else {}


def _default_exchange(conf: Settings) -> Any:
    from kombu import Exchange

    name = conf["task_default_exchange"] or conf["task_default_queue"]
    return Exchange(name, type=conf["task_default_exchange_type"], delivery_mode=conf["task_default_delivery_mode"])


def _as_queue(name: str | None, given: Any, conf: Settings) -> Any:
    from kombu import Queue

    if isinstance(given, str):
        return _default_queue(conf) if given == conf["task_default_queue"] else missing_queue(given, conf)
    if isinstance(given, Mapping):
        options = {"routing_key": given.get("binding_key") or name, **given}
        given = Queue.from_dict(name, **options)
    if conf["task_queue_max_priority"] is not None and "x-max-priority" not in (given.queue_arguments or {}):
        given.queue_arguments = {**(given.queue_arguments or {}), "x-max-priority": conf["task_queue_max_priority"]}
    if given.exchange is None or given.exchange.name == "":
        # As Celery does, so that both declare the same binding.
        given.exchange = _default_exchange(conf)
        given.routing_key = given.routing_key or conf["task_default_routing_key"] or conf["task_default_queue"]
    return given


def missing_queue(name: str, conf: Settings) -> Any:
    """Return the queue that is made for a name which no setting knows."""
    from kombu import Exchange, Queue

    exchange = Exchange(name, type=conf["task_create_missing_queue_exchange_type"] or "direct")
    return Queue(name, exchange, routing_key=name, **_arguments(conf, conf["task_create_missing_queue_type"]))


def pick_queues(conf: Settings, only: Iterable[str]) -> list[Any]:
    """Return the named queues, each once; all configured ones without names. Raises `UnknownName`."""
    known = configured_queues(conf)
    names = list(dict.fromkeys(only))
    return [find_queue(conf, name, known) for name in names] if names else list(known.values())


def find_queue(conf: Settings, name: str, known: Mapping[str, Any]) -> Any:
    """Return the queue of that name. Raises `UnknownName` when it is not configured and must not be made."""
    if name in known:
        return known[name]
    if name == conf["task_default_queue"]:
        return _default_queue(conf)
    if conf["task_create_missing_queues"]:
        return missing_queue(name, conf)
    fix = did_you_mean(name, known) or "add it to task_queues, or set task_create_missing_queues"
    raise UnknownName(f"no queue is called {name!r}", (f"task_queues: {', '.join(sorted(known))}",), fix)


def route(conf: Settings, known: Mapping[str, Any], queue: Any, exchange: Any, routing_key: str | None) -> Route:
    """Return where a message with these options goes: straight to the queue where its exchange would do the same."""
    if queue is None and exchange is not None:
        return Route(_name(exchange), routing_key or conf["task_default_routing_key"] or conf["task_default_queue"])
    found = queue if hasattr(queue, "exchange") else find_queue(conf, queue or conf["task_default_queue"], known)
    if found.exchange.type == "direct" and not (exchange and routing_key):
        return Route("", found.name, found)
    where = _name(exchange) if exchange is not None else found.exchange.name
    return Route(where, routing_key or found.routing_key or conf["task_default_routing_key"] or "", found)


def _name(exchange: Any) -> str:
    return str(getattr(exchange, "name", exchange))
