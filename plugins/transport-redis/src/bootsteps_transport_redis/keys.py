"""The names of the keys: kombu's, and ours, which all begin with `_bootsteps.`."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Keys"]


@dataclass(frozen=True, slots=True)
class Keys:
    """Complete names, with the global prefix."""

    prefix: str
    #: Hash, kombu's: tag to JSON [message, exchange, routing key].
    unacked: str
    #: Sorted set, kombu's: tag by the time it was taken, or renewed.
    index: str

    @property
    def leases(self) -> str:
        """Sorted set: holder by the time its lease ends."""
        return f"{self.prefix}_bootsteps.leases"

    @property
    def turn(self) -> str:
        """String that expires: somebody sweeps."""
        return f"{self.prefix}_bootsteps.sweep"

    @property
    def helds(self) -> str:
        """The beginning of the names of all `held`."""
        return f"{self.prefix}_bootsteps.held."

    @property
    def expiring(self) -> str:
        """Sorted set: queues with `x-expires` by the time until which they are kept."""
        return f"{self.prefix}_bootsteps.expiring"

    def held(self, holder: str) -> str:
        """Set: the tags of what a holder has."""
        return self.helds + holder

    def count(self, message_id: str) -> str:
        """String that expires: deliveries of a message that were not acknowledged."""
        return f"{self.prefix}_bootsteps.count.{message_id}"
