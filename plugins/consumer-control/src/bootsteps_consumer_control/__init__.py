"""Remote control of a worker: takes commands from the broker and answers them."""

from bootsteps_consumer_control.switchboard import Switchboard

__all__ = ["Switchboard"]
