"""The settings of logging, apart from what they set: `kernel worker --help` shows them and logs nothing."""

from __future__ import annotations

from typing import Any

from bootsteps import Setting, Step

__all__ = [
    "COLOR", "DATEFMT", "FORMAT", "HIJACK", "JSON", "LOGFILE", "LOG_LEVEL", "REDIRECT", "REDIRECT_LEVEL",
    "TASK_DATEFMT", "TASK_FORMAT", "Logging",
]  # fmt: skip

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL", "FATAL")


def _level(value: str) -> str:
    if value.upper() not in LEVELS:
        raise ValueError(f"it is one of {', '.join(LEVELS)}")
    return value.upper()


LOG_LEVEL = Setting[str](
    "worker_log_level",
    _level,
    "WARNING",
    flags=("-l", "--loglevel"),
    help=f"log from this level up: {', '.join(LEVELS)}",
)
LOGFILE = Setting[str | None](
    "worker_logfile",
    str,
    None,
    flags=("-f", "--logfile"),
    help="log to this file; %p node, %n its name, %h its host, %d domain; %i a child's number, %I with a dash",
)
HIJACK = Setting[bool](
    "worker_hijack_root_logger",
    bool,
    False,
    flags=(),
    help="take away the handlers that the application gave the root logger; else they are kept, and log instead",
)
FORMAT = Setting[str](
    "worker_log_format", str, "[%(asctime)s: %(levelname)s/%(processName)s] %(message)s", flags=(), help="of a log line"
)
DATEFMT = Setting[str | None](
    "worker_log_datefmt",
    str,
    None,
    flags=(),
    help="of the time in a log line, as strftime's; default: with milliseconds",
)
TASK_FORMAT = Setting[str](
    "worker_task_log_format",
    str,
    "[%(asctime)s: %(levelname)s/%(processName)s] %(task_name)s[%(task_id)s]: %(message)s",
    flags=(),
    help="of a line that a running task logs (bootsteps_tasks.get_task_logger)",
)
TASK_DATEFMT = Setting[str | None](
    "worker_task_log_datefmt", str, None, flags=(), help="of the time in such a line; default: worker_log_datefmt"
)
COLOR = Setting[bool | None](
    "worker_log_color",
    bool,
    None,
    flags=("--color",),
    help="colour the log by level; default: on a terminal, unless NO_COLOR is set",
)
JSON = Setting[bool]("worker_log_json", bool, False, flags=("--log-json",), help="log a JSON object in each line")
REDIRECT = Setting[bool](
    "worker_redirect_stdouts", bool, True, flags=(), help="what a task prints to standard output and error is logged"
)


def _known_level(value: Any) -> str:
    import logging

    if str(value).upper() not in logging.getLevelNamesMapping():
        raise ValueError(f"it is one of {', '.join(logging.getLevelNamesMapping())}")
    return str(value).upper()


REDIRECT_LEVEL = Setting[str]("worker_redirect_stdouts_level", _known_level, "WARNING", flags=(), help="at this level")


class Logging(Step):
    """Declares how the worker logs; `kernel worker` sets it up before any step is made."""

    settings = (
        LOG_LEVEL, LOGFILE, HIJACK, FORMAT, DATEFMT, TASK_FORMAT, TASK_DATEFMT, COLOR, JSON, REDIRECT, REDIRECT_LEVEL,
    )  # fmt: skip
