"""Node names."""

from __future__ import annotations

import re

__all__ = ["node_name"]


def node_name(given: str | None, host: str) -> str:
    """Return the full node name: `celery@host` by default; a value without `@` is the host part, as in Celery.

    `%h` becomes the host, `%n` its first label, `%d` the rest, `%%` a percent sign.
    """
    label, _, domain = host.partition(".")
    values = {"h": host, "n": label, "d": domain, "%": "%"}
    text = re.sub(r"%(.)", lambda match: values.get(match[1], match[0]), given or "celery@%h")
    return text if "@" in text else f"celery@{text}"
