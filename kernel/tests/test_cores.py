"""As many cores as the affinity mask and the control groups leave."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bootsteps.cores import usable_cores


def groups(tmp_path: Path, own: str, files: dict[str, str]) -> int:
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return usable_cores(tmp_path, tmp_path / "own")


def test_cores_heed_the_quota_of_every_group_around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    assert groups(tmp_path, "0::/a/b\n", {}) == 16
    assert groups(tmp_path, "0::/a/b\n", {"a/b/cpu.max": "max 100000\n", "a/cpu.max": "250000 100000\n"}) == 3
    assert groups(tmp_path, "0::/a/b\n", {"cpu.max": "10000 100000\n"}) == 1
    old = {"cpu/x/cpu.cfs_quota_us": "400000", "cpu/x/cpu.cfs_period_us": "100000", "cpu/cpu.cfs_quota_us": "-1"}
    assert groups(tmp_path, "4:cpu,cpuacct:/x\n3:memory:/y\n", old) == 4
