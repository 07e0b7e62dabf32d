"""Compose a worker from steps that are found through entry points.

This page is the public interface; what is not listed here, or in `bootsteps.testing` and `bootsteps.cli`, is private.

Nothing is imported before it is asked for: a program that needs a part, as `kernel --version`, pays for that part.
"""

from __future__ import annotations

TYPE_CHECKING = False  # not typing's, whose import would be half of what `kernel --version` takes
if TYPE_CHECKING:
    from bootsteps.app import App, find_app
    from bootsteps.blueprint import Blueprint
    from bootsteps.commands import Command, Commands, control_command, inspect_command
    from bootsteps.deadlines import deadline
    from bootsteps.discovery import Catalogue, Plugin, scan
    from bootsteps.errors import (
        BootError,
        CommandError,
        DeadlineExceeded,
        KernelError,
        SettingError,
        UndeclaredAccess,
    )
    from bootsteps.hooks import Hooks, hookimpl
    from bootsteps.plan import Candidate, LeftOut, Plan
    from bootsteps.resolve import compose
    from bootsteps.services import (
        HUB,
        POOL,
        REQUESTS,
        RUNNER,
        TIMER,
        WORKER_CONCURRENCY,
        WORKER_MAX_MEMORY_PER_CHILD,
        WORKER_MAX_TASKS_PER_CHILD,
        WORKER_POOL,
        AsyncRunner,
        Hub,
        InterruptibleRunner,
        Job,
        Outcome,
        Pool,
        RequestLog,
        Runner,
        RunningJob,
        RunningRequest,
        ServiceKey,
        Timer,
        TimerEntry,
        WatchfulPool,
    )
    from bootsteps.settings import Setting, Settings
    from bootsteps.step import ConsumerStep, Demand, StartStopStep, Step
    from bootsteps.view import CommandView, ConsumerView, Parent, State, View, WorkerView

__version__ = "0.1.0"


__all__ = [
    "HUB",
    "POOL",
    "REQUESTS",
    "RUNNER",
    "TIMER",
    "WORKER_CONCURRENCY",
    "WORKER_MAX_MEMORY_PER_CHILD",
    "WORKER_MAX_TASKS_PER_CHILD",
    "WORKER_POOL",
    "App",
    "AsyncRunner",
    "Blueprint",
    "BootError",
    "Candidate",
    "Catalogue",
    "Command",
    "CommandError",
    "CommandView",
    "Commands",
    "ConsumerStep",
    "ConsumerView",
    "DeadlineExceeded",
    "Demand",
    "Hooks",
    "Hub",
    "InterruptibleRunner",
    "Job",
    "KernelError",
    "LeftOut",
    "Outcome",
    "Parent",
    "Plan",
    "Plugin",
    "Pool",
    "RequestLog",
    "Runner",
    "RunningJob",
    "RunningRequest",
    "ServiceKey",
    "Setting",
    "SettingError",
    "Settings",
    "StartStopStep",
    "State",
    "Step",
    "Timer",
    "TimerEntry",
    "UndeclaredAccess",
    "View",
    "WatchfulPool",
    "WorkerView",
    "__version__",
    "compose",
    "control_command",
    "deadline",
    "find_app",
    "hookimpl",
    "inspect_command",
    "scan",
]

#: Where each public name is at home, for the machine; what stands above is for type checkers.
_HOMES = {
    "app": "App find_app",
    "blueprint": "Blueprint",
    "commands": "Command Commands control_command inspect_command",
    "deadlines": "deadline",
    "discovery": "Catalogue Plugin scan",
    "errors": "BootError CommandError DeadlineExceeded KernelError SettingError UndeclaredAccess",
    "hooks": "Hooks hookimpl",
    "plan": "Candidate LeftOut Plan",
    "resolve": "compose",
    "services": (
        "HUB POOL REQUESTS RUNNER TIMER "
        "WORKER_CONCURRENCY WORKER_MAX_MEMORY_PER_CHILD WORKER_MAX_TASKS_PER_CHILD WORKER_POOL "
        "AsyncRunner Hub InterruptibleRunner Job Outcome Pool RequestLog Runner RunningJob RunningRequest ServiceKey "
        "Timer TimerEntry WatchfulPool"
    ),
    "settings": "Setting Settings",
    "step": "ConsumerStep Demand StartStopStep Step",
    "view": "CommandView ConsumerView Parent State View WorkerView",
}
_MODULES = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> object:
    """Import a public name when it is first asked for (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = globals()[name] = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
