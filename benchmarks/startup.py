"""What starting costs: CPU of `--version` and of `worker --help`, seconds until a worker is ready, CPU of one at rest.

Ours beside Celery's, in turns: best of --attempts for the programs, median for the workers. Both workers have two
processes, the same application, results off, and the Redis of --broker (without it: a private one). The packages stand
in one folder, as pip installs them: in a checkout there is one for each, and Python looks through all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
APPS = {
    "ours": "from bootsteps_tasks import App\napp = App(broker={url!r}, task_default_queue='ours')\n",
    "celery": "from celery import Celery\napp = Celery(broker={url!r})\napp.conf.task_default_queue = 'celerys'\n",
}
PROGRAMS = {"ours": "bootsteps", "celery": "celery"}
#: Seconds that a worker has to become ready.
LIMIT_S = 60.0
#: And for what it does after it said that it is.
SETTLE_S = 3.0
TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def as_installed(folder: Path) -> str:
    """Make an environment with links to all packages of this one in one folder, and return its Python."""
    venv.create(folder, symlinks=True)
    here, there = Path(sysconfig.get_path("purelib")), next(folder.glob("lib/python*/site-packages"))
    lines = [line for file in here.glob("*.pth") for line in file.read_text().splitlines()]
    for place in [here, *(Path(line) for line in lines if os.path.isdir(line))]:
        for entry in place.iterdir():
            if entry.suffix != ".pth" and not (there / entry.name).exists():
                (there / entry.name).symlink_to(entry)
    return str(folder / "bin" / "python")


def command_cpu_ms(system: str, words: list[str], folder: Path, python: str = sys.executable) -> float:
    """Return user and system time of a program that ends by itself."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([python, "-m", PROGRAMS[system], *words], cwd=folder, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


@contextmanager
def worker(system: str, folder: Path, python: str = sys.executable) -> Iterator[tuple[subprocess.Popen[bytes], float]]:
    """A worker that is ready, and the seconds until it was."""
    log = folder / f"{system}.log"
    words = ["-A", f"{system}_app", "worker", "-c", "2", "-l", "INFO", "-n", f"{system}@bench"]
    with log.open("wb") as out:
        began = time.monotonic()
        process = subprocess.Popen(
            [python, "-m", PROGRAMS[system], *words], cwd=folder, stdin=subprocess.DEVNULL, stdout=out,
            stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        while b" ready." not in log.read_bytes():
            if process.poll() is not None or time.monotonic() - began > LIMIT_S:
                raise SystemExit(f"the worker of {system} is not ready:\n{log.read_text()}")
            time.sleep(0.005)
        yield process, time.monotonic() - began
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def tree(pid: int) -> list[str]:
    """Return a process and its children."""
    return [str(pid), *Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def tree_cpu_s(pid: int) -> float:
    """Return the CPU time of a process and its children."""
    return sum(map(_cpu_s, tree(pid)))


def tree_pss_mib(pid: int) -> float:
    """Return the memory of a process and its children, in which a page counts once for all who share it."""
    return sum(map(_pss_kib, tree(pid))) / 1024


def _pss_kib(pid: str) -> int:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))


def _cpu_s(pid: str) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def idle_percent(system: str, folder: Path, seconds: float, python: str = sys.executable) -> float:
    """Return how much of one core a worker takes that has nothing to do."""
    with worker(system, folder, python) as (process, _):
        time.sleep(SETTLE_S)
        before, began = tree_cpu_s(process.pid), time.monotonic()
        time.sleep(seconds)
        return (tree_cpu_s(process.pid) - before) / (time.monotonic() - began) * 100


def idle_mib(system: str, folder: Path, python: str = sys.executable) -> float:
    """Return the memory (PSS) of a worker that has nothing to do yet."""
    with worker(system, folder, python) as (process, _):
        time.sleep(SETTLE_S)
        return tree_pss_mib(process.pid)


def ready_s(system: str, folder: Path, python: str = sys.executable) -> float:
    with worker(system, folder, python) as (_, seconds):
        return seconds


def in_turns(
    measure: Callable[[str], float], attempts: int, choose: Callable[[list[float]], float]
) -> dict[str, float]:
    """Measure ours and Celery's in turns, so that what else runs on the machine disturbs both."""
    found: dict[str, list[float]] = {system: [] for system in PROGRAMS}
    for _ in range(attempts):
        for system in found:
            found[system].append(measure(system))
    return {system: choose(values) for system, values in found.items()}


def measured(url: str, attempts: int, idle_s: float) -> dict[str, dict[str, float]]:
    """Return each figure of ours and Celery's."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = as_installed(folder / "installed")
        for system, text in APPS.items():
            (folder / f"{system}_app.py").write_text(text.format(url=url))
        figures = {
            "--version, ms of CPU": in_turns(lambda s: command_cpu_ms(s, ["--version"], folder, python), attempts, min),
            "worker --help, ms of CPU": in_turns(
                lambda s: command_cpu_ms(s, ["worker", "--help"], folder, python), attempts, min
            ),
            "ready, s": in_turns(lambda s: ready_s(s, folder, python), attempts, statistics.median),
            "memory (PSS) at rest, MiB": in_turns(lambda s: idle_mib(s, folder, python), 1, min),
        }
        if idle_s:
            figures["at rest, % of a core"] = in_turns(lambda s: idle_percent(s, folder, idle_s, python), 1, min)
    return figures


def broker(url: str | None) -> Any:
    if url:
        return nullcontext(url)
    sys.path.insert(0, str(ROOT / "tests"))
    from services import redis_server

    return redis_server(Path(tempfile.mkdtemp(prefix="startup-")))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attempts", type=int, default=5)
    parser.add_argument(
        "--idle", type=float, default=60.0, metavar="SECONDS", help="0: do not measure a worker at rest"
    )
    parser.add_argument("--broker", metavar="URL")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    words = parser.parse_args()
    with broker(words.broker) as url:
        figures = measured(url, words.attempts, words.idle)
    if words.json:
        print(json.dumps(figures))
        return
    print("| | ours | Celery's | Celery's by ours |\n|---|---:|---:|---:|")
    for name, row in figures.items():
        print(f"| {name} | {row['ours']:.3g} | {row['celery']:.3g} | {row['celery'] / max(row['ours'], 1e-9):.1f} |")


if __name__ == "__main__":
    main()
