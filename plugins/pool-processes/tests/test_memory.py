"""What a process keeps of memory that it does not need."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import ctypes, sys
from bootsteps_pool_processes.hygiene import keep_no_spare_memory

C = ctypes.CDLL(None)
C.malloc.restype = C.sbrk.restype = ctypes.c_void_p
C.free.argtypes = [ctypes.c_void_p]
burst = (ctypes.c_void_p * 3000)()
if "tell" in sys.argv:
    keep_no_spare_memory()
C.free(C.malloc(200_000))  # what is free at the end now is another's
before = C.sbrk(0)
for place in range(3000):
    burst[place] = C.malloc(2000)  # larger than what a thread keeps for itself
for place in reversed(range(3000)):
    C.free(burst[place])
print(C.sbrk(0) - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_what_a_burst_left_free_is_given_back_unless_an_operator_has_decided() -> None:
    def kept(*words: str, **settings: str) -> int:
        env = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")} | settings
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *words], env=env, capture_output=True, text=True, timeout=30
        )
        return int(done.stdout)

    assert kept("tell") < kept()
    assert kept("tell", MALLOC_TRIM_THRESHOLD_="4194304") > 1_000_000
