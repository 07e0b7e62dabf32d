"""The consumer: a blueprint inside the worker that lives with its connection to the broker."""

from typing import TYPE_CHECKING

from bootsteps.lazy import lazily
from bootsteps_consumer.keys import AGENT, CONNECTION, CONSUMER

if TYPE_CHECKING:
    from bootsteps_consumer.registrar import Registrar
    from bootsteps_consumer.side import SideConnection

__all__ = ["AGENT", "CONNECTION", "CONSUMER", "Registrar", "SideConnection"]

__getattr__ = lazily(__name__, {"Registrar": "registrar", "SideConnection": "side"})
