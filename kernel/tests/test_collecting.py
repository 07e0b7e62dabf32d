"""Booting without the garbage collector."""

from __future__ import annotations

import gc
import subprocess
import sys

from bootsteps.collecting import without_collector


def test_nothing_is_collected_meanwhile_and_what_was_made_is_never_looked_at() -> None:
    code = """
import gc
from bootsteps.collecting import without_collector
before = gc.get_freeze_count()
with without_collector():
    assert not gc.isenabled()
    kept = [{} for _ in range(1000)]
print(gc.isenabled(), gc.get_freeze_count() > before)
"""
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "True True\n"


def test_who_collects_nothing_anyway_is_left_so() -> None:
    gc.disable()
    try:
        with without_collector():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()
