"""Tasks: define them, publish them, and read their results. Speaks Celery's protocol 2.

app = bootsteps_tasks.App("proj", broker="redis://localhost/0")

@app.task
def add(x: int, y: int) -> int:
    return x + y

add.delay(2, 2).get(timeout=10)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bootsteps_tasks.app import App
    from bootsteps_tasks.backend import Backend, ChordBackend
    from bootsteps_tasks.canvas import StampingVisitor, chain, chord, chunks, group, xmap, xstarmap
    from bootsteps_tasks.canvas.signature import Signature, signature
    from bootsteps_tasks.encoding import encode_task
    from bootsteps_tasks.groups import GroupResult, ResultSet, result_from_tuple
    from bootsteps_tasks.message import InvalidMessage, TaskHeaders, decode_body, parse_headers, parse_plain
    from bootsteps_tasks.places import mask_url
    from bootsteps_tasks.request import Context, current_request, executing, get_task_logger
    from bootsteps_tasks.result import AsyncResult, EagerResult, allow_join_result
    from bootsteps_tasks.shared import current_app, shared_task
    from bootsteps_tasks.task import Task
    from bootsteps_tasks.trace import Ending, Failure, Run, RunSettings

__all__ = [
    "App",
    "AsyncResult",
    "Backend",
    "ChordBackend",
    "Context",
    "EagerResult",
    "Ending",
    "Failure",
    "GroupResult",
    "InvalidMessage",
    "ResultSet",
    "Run",
    "RunSettings",
    "Signature",
    "StampingVisitor",
    "Task",
    "TaskHeaders",
    "allow_join_result",
    "chain",
    "chord",
    "chunks",
    "current_app",
    "current_request",
    "decode_body",
    "encode_task",
    "executing",
    "get_task_logger",
    "group",
    "mask_url",
    "parse_headers",
    "parse_plain",
    "result_from_tuple",
    "shared_task",
    "signature",
    "xmap",
    "xstarmap",
]

#: Where each name is. Imported when it is first asked for: `kernel worker --help` needs only the settings of steps, and
#: no application.
_PLACES = {
    "App": "bootsteps_tasks.app",
    "AsyncResult": "bootsteps_tasks.result",
    "Backend": "bootsteps_tasks.backend",
    "ChordBackend": "bootsteps_tasks.backend",
    "Context": "bootsteps_tasks.request",
    "EagerResult": "bootsteps_tasks.result",
    "Ending": "bootsteps_tasks.trace",
    "Failure": "bootsteps_tasks.trace",
    "GroupResult": "bootsteps_tasks.groups",
    "InvalidMessage": "bootsteps_tasks.message",
    "ResultSet": "bootsteps_tasks.groups",
    "Run": "bootsteps_tasks.trace",
    "RunSettings": "bootsteps_tasks.trace",
    "Signature": "bootsteps_tasks.canvas.signature",
    "StampingVisitor": "bootsteps_tasks.canvas",
    "Task": "bootsteps_tasks.task",
    "TaskHeaders": "bootsteps_tasks.message",
    "allow_join_result": "bootsteps_tasks.result",
    "chain": "bootsteps_tasks.canvas",
    "chord": "bootsteps_tasks.canvas",
    "chunks": "bootsteps_tasks.canvas",
    "current_app": "bootsteps_tasks.shared",
    "current_request": "bootsteps_tasks.request",
    "decode_body": "bootsteps_tasks.message",
    "encode_task": "bootsteps_tasks.encoding",
    "executing": "bootsteps_tasks.request",
    "get_task_logger": "bootsteps_tasks.request",
    "group": "bootsteps_tasks.canvas",
    "mask_url": "bootsteps_tasks.places",
    "parse_headers": "bootsteps_tasks.message",
    "parse_plain": "bootsteps_tasks.message",
    "result_from_tuple": "bootsteps_tasks.groups",
    "shared_task": "bootsteps_tasks.shared",
    "signature": "bootsteps_tasks.canvas.signature",
    "xmap": "bootsteps_tasks.canvas",
    "xstarmap": "bootsteps_tasks.canvas",
}


def __getattr__(name: str) -> Any:
    from importlib import import_module

    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(_PLACES[name]), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
