"""A small application: three tasks, one step of its own and one option of its own. See README.md."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import bootsteps
from bootsteps.cli import Option
from bootsteps_tasks import App

app = App("proj")


@app.task
def add(x: int, y: int) -> int:
    """Return the sum."""
    return x + y


@app.task
def count_words(text: str) -> dict[str, int]:
    """Return how often each word occurs, the commonest first."""
    return dict(Counter(text.lower().split()).most_common())


@app.task
def nap(seconds: float) -> float:
    """Sleep, to have a task that can be watched."""
    time.sleep(seconds)
    return seconds


class Tally(bootsteps.StartStopStep):
    """Counts what was settled and logs it every `--tally` seconds and at the end; without the option it stays out."""

    requires = ("Timer",)

    def __init__(self, worker: Any, tally: float = 0.0, **options: Any) -> None:
        self.every = tally
        self.enabled = tally > 0
        self.counts: Counter[str] = Counter()

    def start(self, worker: Any) -> None:
        tick = worker.timer.call_repeatedly(self.every, self.say, (worker,))
        worker.on_stop(tick.cancel)

    def stop(self, worker: Any) -> None:
        self.say(worker)

    def say(self, worker: Any) -> None:
        counts = ", ".join(f"{count} {state}" for state, count in sorted(self.counts.items()))
        worker.log.warning("tally: %s", counts or "nothing yet")

    @bootsteps.hookimpl
    def task_settled(self, state: str) -> None:
        self.counts[state] += 1


app.steps["worker"].add(Tally)
app.user_options["worker"].add(
    Option("--tally", type=float, default=0.0, metavar="SECONDS", help="Log every so many seconds what was settled.")
)
