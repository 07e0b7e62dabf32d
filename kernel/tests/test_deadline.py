"""A deadline passes through code that takes every exception for a reason to try again."""

from __future__ import annotations

import time

import pytest

from bootsteps import KernelError, deadline


def stubborn(times: int) -> None:
    """Try again after any error, as client libraries do when they connect."""
    for _ in range(times):
        try:
            time.sleep(5)
        except Exception:
            continue
        return


def test_what_tries_again_after_an_error_is_interrupted_all_the_same() -> None:
    began = time.monotonic()
    with pytest.raises(KernelError, match="too long"), deadline(0.1, lambda: KernelError("it took too long", (), "")):
        stubborn(3)
    assert time.monotonic() - began < 2


def test_of_two_deadlines_the_one_that_is_over_is_told() -> None:
    with pytest.raises(KernelError, match="outer"), deadline(0.1, lambda: KernelError("the outer", (), "")):  # noqa: SIM117
        with deadline(5, lambda: KernelError("the inner", (), "")):
            stubborn(3)
    with deadline(5, lambda: KernelError("the outer", (), "")):
        with pytest.raises(KernelError, match="inner"), deadline(0.1, lambda: KernelError("the inner", (), "")):
            stubborn(3)
        time.sleep(0.01)
