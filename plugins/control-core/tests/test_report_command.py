"""`kernel report`, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path


def test_versions_parts_and_settings_are_told_and_no_password(tmp_path: Path) -> None:
    text = "from bootsteps_tasks import App\napp = App('proj', broker='redis://:geheim@h:1/0', task_acks_late=False)\n"
    (tmp_path / "proj.py").write_text(text)
    start = [sys.executable, "-m", "bootsteps", "-A", "proj", "report"]
    done = subprocess.run(start, cwd=tmp_path, env=dict(os.environ), text=True, capture_output=True, timeout=60)
    assert done.returncode == 0, done.stderr
    for told in ("software -> bootsteps:", "transport:redis", "task_acks_late: False", "  bootsteps-control-core "):
        assert told in done.stdout
    assert "geheim" not in done.stdout
    done = subprocess.run([*start, "--json"], cwd=tmp_path, text=True, capture_output=True, timeout=60)
    assert "bootsteps-control-core" in json.loads(done.stdout)["distributions"]
