"""`app.control`: with Celery's names, arguments and answers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from bootsteps_control_client.inspector import Inspect
from bootsteps_tasks.control import keep_revoked
from bootsteps_tasks.process import PerProcess

if TYPE_CHECKING:
    from bootsteps_control_client.call import Answer, Call, Mailboxes
    from bootsteps_control_client.line import Line, Lines
    from bootsteps_tasks import App

__all__ = ["Control"]

#: Of the workers' settings `control_queue_ttl` and `control_queue_expires`, which a client may not know (seconds).
TTL_S, EXPIRES_S = 300.0, 10.0

Ids = str | Sequence[str]
Nodes = str | Sequence[str] | None


class Control:
    """Tells workers what to do, and asks them. Safe from any thread, and in forked processes.

    Every method takes the keywords of `broadcast`. Without `reply` it returns None as soon as the command is sent: a
    worker that is away never hears of it. Raises kombu's `OperationalError` when the broker cannot be reached.
    """

    def __init__(self, app: App) -> None:
        self.app = app
        self._lines: PerProcess[Lines] = PerProcess(self._make_lines)
        #: The nodes that answered last time.
        self._nodes: frozenset[str] = frozenset()

    def _make_lines(self) -> Lines:
        from bootsteps_control_client.line import Lines

        return Lines(self.app.connection)

    @functools.cached_property
    def _boxes(self) -> Mailboxes:
        from bootsteps_control_client.call import Mailboxes

        conf = self.app.conf
        expires, ttl = conf.get("control_queue_expires", EXPIRES_S), conf.get("control_queue_ttl", TTL_S)
        return Mailboxes(conf["control_exchange"], conf["task_serializer"], conf["accept_content"], expires, ttl)

    @property
    def inspect(self) -> Callable[..., Inspect]:
        """`app.control.inspect(destination, timeout, callback, connection, app, limit, pattern, matcher).active()`."""
        return functools.partial(Inspect, self)

    def broadcast(
        self,
        command: str,
        arguments: Mapping[str, Any] | None = None,
        destination: Nodes = None,
        connection: Any = None,
        reply: bool = False,
        timeout: float | None = 1.0,
        limit: int | None = None,
        callback: Callable[[Answer], object] | None = None,
        channel: Any = None,
        pattern: str | None = None,
        matcher: str | None = None,
        **further: Any,
    ) -> list[Answer] | None:
        """Send a command to all workers, those named by `destination`, or those whose names match.

        With `reply` return the answers, `{node: answer}` each. It waits until all that were reached have answered,
        `limit` of them have, or nobody did for `timeout` seconds; `callback` is called with each. `matcher` is `glob`
        or `pcre`. Further keywords are the command's, beside `arguments`. Raises TypeError for a wrong destination.
        """
        from bootsteps_control_client.call import Call

        call = Call(
            self._boxes, self.app.clock, command, {**(arguments or {}), **further}, _nodes(destination), pattern,
            matcher, timeout, limit, callback, self._nodes,
        )  # fmt: skip
        if command == "revoke" and call.destination is None and not (pattern and matcher):
            self._keep_for_later(call.arguments.get("task_id"))
        if connection is not None or channel is not None:
            return self._by_another(call, reply, connection, channel)
        return self._by_own(call, reply)

    def _keep_for_later(self, ids: Any) -> None:
        """Let revoked ids wait for the workers that are not up yet, however they came here."""
        wanted = [ids] if isinstance(ids, str) else ids
        if isinstance(wanted, list) and all(isinstance(each, str) for each in wanted):
            with self._alive(lambda line: keep_revoked(self.app, line.connection, wanted)):
                return

    def _by_own(self, call: Call, reply: bool) -> list[Answer] | None:
        def prepare(line: Line) -> Any:
            return call.open(line) if reply else line.declare(call.boxes.commands)

        with self._alive(prepare) as (line, queue):
            return self._asked(line, call, queue)

    @contextmanager
    def _alive(self, prepare: Callable[[Line], Any]) -> Iterator[tuple[Line, Any]]:
        """Lend a line and what `prepare` made of it: twice, if the line lay idle and has been cut since."""
        lines = self._lines.get()
        while True:
            line, is_new = lines.take()
            try:
                prepared = prepare(line)
                break
            except line.losses:
                line.close()
                if is_new:
                    raise
                lines.close()
        try:
            yield line, prepared
        except BaseException:
            line.close()  # who knows what is still on its way on it
            raise
        lines.give_back(line)

    def _by_another(self, call: Call, reply: bool, connection: Any, channel: Any) -> list[Answer] | None:
        from bootsteps_control_client.line import Line

        line = Line(connection if connection is not None else channel.connection.client, channel)
        try:
            if reply:
                return self._asked(line, call, call.open(line))
            line.declare(call.boxes.commands)
            return self._asked(line, call, None)
        finally:
            line.release()

    def _asked(self, line: Line, call: Call, queue: Any) -> list[Answer] | None:
        if queue is None:
            call.cast(line)
            return None
        answers = call.ask(line, queue)
        self._remember(call, {node for answer in answers for node in answer})
        return answers

    def _remember(self, call: Call, nodes: set[str]) -> None:
        chosen = bool(call.destination) or bool(call.pattern and call.matcher) or call.limit is not None
        self._nodes = frozenset(nodes | (self._nodes if chosen else set()))

    def close(self) -> None:
        """Close this process's connections; they are made anew when used."""
        lines = self._lines.drop()
        if lines is not None:
            lines.close()

    def ping(self, destination: Nodes = None, timeout: float | None = 1.0, **how: Any) -> list[Answer] | None:
        """Return `{node: {"ok": "pong"}}` of each worker that is up."""
        return self.broadcast("ping", destination=destination, timeout=timeout, **{"reply": True, **how})

    def revoke(
        self,
        task_id: Ids,
        destination: Nodes = None,
        terminate: bool = False,
        signal: str | int = "SIGTERM",
        **how: Any,
    ) -> list[Answer] | None:
        """Have tasks not run; with `terminate` end by a signal those that do.

        Workers that start within three hours get to know, too, unless `destination` names some.
        """
        arguments = {"task_id": _ids(task_id), "terminate": terminate, "signal": signal}
        return self.broadcast("revoke", arguments, destination, **how)

    def terminate(
        self, task_id: Ids, destination: Nodes = None, signal: str | int = "SIGTERM", **how: Any
    ) -> list[Answer] | None:
        """Revoke tasks, and end those that run by a signal."""
        return self.revoke(task_id, destination, True, signal, **how)

    def revoke_by_stamped_headers(
        self, headers: Mapping[str, Any], destination: Nodes = None, terminate: bool = False,
        signal: str | int = "SIGTERM", **how: Any,
    ) -> list[Answer] | None:  # fmt: skip
        """Have tasks not run that have one of these stamps with one of these values."""
        arguments = {"headers": dict(headers), "terminate": terminate, "signal": signal}
        return self.broadcast("revoke_by_stamped_headers", arguments, destination, **how)

    def rate_limit(
        self, task_name: str, rate_limit: str | float | None, destination: Nodes = None, **how: Any
    ) -> list[Answer] | None:
        """Let a task be started so often at most in each worker: `10/s`, `10/m`, `10/h`; 0 takes the limit away."""
        return self.broadcast("rate_limit", {"task_name": task_name, "rate_limit": rate_limit}, destination, **how)

    def time_limit(
        self,
        task_name: str,
        soft: float | None = None,
        hard: float | None = None,
        destination: Nodes = None,
        **how: Any,
    ) -> list[Answer] | None:
        """Set a task's time limits (seconds); what is left out is taken away."""
        return self.broadcast("time_limit", {"task_name": task_name, "hard": hard, "soft": soft}, destination, **how)

    def add_consumer(
        self, queue: str, exchange: str | None = None, exchange_type: str = "direct", routing_key: str | None = None,
        options: Mapping[str, Any] | None = None, destination: Nodes = None, **how: Any,
    ) -> list[Answer] | None:  # fmt: skip
        """Have workers consume from one queue more; `options` are kombu's of a queue."""
        where = {"queue": queue, "exchange": exchange, "exchange_type": exchange_type, "routing_key": routing_key}
        return self.broadcast("add_consumer", {**where, **(options or {})}, destination, **how)

    def cancel_consumer(self, queue: str, destination: Nodes = None, **how: Any) -> list[Answer] | None:
        """Have workers no longer consume from a queue."""
        return self.broadcast("cancel_consumer", {"queue": queue}, destination, **how)

    def autoscale(self, max: int, min: int, destination: Nodes = None, **how: Any) -> list[Answer] | None:
        """Change between how many and how many children workers scale."""
        return self.broadcast("autoscale", {"max": max, "min": min}, destination, **how)

    def pool_grow(self, n: int = 1, destination: Nodes = None, **how: Any) -> list[Answer] | None:
        """Give pools `n` children more."""
        return self.broadcast("pool_grow", {"n": n}, destination, **how)

    def pool_shrink(self, n: int = 1, destination: Nodes = None, **how: Any) -> list[Answer] | None:
        """Take `n` children from pools, when they are idle."""
        return self.broadcast("pool_shrink", {"n": n}, destination, **how)

    def pool_restart(
        self, modules: Iterable[str] | None = None, reload: bool = False, reloader: Any = None,
        destination: Nodes = None, **how: Any,
    ) -> list[Answer] | None:  # fmt: skip
        """Replace the children of pools; these modules are imported, with `reload` anew."""
        found = None if modules is None else list(modules)
        arguments = {"modules": found, "reload": reload, "reloader": reloader}
        return self.broadcast("pool_restart", arguments, destination, **how)

    def shutdown(self, destination: Nodes = None, **how: Any) -> list[Answer] | None:
        """Have workers shut down warmly. Celery's never answer this, ours do."""
        return self.broadcast("shutdown", {}, destination, **how)

    def enable_events(self, destination: Nodes = None, **how: Any) -> list[Answer] | None:
        """Have workers send events of tasks."""
        return self.broadcast("enable_events", {}, destination, **how)

    def disable_events(self, destination: Nodes = None, **how: Any) -> list[Answer] | None:
        """Have workers send no events of tasks."""
        return self.broadcast("disable_events", {}, destination, **how)

    def heartbeat(self, destination: Nodes = None, **how: Any) -> list[Answer] | None:
        """Have workers send an event `worker-heartbeat` now."""
        return self.broadcast("heartbeat", {}, destination, **how)

    def election(self, id: str, topic: str, action: Any = None, connection: Any = None) -> None:
        """Let the workers elect the one that does `action`."""
        self.broadcast("election", {"id": id, "topic": topic, "action": action}, connection=connection)

    def purge(self, connection: Any = None) -> int:
        """Delete all messages that wait in the application's queues; return how many. There is no way back."""
        with connection if connection is not None else self.app.connection() as own:
            channel = own.channel()
            return sum(int(queue(channel).purge() or 0) for queue in map(_declared(channel), self.app.queues()))

    discard_all = purge


def _declared(channel: Any) -> Callable[[Any], Any]:
    """A queue that nobody declared yet is empty, and no error."""

    def declare(queue: Any) -> Any:
        queue(channel).declare()
        return queue

    return declare


def _nodes(destination: Nodes) -> list[str] | None:
    """Return node names as a list. A worker would look for its name anywhere in a text."""
    if destination is None:
        return None
    found = [destination] if isinstance(destination, str) else destination
    if not isinstance(found, list | tuple | set | frozenset) or not all(isinstance(name, str) for name in found):
        raise TypeError(f"destination is a list of node names, not {destination!r}")
    return list(found)


def _ids(value: Any) -> Any:
    return list(value) if isinstance(value, set | tuple | frozenset) else value
