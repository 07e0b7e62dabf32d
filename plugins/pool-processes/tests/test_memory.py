"""What a process keeps of memory that it does not need."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from bootsteps_pool_processes.hygiene import keep_no_spare_memory

def heap():
    ends = next(line for line in open("/proc/self/maps") if "[heap]" in line).split()[0].split("-")
    return int(ends[1], 16) - int(ends[0], 16)

if "tell" in sys.argv:
    keep_no_spare_memory()
heap()
burst, before = [None] * 3000, heap()
for place in range(3000):
    burst[place] = bytes(700)  # of the C library, not of Python's own allocator
for place in reversed(range(3000)):
    burst[place] = None
print(heap() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_what_a_burst_left_free_is_given_back_unless_an_operator_has_decided() -> None:
    def kept(*words: str, **settings: str) -> int:
        env = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")} | settings
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *words], env=env, capture_output=True, text=True, timeout=30
        )
        return int(done.stdout)

    assert kept("tell") + 32768 < kept()
    assert kept("tell", MALLOC_TRIM_THRESHOLD_="4194304") > 1_000_000
