"""Tasks: define them, publish them, and read their results. Speaks Celery's protocol 2.

app = bootsteps_tasks.App("proj", broker="redis://localhost/0")

@app.task
def add(x: int, y: int) -> int:
    return x + y

add.delay(2, 2).get(timeout=10)
"""

from bootsteps_tasks.app import App
from bootsteps_tasks.backend import Backend
from bootsteps_tasks.message import InvalidMessage, TaskHeaders, decode_body, encode_task, parse_headers
from bootsteps_tasks.places import mask_url
from bootsteps_tasks.request import Context, current_request, executing
from bootsteps_tasks.result import AsyncResult
from bootsteps_tasks.task import Task

__all__ = [
    "App",
    "AsyncResult",
    "Backend",
    "Context",
    "InvalidMessage",
    "Task",
    "TaskHeaders",
    "current_request",
    "decode_body",
    "encode_task",
    "executing",
    "mask_url",
    "parse_headers",
]
