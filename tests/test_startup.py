"""What starting costs, beside Celery in the same run (benchmarks/startup.py has the table)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip("celery")
pytest.importorskip("bootsteps_standard")

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import startup

#: The best of so many, in turns: other programs on the machine only ever add.
ATTEMPTS = 8


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("words", "factor"), [(["--version"], 3.0), (["worker", "--help"], 1.8)], ids=["version", "help"]
)
def test_a_program_that_only_answers_takes_a_part_of_celerys_cpu(
    tmp_path: Path, words: list[str], factor: float
) -> None:
    """The bars are 3 and 3 on a quiet machine with installed packages; here is a margin for a busy one."""
    found = startup.in_turns(lambda system: startup.command_cpu_ms(system, words, tmp_path), ATTEMPTS, min)
    assert found["celery"] > factor * found["ours"], found


def test_help_imports_no_library_of_the_broker_and_no_application(tmp_path: Path) -> None:
    import subprocess

    code = "import sys\nfrom bootsteps.cli import main\ntry: main(['worker', '--help'])\nexcept SystemExit: pass\n"
    code += "print('imported', sorted(set(sys.modules) & {'networkx', 'kombu', 'billiard', 'asyncio', 'amqp', 'redis',"
    code += " 'bootsteps_tasks.app'}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True, timeout=60)
    assert done.stdout.splitlines()[-1:] == ["imported []"], done.stderr


def test_a_worker_at_rest_takes_next_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "ours_app.py").write_text(startup.APPS["ours"].format(url=f"sqlite:///{tmp_path}/b.db"))
    assert startup.idle_percent("ours", tmp_path, 30.0) < 2.0  # 0.3 is the bar; a tick is 10 ms
