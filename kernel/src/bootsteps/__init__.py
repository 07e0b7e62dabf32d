"""Compose a worker from steps that are found through entry points.

This page is the public interface; what is not listed here, or in `bootsteps.testing` and `bootsteps.cli`, is private.
"""

from bootsteps.app import App, find_app
from bootsteps.blueprint import Blueprint, State
from bootsteps.commands import Command, Commands, control_command, inspect_command
from bootsteps.deadline import deadline
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
)
from bootsteps.settings import Setting, Settings
from bootsteps.step import ConsumerStep, Demand, StartStopStep, Step
from bootsteps.view import CommandView, ConsumerView, Parent, View, WorkerView

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
