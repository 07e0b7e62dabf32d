"""The text of one field of a crontab, as Celery reads it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from bootsteps_worker_beat.errors import ScheduleError

__all__ = ["FIELDS", "Field", "expand"]

DAYS = ("sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday")
MONTHS = (
    *("january", "february", "march", "april", "may", "june"),
    *("july", "august", "september", "october", "november", "december"),
)
PART = re.compile(r"(?:(?P<star>\*)|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\w+))?")


class Field(NamedTuple):
    """A field and its range, both ends included."""

    name: str
    first: int
    last: int
    #: Words for its numbers, from `first` on; their first three letters do.
    words: tuple[str, ...] = ()


FIELDS = {
    "minute": Field("minute", 0, 59),
    "hour": Field("hour", 0, 23),
    "day_of_week": Field("day_of_week", 0, 6, DAYS),
    "day_of_month": Field("day_of_month", 1, 31),
    "month_of_year": Field("month_of_year", 1, 12, MONTHS),
}


def expand(field: Field, spec: object) -> set[int]:
    """Return the numbers that a field means: a number, some numbers, or text. Raises `ScheduleError` or TypeError.

    Text is `*`, `a`, `a-b` (over the end and on from the beginning if b is smaller), each with `/step`, and several of
    these with commas.
    """
    if isinstance(spec, str):
        found = {number for part in spec.split(",") for number in _part(field, part.strip(), spec)}
    elif isinstance(spec, int):
        found = {spec}
    elif isinstance(spec, Iterable):
        found = set(spec)
    else:
        raise TypeError(f"{field.name} is a number, text, or several numbers, not {spec!r}")
    if not found or not all(number in range(field.first, field.last + 1) for number in found):
        raise _fault(field, spec)
    return found


def _part(field: Field, part: str, spec: str) -> Iterable[int]:
    match = PART.fullmatch(part)
    if match is None:
        raise _fault(field, spec)
    step = match["step"]
    if step is not None and (not step.isdecimal() or int(step) == 0):
        raise _fault(field, spec)
    every = int(step or 1)
    if match["star"]:
        return range(field.first, field.last + 1, every)
    first = _number(field, match["first"], spec)
    if match["last"] is None:
        if step is not None:  # Celery would read `5/10` as `5` without a word
            raise _fault(field, spec)
        return (first,)
    last = _number(field, match["last"], spec)
    if last >= first:
        return range(first, last + 1, every)
    return [*range(first, field.last + 1), *range(field.first, last + 1)][::every]


def _number(field: Field, text: str, spec: str) -> int:
    if text.isdecimal():
        return int(text)
    for number, word in enumerate(field.words, field.first):
        if text.lower() in (word, word[:3]):
            return number
    raise _fault(field, spec)


def _fault(field: Field, spec: object) -> ScheduleError:
    what = f"crontab: {field.name} cannot be {spec!r}"
    words = f" or {field.words[0][:3]}-{field.words[-1][:3]}" if field.words else ""
    return ScheduleError(what, (), f"numbers from {field.first} to {field.last}{words}: '*', '*/5', '1,3', '2-10/2'")
