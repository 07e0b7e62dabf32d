"""Gossip between workers: who is there, and who shall do what only one may do."""

from bootsteps_consumer_gossip.keys import GOSSIP

__all__ = ["GOSSIP"]
