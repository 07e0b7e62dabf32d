# mypy: disable-error-code="no-untyped-call"
# kombu has no types.
"""The prefetch limit of the task channel."""

from __future__ import annotations

from collections.abc import Callable

from kombu.common import QoS

__all__ = ["Prefetch"]


class Prefetch(QoS):
    """kombu's QoS, whose `set` lasts: there the next update would bring the old value back."""

    def __init__(self, tell: Callable[..., object], limit: int) -> None:
        super().__init__(tell, limit)

    def set(self, pcount: int) -> int:
        self.value = pcount
        return int(super().set(pcount))
