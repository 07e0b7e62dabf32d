"""The consumer: a blueprint inside the worker that lives with its connection to the broker."""

from bootsteps_consumer.keys import AGENT, CONNECTION, CONSUMER
from bootsteps_consumer.registrar import Registrar
from bootsteps_consumer.side import SideConnection

__all__ = ["AGENT", "CONNECTION", "CONSUMER", "Registrar", "SideConnection"]
