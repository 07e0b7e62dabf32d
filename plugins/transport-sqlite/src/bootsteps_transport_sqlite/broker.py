"""The broker as one process sees it, without kombu: publish, reserve, settle, declare, reap."""

from __future__ import annotations

import os
import sqlite3
from collections import deque
from collections.abc import Iterable, Sequence
from time import monotonic, time

from bootsteps_transport_sqlite import declarations, messages
from bootsteps_transport_sqlite.catalogue import Catalogue
from bootsteps_transport_sqlite.messages import NewMessage, Row
from bootsteps_transport_sqlite.owner import Owner, Waker, is_dead, sweep
from bootsteps_transport_sqlite.store import Store
from bootsteps_transport_sqlite.topology import Route

__all__ = ["Broker"]

NEXT_DUE = "select min(visible_at) from message where visible_at is not null"
#: Is there something ready in a queue; when is the next delayed message due.
LOOK = f"""
select exists(select 1 from message where queue in ({{}}) and owner is null and visible_at is null),
({NEXT_DUE})
"""
#: Is there anything for `tidy` to write?
UNTIDY = f"""
select exists(select 1 from message where visible_at <= :now)
or exists(select 1 from message where expires_at <= :now and owner is null)
or exists({declarations.UNUSED}), ({NEXT_DUE})
"""


