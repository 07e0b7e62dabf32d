"""The samples of docs/tasks.md, run by a real worker."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from workers import running_worker, until

pytest.importorskip("bootsteps_worker")

PAGE = Path(__file__).resolve().parent.parent / "docs" / "tasks.md"
TASKS, *SAMPLES = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def test_the_samples_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broker, backend = f"sqlite:///{tmp_path}/broker.db", f"sqlite:///{tmp_path}/results.db"
    monkeypatch.setenv("KERNEL_BROKER_URL", broker)
    monkeypatch.setenv("KERNEL_RESULT_BACKEND", backend)
    found: dict[str, object] = {"__name__": "proj"}
    with running_worker(tmp_path, "-c", "2", app=TASKS, broker=broker, backend=backend) as worker:
        exec(TASKS, found)
        assert len(SAMPLES) == 6
        for sample in SAMPLES:
            exec(sample, found)
        for said in ("failed: ", "hook: proj.fail no luck"):
            until(lambda said=said: said in worker.log, said)  # type: ignore[misc]
    sys.modules.pop("proj", None)
