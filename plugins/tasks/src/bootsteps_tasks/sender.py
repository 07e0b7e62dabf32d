"""From a call with options to a message with a route."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from typing import TYPE_CHECKING, Any

from bootsteps.errors import SettingError
from bootsteps_tasks.backend import answers
from bootsteps_tasks.canvas.embedding import embed_options
from bootsteps_tasks.encoding import encode_task, new_id
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

#: Routes that are remembered: names of queues and routing keys may be made up for each message.
MOST_ROUTES = 1000


class Sender:
    """Makes messages by the settings as it found them; who keeps one looks at their `stamp`. Safe from any thread."""

    def __init__(self, app: App) -> None:
        conf = app.conf
        self._app = app
        self._queues = configured_queues(conf)
        self._zone = zone_of(conf)
        #: What a message is where neither the call nor the task says it.
        self._defaults = {
            "serializer": conf["task_serializer"],
            "compression": conf["task_compression"],
            "priority": conf["task_default_priority"],
            "delivery_mode": conf["task_default_delivery_mode"],
            "ignore_result": None,
        }
        self._depth = conf["task_repr_maxlevels"]
        self._routers = conf["task_routes"]
        self._inherits_priority = conf["task_inherit_parent_priority"]
        self._answered = answers(app)
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
        if options:
            stamps = options.get("stamped_headers")
            refuse_unknown(f"a call of {name!r}", options, CALL_OPTIONS.union(stamps) if stamps else CALL_OPTIONS)
        args, kwargs, options = tuple(args or ()), dict(kwargs or {}), dict(options)
        if known is not None:
            known.check_arguments(args, kwargs)
            options = {**known.call_options(), **options}
            if (shadow := options.get("shadow") or known.shadow_name(args, kwargs, options)) is not None:
                options["shadow"] = shadow
        if self._routers and options.get("queue") is None:
            options = self._routed(name, args, kwargs, options, known)
        return self._encode(name, args, kwargs, options)

    def _routed(self, name: str, args: Any, kwargs: Any, options: dict[str, Any], task: Any) -> dict[str, Any]:
        """Return the options with those that `task_routes` adds; what the call or the task says goes first."""
        given = route_of(self._routers, name, args, kwargs, options, task)
        given.pop("exchange_type", None)
        refuse_unknown(f"the route of {name!r} in task_routes", given, CALL_OPTIONS)
        return {**given, **{option: value for option, value in options.items() if value is not None}}

    def _encode(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any], options: dict[str, Any]) -> Sent:
        pop = options.pop
        where = self._route(pop("queue", None), pop("exchange", None), pop("routing_key", None))
        task_id = pop("task_id", None) or new_id()
        waits, child = self._patience(options), pop("add_to_parent", True)
        options = {**self._defaults, **{name: value for name, value in options.items() if value is not None}}
        if self._answered and not options["ignore_result"] and "reply_to" not in options:
            answering: Any = self._app.backend
            options["reply_to"] = str(answering.reply_to)
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
        if not isinstance(queue, str | None) or not isinstance(exchange, str | None):
            return route(self._app.conf, self._queues, queue, exchange, routing_key)  # theirs may change
        key = queue, exchange, routing_key
        found = self._routes.get(key)
        if found is None:
            if len(self._routes) >= MOST_ROUTES:
                self._routes.clear()
            found = self._routes[key] = route(self._app.conf, self._queues, *key)
        return found

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
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError  # with what it asks sysconfig, 0.3 MiB: few name a zone

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError) as exc:
        what = f"setting 'timezone' names no time zone: {name!r}"
        raise SettingError(what, (f"from {conf.source('timezone')}",), "a name like Europe/Berlin or UTC") from exc
