"""The tables, in Markdown: one of figures and one of ratios for each broker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from comparing.measures import MEASURES, Figure
from comparing.samples import Samples, Spread
from comparing.systems import SYSTEMS

__all__ = ["tables"]

TITLES = {"redis": "Redis", "amqp": "RabbitMQ", "sqlite": "SQLite"}
NOTHING = "–"


def tables(samples: Samples) -> str:
    """Return everything that was measured: also where we are behind, and what failed."""
    brokers = list(dict.fromkeys(broker for _, _, broker in samples.runs))
    lines = [line for broker in brokers for line in _of_broker(samples, broker)]
    failures = sorted(samples.failures.items())
    lines += [f"failed: {measure}, {system} on {broker}: {why}" for (measure, system, broker), why in failures]
    return "\n".join(lines)


def _of_broker(samples: Samples, broker: str) -> Iterator[str]:
    present = {(measure, system) for measure, system, on in samples.runs if on == broker}
    systems = [name for name in SYSTEMS if any(system == name for _, system in present)]
    measures = [name for name in MEASURES if any(measure == name for measure, _ in present)]
    figures = [(measure, figure) for measure in measures for figure in MEASURES[measure].figures]
    yield from ["", f"### {TITLES[broker]}", ""]
    yield from _rows(["", *(SYSTEMS[name].title for name in systems)])
    for measure, figure in figures:
        spreads = [samples.spread((measure, name, broker), figure) for name in systems]
        if any(spreads):
            yield _row([_label(figure), *map(_shown, spreads)])
    peers = [name for name in systems if name != "ours"]
    if "ours" not in systems or not peers:
        return
    yield from ["", "Ours by theirs (above 1 = ours is better; **below 1 = ours is worse**)", ""]
    yield from _rows(["", *(SYSTEMS[name].title for name in peers)])
    for measure, figure in figures:
        key = (measure, "ours", broker)
        if not figure.compared:
            continue
        ratios = [samples.ratio(key, (measure, name, broker), figure) for name in peers]
        if any(ratios):
            yield _row([figure.title, *map(_ratio, ratios)])


def _rows(head: Sequence[str]) -> list[str]:
    return [_row(head), "|---" + "|---:" * (len(head) - 1) + "|"]


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _label(figure: Figure) -> str:
    return f"{figure.title}, {figure.unit}" if figure.unit else figure.title


def _shown(spread: Spread | None) -> str:
    if spread is None:
        return NOTHING
    return number(spread.median) + _range(spread)


def _ratio(spread: Spread | None) -> str:
    if spread is None:
        return NOTHING
    text = f"{number(spread.median)} ×{_range(spread)}"
    return f"**{text}**" if spread.median < 1 else text


def _range(spread: Spread) -> str:
    """Return nothing where there was one repetition."""
    return f" [{number(spread.low)}–{number(spread.high)}]" if spread.low != spread.high else ""


def number(value: float) -> str:
    """Return three digits that mean something, or the whole number if it has more."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
