"""Node names."""

from __future__ import annotations

import re

__all__ = ["expand_path", "node_name"]


def node_name(given: str | None, host: str) -> str:
    """Return the full node name: `celery@host` by default; a value without `@` is the host part, as in Celery.

    `%h` becomes the host, `%n` its first label, `%d` the rest, `%%` a percent sign.
    """
    label, _, domain = host.partition(".")
    values = {"h": host, "n": label, "d": domain, "%": "%"}
    text = re.sub(r"%(.)", lambda match: values.get(match[1], match[0]), given or "celery@%h")
    return text if "@" in text else f"celery@{text}"


def expand_path(path: str, node: str, place: int = 0) -> str:
    """Return the path of a worker's file: `%p` its node name, `%n` the part before the `@`, `%h` the host after it.

    `%d` is the host's domain, `%i` the place of a pool child (from 1; 0 in the worker's main process), `%I` the same
    with a dash before it, and nothing in the main process; `%%` a percent sign.
    """
    name, _, host = node.partition("@")
    number = str(place)
    values = {"p": node, "n": name, "h": host, "d": host.partition(".")[2], "i": number, "%": "%"}
    values["I"] = f"-{number}" if place else ""
    return re.sub(r"%(.)", lambda match: values.get(match[1], match[0]), path)
