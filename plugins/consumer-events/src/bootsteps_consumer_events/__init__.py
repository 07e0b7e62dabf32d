"""Events: what happens to tasks and workers, told to monitors as Celery tells it.

state = app.events.State()
with app.connection() as connection:
    app.events.Receiver(connection, handlers={"*": state.event}).capture(limit=100)
"""

from typing import TYPE_CHECKING

from bootsteps.lazy import lazily
from bootsteps_consumer_events.keys import EVENT_DISPATCHER

if TYPE_CHECKING:
    from bootsteps_consumer_events.dispatcher import Dispatcher
    from bootsteps_consumer_events.events import Events

__all__ = ["EVENT_DISPATCHER", "Dispatcher", "Events"]

__getattr__ = lazily(__name__, {"Dispatcher": "dispatcher", "Events": "events"})
