"""One run: all cells of a repetition, then all of the next, so that what the machine does meanwhile meets everyone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from comparing.brokers import Brokers
from comparing.cell import Cell
from comparing.measures import MEASURES, Measure, Scale
from comparing.samples import Key, Samples
from comparing.slots import NotDone
from comparing.systems import System

__all__ = ["Plan", "run"]


@dataclass(frozen=True)
class Plan:
    """What to measure, with what and how often."""

    systems: Sequence[System]
    brokers: Sequence[str]
    #: those of the brokers whose cells have a place for results
    storing: Sequence[str]
    measures: Sequence[str]
    scale: Scale
    repetitions: int
    #: seconds that anything in a cell may take
    limit_s: float

    def cells(self, repetition: int) -> Iterator[tuple[Measure, System, str]]:
        """Yield the cells of a repetition; each repetition begins with another system."""
        turn = repetition % len(self.systems)
        for measure in map(MEASURES.__getitem__, self.measures):
            if measure.enough is not None and repetition >= measure.enough:
                continue
            for broker in self.brokers:
                for system in (*self.systems[turn:], *self.systems[:turn]):
                    if self._applies(measure, system, broker):
                        yield measure, system, broker

    def _applies(self, measure: Measure, system: System, broker: str) -> bool:
        if measure.ours_alone:  # and then the broker is of no importance either
            return system.name == "ours" and broker == self.brokers[0]
        return broker in system.brokers and (broker in self.storing or not measure.results)


def run(
    plan: Plan, bins: dict[str, Path], brokers: Brokers, folder: Path, keep: Callable[[Samples], None] = lambda _: None
) -> Samples:
    """Measure, and hand what there is to `keep` after each repetition.

    A cell that fails is noted and the run goes on; a Ctrl-C ends it, and what was measured counts.
    """
    samples = Samples()
    try:
        for repetition in range(plan.repetitions):
            for number, (measure, system, broker) in enumerate(plan.cells(repetition)):
                _tell(f"{repetition + 1}/{plan.repetitions} {measure.name:<10} {system.name} on {broker}")
                place = folder / f"cell-{repetition}-{number}"
                place.mkdir()
                cell = Cell(system, bins[system.environment], *brokers.place(broker, place), place, plan.limit_s)
                _measure(measure, cell, plan.scale, (measure.name, system.name, broker), samples)
                brokers.clear(broker, system.queues, place)
            keep(samples)
    except KeyboardInterrupt:
        _tell("interrupted")
    return samples


def _measure(measure: Measure, cell: Cell, scale: Scale, key: Key, samples: Samples) -> None:
    try:
        samples.add(key, measure.run(cell, scale))
    except (NotDone, OSError, subprocess.SubprocessError) as exc:
        samples.add(key, None, f"{exc}{_last_lines(cell.folder)}")


def _last_lines(folder: Path) -> str:
    """Return how the logs of a failed cell end."""
    texts = [(path.name, path.read_text(errors="replace").strip()) for path in sorted(folder.glob("*.log"))]
    return "".join(f"\n  {name}: ... {text[-300:]}" for name, text in texts if text)


def _tell(text: str) -> None:
    """Show what is being done, where somebody looks."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
    elif text:
        print(text, file=sys.stderr, flush=True)
