"""A holder's right to what it took, as long as it lives."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from threading import Event, Thread
from time import monotonic
from uuid import uuid4

from bootsteps_redis_wire.errors import ConnectionLost, RedisError
from bootsteps_transport_redis.keys import Keys
from bootsteps_transport_redis.link import Link
from bootsteps_transport_redis.scripts import RENEW

__all__ = ["Keeper", "Lease", "LeaseLost"]


class LeaseLost(ConnectionLost):
    """We were away for too long, and others have what we held: as bad as a lost connection, and cured like one."""

    def __init__(self) -> None:
        super().__init__("the lease on what this process holds is over, and others may have it now")


class Lease:
    """One for each connection. It begins with the first consumer, and must be renewed before `seconds` are over."""

    def __init__(self, link: Link, keys: Keys, seconds: float, visibility_s: float) -> None:
        self._link = link
        self._keys = keys
        self._refresh_s = max(min(visibility_s / 4, 60.0), 0.25)
        self._refreshed_at = 0.0
        self._pid = 0
        self._next = 1
        self.holder = ""
        #: How long it lasts from each renewal on.
        self.seconds = seconds

    @property
    def begun(self) -> bool:
        """This process has it; what a parent has is not the child's."""
        return bool(self.holder) and self._pid == os.getpid()

    @property
    def held(self) -> str:
        """The key of the set of what is held."""
        return self._keys.held(self.holder)

    def begin(self) -> None:
        """Have a lease."""
        if self.begun:
            return
        self.holder, self._pid = uuid4().hex[:16], os.getpid()
        self._renew(begin=True, refresh=False)
        self._refreshed_at = monotonic()

    def numbers(self, n: int) -> int:
        """Return the first of `n` numbers for deliveries."""
        first = self._next
        self._next += n
        return first

    def renew(self, link: Link | None = None) -> None:
        """Hold on to everything. Raises `LeaseLost`. `link`: of another thread."""
        if not self.begun:
            return
        refresh = monotonic() - self._refreshed_at >= self._refresh_s
        self._renew(begin=False, refresh=refresh, link=link)
        if refresh:
            self._refreshed_at = monotonic()

    @property
    def beat_s(self) -> float:
        """Seconds in which `renew` should be called again."""
        return max(min(self.seconds / 3, self._refresh_s, 5.0), 0.1)

    def end(self) -> None:
        """Hold nothing any more; what is left goes to others with the next sweep."""
        if self.begun:
            self._link.call("ZADD", self._keys.leases, 0, self.holder)
            self.holder = ""

    def _renew(self, begin: bool, refresh: bool, link: Link | None = None) -> None:
        keys = [self._keys.leases, self.held, self._keys.index]
        arguments = [self.holder, self.seconds, int(begin), int(refresh)]
        if not (link or self._link).script(RENEW, keys, arguments):
            self.holder = ""
            raise LeaseLost


class Keeper:
    """Renews a lease beside a loop that runs tasks itself and does not turn meanwhile. What fails, the loop finds."""

    def __init__(self, link: Link, lease: Lease, healthy: Callable[[], bool], every_s: float) -> None:
        self._every_s = every_s
        self._link = link
        self._lease = lease
        self._healthy = healthy
        self._stopped = Event()
        self._thread = Thread(target=self._run, name="redis-lease", daemon=True)
        self._thread.start()

    def stop(self, wait_s: float) -> None:
        """Renew no more; wait so long for a renewal that is under way."""
        self._stopped.set()
        self._thread.join(wait_s)

    def _run(self) -> None:
        try:
            self._renew_until_stopped()
        finally:
            self._link.close()

    def _renew_until_stopped(self) -> None:
        while not self._stopped.wait(self._every_s):
            if self._healthy():
                with suppress(RedisError, OSError):
                    self._lease.renew(self._link)
