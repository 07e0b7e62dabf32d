"""From a call with options to a message with a route."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from bootsteps.errors import SettingError
from bootsteps_tasks.backend import reply_queue
from bootsteps_tasks.canvas.embedding import embed_options
from bootsteps_tasks.message import encode_task
from bootsteps_tasks.options import CALL_OPTIONS, refuse_unknown
from bootsteps_tasks.publisher import PAUSES, Sent, pauses
from bootsteps_tasks.request import current_request
from bootsteps_tasks.routes import route_of
from bootsteps_tasks.routing import Route, configured_queues, route

if TYPE_CHECKING:
    from bootsteps import Settings
    from bootsteps_tasks.app import App
    from bootsteps_tasks.task import Task

__all__ = ["Sender", "note_child", "zone_of"]

log = logging.getLogger(__name__)

ROUTING = ("queue", "exchange", "routing_key")


class Sender:
    """Makes messages with one reading of the settings; short-lived, so that a changed setting counts."""

    def __init__(self, app: App) -> None:
        conf = app.conf
        self._app = app
        self._queues = configured_queues(conf)
        self._zone = zone_of(conf)
        self._serializer = conf["task_serializer"]
        self._compression = conf["task_compression"]
        self._priority = conf["task_default_priority"]
        self._delivery_mode = conf["task_default_delivery_mode"]
        self._depth = conf["task_repr_maxlevels"]
        self._routers = conf["task_routes"]
        self._inherits_priority = conf["task_inherit_parent_priority"]
        self._reply_to = reply_queue(app)
        self._event = conf["task_send_sent_event"]
        retries = conf["task_publish_retry"]
        self._pauses: Sequence[float] = pauses(conf["task_publish_retry_policy"]) if retries else ()
        self._routes: dict[Any, Route] = {}
        if conf["task_protocol"] != 2:
            raise SettingError("task_protocol is not 2: other versions are not written", fix="remove task_protocol")

    def make(
        self,
        task: str | Task[..., Any],
        args: Iterable[Any] | None,
        kwargs: Mapping[str, Any] | None,
        options: Mapping[str, Any],
    ) -> Sent:
        """Return the message and where it goes. Raises as `Task.apply_async`."""
        known = self._app.tasks.get(task) if isinstance(task, str) else task
        name = task if isinstance(task, str) else task.name
        stamps = options.get("stamped_headers")
        refuse_unknown(f"a call of {name!r}", options, CALL_OPTIONS.union(stamps) if stamps else CALL_OPTIONS)
        args, kwargs = tuple(args or ()), dict(kwargs or {})
        if known is not None:
            known.check_arguments(args, kwargs)
            options = {**known.call_options(), **options}
            if (shadow := options.get("shadow") or known.shadow_name(args, kwargs, options)) is not None:
                options["shadow"] = shadow
        return self._encode(name, args, kwargs, self._routed(name, args, kwargs, options, known))

    def _routed(self, name: str, args: Any, kwargs: Any, options: Mapping[str, Any], task: Any) -> dict[str, Any]:
        """Return the options with those that `task_routes` adds; what the call or the task says goes first."""
        found = dict(options)
        if not self._routers or found.get("queue") is not None:
            return found
        given = route_of(self._routers, name, args, kwargs, found, task)
        given.pop("exchange_type", None)
        refuse_unknown(f"the route of {name!r} in task_routes", given, CALL_OPTIONS)
        return {**given, **{option: value for option, value in found.items() if value is not None}}

    def _encode(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]) -> Sent:
        where = self._route(*(options.pop(option, None) for option in ROUTING))
        task_id = options.pop("task_id", None) or str(uuid4())
        waits, child = self._patience(options), options.pop("add_to_parent", True)
        defaults = {
            "serializer": self._serializer,
            "compression": self._compression,
            "priority": self._priority,
            "delivery_mode": self._delivery_mode,
        }
        options = {**defaults, **{name: value for name, value in options.items() if value is not None}}
        options.setdefault("ignore_result", None)
        if self._reply_to is not None and not options["ignore_result"]:
            options.setdefault("reply_to", self._reply_to)
        self._inherit(options)
        embed_options(options)
        message = encode_task(task_id, name, args, kwargs, zone=self._zone, depth=self._depth, **options)
        if message.properties.get("expiration") == "0":
            log.warning("%s[%s] is already over when it is sent: expires %s", name, task_id, message.headers["expires"])
        return Sent(message, where, waits, child, self._event)

    def _patience(self, options: dict[str, Any]) -> Sequence[float]:
        """Return the pauses between attempts to publish, as the call or the settings say."""
        again, policy = options.pop("retry", None), options.pop("retry_policy", None)
        if again is False:
            return ()
        if policy is not None:
            return pauses({**self._app.conf["task_publish_retry_policy"], **policy})
        return self._pauses or (PAUSES if again else ())

    def _route(self, queue: Any, exchange: Any, routing_key: str | None) -> Route:
        key = (getattr(queue, "name", queue), getattr(exchange, "name", exchange), routing_key)
        if key not in self._routes:
            self._routes[key] = route(self._app.conf, self._queues, queue, exchange, routing_key)
        return self._routes[key]

    def _inherit(self, options: dict[str, Any]) -> None:
        """Inside a task, the new one belongs to the same workflow."""
        request = current_request()
        if request is None or request.called_directly:
            return
        options.setdefault("root_id", request.root_id or request.id)
        options.setdefault("parent_id", request.id)
        if self._inherits_priority and options["priority"] is None:
            options["priority"] = request.delivery_info.get("priority") or request.properties.get("priority")


def note_child(task_id: str) -> None:
    """Inside a task, remember that it published another (not itself again, as a retry does)."""
    request = current_request()
    if request is not None and not request.called_directly and task_id != request.id:
        request.children.append([[task_id, None], None])


def zone_of(conf: Settings) -> tzinfo:
    """Return the zone of dates that we write: `timezone`, else UTC, else without `enable_utc` this machine's."""
    name = conf["timezone"]
    if not name:
        return UTC if conf["enable_utc"] else datetime.now().astimezone().tzinfo or UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as exc:
        what = f"setting 'timezone' names no time zone: {name!r}"
        raise SettingError(what, (f"from {conf.source('timezone')}",), "a name like Europe/Berlin or UTC") from exc
