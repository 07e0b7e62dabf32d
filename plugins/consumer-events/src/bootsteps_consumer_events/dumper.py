"""One line for each event, to read."""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime
from typing import Any

__all__ = ["Dumper"]

#: How many tasks are remembered by name.
MOST = 4096
#: What every event has and nobody wants to read in each line.
COMMON = frozenset({"type", "hostname", "timestamp", "utcoffset", "local_received", "pid", "clock", "uuid", "name"})


class Dumper:
    """Makes lines of events; remembers what tasks are called, since only their first event says so."""

    def __init__(self) -> None:
        self._names: OrderedDict[str, str] = OrderedDict()

    def line(self, event: dict[str, Any]) -> str:
        """Return one line: time, node, type, task, and every further field."""
        moment = event.get("timestamp")
        when = datetime.fromtimestamp(moment).isoformat(" ", "milliseconds") if moment is not None else "-"
        words = [when, str(event.get("hostname", "-")), event["type"]]
        if "uuid" in event:
            words.append(self._task(event))
        words += [f"{name}={_text(event[name])}" for name in event if name not in COMMON and event[name] is not None]
        return " ".join(words)

    def _task(self, event: dict[str, Any]) -> str:
        uuid = str(event["uuid"])
        if event.get("name"):
            self._names[uuid] = str(event["name"])
            while len(self._names) > MOST:
                self._names.popitem(last=False)
        return f"{self._names.get(uuid, 'task')}[{uuid}]"


def _text(value: Any) -> str:
    """Return it on one line."""
    return str(value).replace("\n", "\\n")
