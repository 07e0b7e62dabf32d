"""The settings in use, fit to be shown to anybody."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

from bootsteps import Settings

if TYPE_CHECKING:
    from bootsteps_tasks.app import App

__all__ = ["MASK", "banner_of", "settings_in_use", "shown"]

MASK = "********"
#: Names whose values are secrets: Celery's list, and ours.
SECRET = re.compile(r"API|TOKEN|KEY|SECRET|PASS|PROFANITIES_LIST|SIGNATURE|DATABASE|CREDENTIAL", re.IGNORECASE)
#: A name of this ending is no key to anything.
HARMLESS = re.compile(r"routing_key$|global_keyprefix$", re.IGNORECASE)


def settings_in_use(conf: Settings, with_defaults: bool = False) -> dict[str, Any]:
    """Return the settings that somebody set, or all, as JSON can hold them and without secrets."""
    names = [name for name in conf if with_defaults or conf.source(name) != "default"]
    return {name: shown(name, conf.given(name)) for name in names}


def shown(name: str, value: Any) -> Any:
    """Return a setting's value as JSON can hold it: masked if the name is a secret's, URLs without passwords."""
    if isinstance(value, Mapping):
        return {str(key): shown(str(key), each) for key, each in value.items()}
    if value is not None and SECRET.search(name) and not HARMLESS.search(name):
        return MASK
    return _plain(value)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return _masked(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, date):  # a datetime is one
        return value.isoformat()
    if isinstance(value, Mapping):
        return shown("", value)
    if isinstance(value, Iterable):
        return [_plain(each) for each in value]
    return repr(value)


def _masked(text: str) -> str:
    if "://" not in text:
        return text
    from bootsteps_tasks.places import mask_url

    return mask_url(text).replace(":**@", f":{MASK}@")


def banner_of(app: App) -> dict[str, list[str]]:
    """Return where an application's messages and results go, its queues, and its tasks but those of the protocol."""
    from bootsteps_tasks.places import default_url, installed, mask_url

    url, embedded = app.broker_url()
    results = app.conf["result_backend"]
    if not results and "sqlite" in installed("kernel.backends"):
        results = f"{default_url(app.main, 'results.db', 'result_backend')} (embedded)"
    chosen, without = app.conf.get("worker_queues", ()), app.conf.get("worker_exclude_queues", ())
    return {
        "app": [app.main or "default"],
        "transport": [mask_url(url) + (" (embedded)" if embedded else "")],
        "results": [mask_url(results) if results else "disabled"],
        "queues": [_queue(queue) for queue in app.queues(chosen) if queue.name not in without],
        "tasks": sorted(name for name in app.tasks if not name.startswith("celery.")),
    }


def _queue(queue: Any) -> str:
    exchange = queue.exchange
    return f"{queue.name}  exchange={exchange.name}({exchange.type}) key={queue.routing_key}"
