"""Remote control of a worker: takes commands from the broker and answers them."""

from typing import TYPE_CHECKING

from bootsteps.lazy import lazily

if TYPE_CHECKING:
    from bootsteps_consumer_control.switchboard import Switchboard

__all__ = ["Switchboard"]

__getattr__ = lazily(__name__, {"Switchboard": "switchboard"})
