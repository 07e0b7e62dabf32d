"""The state database: what a worker remembers over a restart."""

from bootsteps_statedb.keys import STATEDB

__all__ = ["STATEDB"]
