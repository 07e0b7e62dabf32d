"""Events: what happens to tasks and workers, told to monitors as Celery tells it.

state = app.events.State()
with app.connection() as connection:
    app.events.Receiver(connection, handlers={"*": state.event}).capture(limit=100)
"""

from bootsteps_consumer_events.dispatcher import Dispatcher
from bootsteps_consumer_events.events import Events
from bootsteps_consumer_events.keys import EVENT_DISPATCHER

__all__ = ["EVENT_DISPATCHER", "Dispatcher", "Events"]
