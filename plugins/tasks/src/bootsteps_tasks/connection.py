# mypy: disable-error-code="misc, no-untyped-call"
# kombu has no types.
"""The connection to the broker."""

from __future__ import annotations

from typing import Any

import kombu

from bootsteps_tasks.places import load_scheme, scheme_of

__all__ = ["Connection"]


class Connection(kombu.Connection):
    """kombu's, which goes through all its addresses when the first does not answer, and closes without a trace."""

    def ensure_connection(self, errback: Any = None, max_retries: int | None = None, *args: Any, **words: Any) -> Any:
        """Connect, with an attempt for each of several addresses at least."""
        if max_retries is not None:
            max_retries = max(max_retries, len(self.alt))
        return super().ensure_connection(errback, max_retries, *args, **words)

    def switch(self, conn_str: str) -> None:
        """Go to another address; a plugin's transport goes before kombu's own there too."""
        super().switch(conn_str)
        self.transport_cls = load_scheme("kernel.transports", scheme_of(conn_str)) or self.transport_cls

    def collect(self, socket_timeout: float | None = None) -> None:
        """Close; without a word to the peer, which may be gone, where the transport can do that.

        `socket_timeout` has no effect. kombu makes it the default of all new sockets of this process meanwhile, those
        of other threads, too; and where two threads do so at one time, it remains so.
        """
        if hasattr(self._transport, "_collect"):
            super().collect()
        else:
            self.release()
