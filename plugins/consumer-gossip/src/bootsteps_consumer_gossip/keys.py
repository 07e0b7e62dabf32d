"""The service of the step `Gossip`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bootsteps import ServiceKey

if TYPE_CHECKING:
    from bootsteps_consumer_gossip.gossip import Gossip

__all__ = ["GOSSIP"]

#: `consumer.gossip`: the other workers (`state.workers`), callbacks (`on.node_join`, ...), elections.
GOSSIP: ServiceKey[Gossip] = ServiceKey("gossip")
