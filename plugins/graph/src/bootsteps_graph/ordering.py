"""The order of boxes and passing edges within their rows: as few crossings as a good heuristic finds."""

from __future__ import annotations

from bisect import bisect, insort
from collections import defaultdict
from collections.abc import Mapping, Sequence

__all__ = ["crossings", "ordered"]

#: Sweeps without any gain before it is enough.
PATIENCE = 6

Rows = list[list[str]]
Links = Sequence[Sequence[tuple[str, str]]]


def ordered(rows: Rows, links: Links) -> Rows:
    """Return the rows in a good order: sweeps by barycentre, then swaps of neighbours, the best one kept."""
    above, below = defaultdict[str, list[str]](list), defaultdict[str, list[str]](list)
    for pairs in links:
        for here, there in pairs:
            above[there].append(here)
            below[here].append(there)
    now = [list(row) for row in rows]
    best, fewest, waiting, sweep = now, crossings(now, links), 0, 0
    while fewest and waiting < PATIENCE:
        now = _sweep(now, below if sweep % 2 else above, upwards=bool(sweep % 2))
        _swap(now, above, below)
        count = crossings(now, links)
        waiting = 0 if count < fewest else waiting + 1
        if count < fewest:
            best, fewest = [list(row) for row in now], count
        sweep += 1
    return best


def crossings(rows: Rows, links: Links) -> int:
    """Return how many pairs of links cross each other."""
    count = 0
    for number, pairs in enumerate(links):
        here = {name: place for place, name in enumerate(rows[number])}
        there = {name: place for place, name in enumerate(rows[number + 1])}
        seen: list[int] = []
        for _, end in sorted((here[a], there[b]) for a, b in pairs):
            count += len(seen) - bisect(seen, end)
            insort(seen, end)
    return count


def _sweep(rows: Rows, neighbours: Mapping[str, list[str]], upwards: bool) -> Rows:
    swept = [list(row) for row in rows]
    numbers = range(len(rows) - 2, -1, -1) if upwards else range(1, len(rows))
    for number in numbers:
        fixed = {name: place for place, name in enumerate(swept[number + 1 if upwards else number - 1])}
        scale = len(fixed) / max(len(swept[number]), 1)
        wish = {}
        for place, name in enumerate(swept[number]):
            places = [fixed[other] for other in neighbours.get(name, ())]
            wish[name] = sum(places) / len(places) if places else place * scale
        swept[number].sort(key=wish.__getitem__)
    return swept


def _swap(rows: Rows, above: Mapping[str, list[str]], below: Mapping[str, list[str]]) -> None:
    """Exchange neighbours as long as that saves crossings."""
    for number, row in enumerate(rows):
        sides = []
        for near, side in ((number - 1, above), (number + 1, below)):
            if 0 <= near < len(rows):
                place = {name: at for at, name in enumerate(rows[near])}
                sides.append({name: sorted(place[other] for other in side.get(name, ())) for name in row})
        better = True
        while better:
            better = False
            for at in range(len(row) - 1):
                one, other = row[at], row[at + 1]
                now = sum(_inversions(side[one], side[other]) for side in sides)
                if now > sum(_inversions(side[other], side[one]) for side in sides):
                    row[at], row[at + 1], better = other, one, True


def _inversions(left: Sequence[int], right: Sequence[int]) -> int:
    return sum(bisect(right, place - 1) for place in left)
