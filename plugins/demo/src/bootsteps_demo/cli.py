"""`kernel demo`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bootsteps import KernelError

if TYPE_CHECKING:
    from bootsteps_demo.job import Answers

__all__ = ["demo"]


@click.command()
@click.option(
    "--path", type=click.Path(exists=True, file_okay=False, path_type=Path), help="Measure this folder instead."
)
@click.option("-c", "--concurrency", type=click.IntRange(1), help="Children of the pool; default: one for each core.")
@click.option("--keep", is_flag=True, help="Keep the folder with the broker, the results and the worker's log.")
@click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON and nothing else.")
def demo(path: Path | None, concurrency: int | None, keep: bool, as_json: bool) -> None:
    """Watch a composed worker do real work, without any server.

    Starts a worker (prefork) on the embedded broker, has it parse and measure every Python file of the standard
    library, one task each, and checks that every file was answered exactly once. Exit status 0 if so.

    \b
    kernel demo
    kernel demo --path ~/src/project -c 4
    kill -9 PID         (of the worker, in the middle: nothing is lost)
    """
    from bootsteps_demo.job import python_files

    files = python_files(path)
    if not files:
        raise click.UsageError(f"there is no Python file below {path}")
    folder = Path(tempfile.mkdtemp(prefix="kernel-demo-"))
    os.environ["XDG_STATE_HOME"] = str(folder)  # the embedded broker and results, for us and for the worker
    say = _silent if as_json else click.echo
    try:
        answers = _measure(files, folder, ["-c", str(concurrency)] if concurrency else [], say, not as_json)
    except KernelError:
        keep = True  # the worker's log may tell why
        raise
    finally:
        if keep:
            click.echo(f"kept: {folder}", err=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)
    _report(files, answers, as_json)


def _measure(files: list[Path], folder: Path, options: list[str], say: Callable[[str], None], visible: bool) -> Answers:
    from bootsteps_demo.app import app
    from bootsteps_demo.job import run_job
    from bootsteps_demo.supervisor import Supervisor

    if visible:
        _show_graph(say)
    worker = Supervisor(folder, options)
    try:
        say(f"worker ready after {worker.wait_ready():.2f} s, process {worker.pid}; {len(files)} files to measure")
        with _progress(len(files), say) as step:
            answers = run_job(files, worker, step, say)
        worker.stop()
        say("worker stopped warmly")
    except KeyboardInterrupt:
        click.echo("\nstopping the worker", err=True)
        worker.stop()
        raise
    finally:
        worker.kill()
        app.close()
    return answers


def _silent(text: str) -> None:
    """Say nothing."""


def _show_graph(say: Callable[[str], None]) -> None:
    """Show what will boot, if the plugin that draws it is installed."""
    words = [sys.executable, "-m", "bootsteps", "graph", "-A", "bootsteps_demo.app:app", "--format", "tree"]
    drawn = subprocess.run(words, capture_output=True, text=True, check=False)
    say(drawn.stdout if drawn.returncode == 0 else f"(no drawing of the boot graph: {drawn.stderr.strip()})")


@contextmanager
def _progress(total: int, say: Callable[[str], None]) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; elsewhere a line for each tenth."""
    if sys.stdout.isatty() and say is click.echo:
        with click.progressbar(length=total, label="measuring", show_pos=True) as bar:
            yield bar.update
        return
    done = 0

    def step(number: int) -> None:
        nonlocal done
        before, done = done, done + number
        if done * 10 // total > before * 10 // total:
            say(f"measured {done} of {total}")

    yield step


def _report(files: list[Path], answers: Answers, as_json: bool) -> None:
    if as_json:
        rate = round(len(answers) / answers.seconds, 1)
        facts = {"files": len(files), "answers": len(answers), "seconds": round(answers.seconds, 3), "per_second": rate}
        click.echo(json.dumps({**facts, "errors": answers.errors, "summary": answers.summary}, indent=2))
        return
    assert answers.summary is not None
    summary, root = answers.summary, os.path.commonpath([str(path.parent) for path in files])
    rows = [
        ("files", f"{len(files):,}"),
        ("answered exactly once", f"{len(answers):,}"),
        ("of them failed", f"{len(answers.errors):,}"),
        ("lines", f"{summary['lines']:,}"),
        ("functions", f"{summary['functions']:,}"),
    ]
    click.echo("\n" + "\n".join(f"{name:<24}{value:>14}" for name, value in rows))
    click.echo("\nlongest functions")
    for path, name, lines in summary["longest"]:
        click.echo(f"  {lines:>6} lines  {name}  ({os.path.relpath(path, root)})")
    click.echo("\nmost imported modules")
    for module, number in summary["imports"]:
        click.echo(f"  {number:>6} files  {module}")
    if answers.errors:
        click.echo("\nfailed: Python cannot read them, so their tasks raised (its library holds some, to test that)")
        for path, error in sorted(answers.errors.items()):
            click.echo(f"  {os.path.relpath(path, root)}: {error}")
    click.echo(f"\n{len(answers):,} tasks in {answers.seconds:.2f} s: {len(answers) / answers.seconds:,.0f} tasks/s")