class Broker(Catalogue):
    """The file, and what this process holds of it."""

    def __init__(self, store: Store) -> None:
        super().__init__(store)
        #: `time()` at which the next delayed message is due, None if there is none.
        self.next_due: float | None = None
        #: `monotonic()` of the oldest acknowledgement that is not committed yet, 0 if there is none.
        self.settled_since = 0.0
        self._settled: deque[int] = deque()  # appended to by any thread
        self._owner: Owner | None = None
        self._waker = Waker()

    # -- publish

    def publish(self, batch: Sequence[NewMessage]) -> None:
        """Publish messages in one transaction: all or, when one is refused, none; then wake the consumers.

        KeyError names an exchange that is not declared.
        """
        wake: set[str] = set()
        with self.store as con:
            for message in batch:
                route = self._route(con, message)
                messages.insert(con, message, route.queues)
                wake.update(route.wake)
        if wake:
            self._waker.wake(tuple(wake))

    def _route(self, con: sqlite3.Connection, message: NewMessage) -> Route:
        route = self._fresh(con).route(message.exchange, message.routing_key)
        if not route.queues and not message.exchange and message.routing_key and message.persistent:
            # RabbitMQ would drop it. A persistent message to a queue that is not declared yet is a task that
            # was sent before the first worker came; a transient one is an answer that nobody awaits any more.
            declarations.insert_queue(con, message.routing_key)
            route = self._fresh(con).route(message.exchange, message.routing_key)
        return route

    # -- hold and settle

    @property
    def owner(self) -> Owner:
        """The right to hold messages, taken when first needed and anew in a forked child."""
        owner = self._owner
        if owner is None or owner.pid != os.getpid():
            self._settled.clear()
            self.settled_since = 0.0
            owner = self._owner = self._take_part()
        return owner

    def _take_part(self) -> Owner:
        known = {token for (token,) in self.store.rows("select token from owner")}
        sweep(self.store.place, known)
        owner = Owner(self.store.place)
        with self.store as con:
            owner.id = declarations.add_owner(con, owner.token, os.fspath(owner.socket_path))
        self.reap()
        return owner

    def reserve(self, queues: Sequence[int], limit: int) -> list[Row]:
        """Commit what was settled and take up to `limit` messages, all in one transaction."""
        owner = self.owner
        if not self._settled and not self._look(queues):
            return []
        settled = self._take_settled()
        try:
            with self.store as con:
                messages.delete(con, owner.id, settled)
                messages.expire(con)
                rows = messages.reserve(con, owner.id, queues, limit)
                self.next_due = con.execute(NEXT_DUE).fetchone()[0]
        except BaseException:
            self.settle(settled)
            raise
        return rows

    def _look(self, queues: Sequence[int]) -> bool:
        ready, due = self.store.rows(LOOK.format(",".join(map(str, queues))))[0]
        self.next_due = due
        return bool(ready) or (due is not None and due <= time())

    def settle(self, ids: Iterable[int]) -> None:
        """Note messages as done. They are removed with the next `reserve` or `flush`. Any thread."""
        self._settled.extend(ids)
        if not self.settled_since and self._settled:
            self.settled_since = monotonic()

    def flush(self) -> None:
        """Commit what was settled."""
        settled = self._take_settled()
        if not settled or self._owner is None or self._owner.pid != os.getpid():
            return
        try:
            with self.store as con:
                messages.delete(con, self._owner.id, settled)
        except BaseException:
            self.settle(settled)
            raise

    def _take_settled(self) -> list[int]:
        self.settled_since = 0.0
        taken = []
        while self._settled:
            taken.append(self._settled.popleft())
        return taken

    def give_back(self, ids: Sequence[int], *, counted: bool) -> None:
        """Put messages back at their old place and wake the consumers. `counted`: a delivery that failed."""
        owner = self._owner
        if not ids or owner is None or owner.pid != os.getpid():
            return
        marks = ",".join("?" * len(ids))
        with self.store as con:
            queues = con.execute(f"select distinct queue from message where id in ({marks})", tuple(ids)).fetchall()
            messages.give_back(con, owner.id, ids, counted=counted)
            wake = self._listeners(con, [queue for (queue,) in queues])
        self._waker.wake(wake)

    # -- declare what needs an owner

    def declare_queue(self, name: str, *, exclusive: bool, auto_delete: bool, arguments: dict[str, int]) -> bool:
        """Create a queue where there is none. False: it is another live process's exclusive queue."""
        mine = self.owner.id if exclusive else None
        self._delete_unused()
        rows = self.store.rows(
            "select q.id, q.owner, o.token, q.expires_ms from queue q left join owner o on o.id = q.owner"
            " where q.name = ?",
            (name,),
        )
        if rows:
            _, holder, token, expires_ms = rows[0]
            if holder is not None and token is not None and is_dead(self.store.place.locks, token):
                self.reap()
            elif holder is not None and (self._owner is None or holder != self._owner.id):
                return False
            elif expires_ms is None:
                return True
        with self.store as con:
            if con.execute("update queue set used_at = ? where name = ?", (time(), name)).rowcount == 0:
                declarations.insert_queue(con, name, owner=mine, auto_delete=auto_delete, arguments=arguments)
        return True

    def _delete_unused(self) -> None:
        if self.store.rows(f"select exists({declarations.UNUSED})", {"now": time()})[0][0]:
            with self.store as con:
                declarations.delete_unused_queues(con)

    def add_consumer(self, tag: str, queue: int) -> None:
        """Have publishers to a queue wake this process."""
        owner = self.owner
        with self.store as con:
            declarations.add_consumer(con, owner.id, tag, queue)

    def remove_consumer(self, tag: str, queue: int) -> None:
        """Undo `add_consumer`."""
        if self._owner is not None and self._owner.pid == os.getpid():
            with self.store as con:
                declarations.remove_consumer(con, self._owner.id, tag, queue)

    # -- look after

    def is_lost(self) -> bool:
        """Say whether the file, or the lock that proves that we live, was removed or replaced."""
        return self.store.moved() or (self._owner is not None and self._owner.is_unknown())

    def reap(self) -> None:
        """Free what dead processes hold, drop what expired, show what is due. Cheap when there is nothing."""
        locks = self.store.place.locks
        owners = self.store.rows("select id, token from owner")
        dead = [(id_, token) for id_, token in owners if is_dead(locks, token)]
        untidy, self.next_due = self.store.rows(UNTIDY, {"now": time()})[0]
        if not dead and not untidy:
            return
        with self.store as con:
            freed = [queue for id_, _ in dead for queue in declarations.remove_owner(con, id_)]
            messages.expire(con)
            declarations.delete_unused_queues(con)
            self.next_due = con.execute(NEXT_DUE).fetchone()[0]
            wake = self._listeners(con, freed)
        self._waker.wake(wake)
        if dead:
            sweep(self.store.place, {token for _, token in owners} - {token for _, token in dead})

    def drop(self) -> None:
        """Close without waiting: for a connection that is collected, maybe amid another one's transaction."""
        self.store.busy_s = 0.1
        try:
            self.close()
        except sqlite3.Error:
            pass  # dead to the others as soon as the lock is dropped: they will free what it held
        finally:
            if self._owner is not None:
                self._owner.release()

    def close(self) -> None:
        """Give everything back and close the file. Safe to call twice, and in a forked child."""
        owner = self._owner
        if owner is not None and owner.pid == os.getpid():
            settled = self._take_settled()
            with self.store as con:
                messages.delete(con, owner.id, settled)
                wake = self._listeners(con, declarations.remove_owner(con, owner.id))
            self._waker.wake(wake)
            owner.release()
        self._owner = None
        self._waker.close()
        self.store.close()
