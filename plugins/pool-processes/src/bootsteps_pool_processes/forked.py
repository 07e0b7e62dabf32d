# mypy: disable-error-code="misc, no-untyped-call"
# billiard has no types.
"""A child that is forked from the worker."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from billiard.context import ForkProcess

from bootsteps_pool_processes.child import Birth, live
from bootsteps_pool_processes.hygiene import be_a_child
from bootsteps_pool_processes.nature import Equipment

__all__ = ["ForkedChild"]


class ForkedChild(ForkProcess):
    """Drops what is its parent's, and lives; `foreign` descriptors are not its own."""

    def __init__(self, birth: Birth, equipment: Equipment, foreign: Iterable[int]) -> None:
        name = birth.nature.name(birth.index)
        super().__init__(target=live, args=(birth, equipment), name=name, daemon=True)
        self._birth, self._foreign = birth, foreign

    def _bootstrap(self) -> Any:
        # Not in `run`: before that the hooks run which libraries have registered for the time after a fork. kombu's
        # close the connections of its pools, and so speak on the parent's, and wait for answers that the parent gets.
        be_a_child(self._birth.parent, self._foreign, self._birth.mask)
        return super()._bootstrap()
