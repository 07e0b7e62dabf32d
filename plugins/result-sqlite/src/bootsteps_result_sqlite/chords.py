"""Chords in the results file: tables of our own, which no Celery knows (it would poll instead)."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from bootsteps_tasks.backend import Claim, Part

if TYPE_CHECKING:
    from bootsteps_result_sqlite.connection import Connections

__all__ = ["TABLES", "Chords", "delete_chords_before"]

TABLES = """
create table if not exists bootsteps_chord (
    group_id text primary key, size integer not null, returned integer not null, tree blob, token text,
    claimed_until real, begun real not null) without rowid;
create table if not exists bootsteps_chord_part (
    group_id text not null, task_id text not null, place integer not null, state text not null, result blob,
    primary key (group_id, place, task_id)) without rowid;
"""

#: The place of a part that says none: after all others.
LAST = 2**31
#: Seconds after which a claim counts for nothing: whoever had it has died.
CLAIM_S = 10.0
#: Seconds between two looks at a claim that somebody else holds.
LOOK_S = 0.05

COUNT = "update bootsteps_chord set returned = returned + 1 where group_id = ?"
ADD = "insert into bootsteps_chord_part values (?, ?, ?, ?, ?) on conflict do nothing"
#: Claims a chord, if it is complete and nobody else has claimed it.
CLAIM = """
update bootsteps_chord set token = ?, claimed_until = ? where group_id = ?
and returned >= size
and (token is null or claimed_until < ?)
"""
TAKEN = """
select 1 from bootsteps_chord where group_id = ? and token is not null
and returned >= size
"""


class Chords:
    """Counts parts. `connections` returns those of this process."""

    def __init__(
        self, connections: Callable[[], Connections], dumps: Callable[[Any], bytes], loads: Callable[[bytes], Any]
    ) -> None:
        self._connections = connections
        self._dumps = dumps
        self._loads = loads

    def begin(self, group_id: str, size: int, tree: Any) -> None:
        """See `ChordBackend.begin_chord`."""
        row = group_id, size, 0, None if tree is None else self._dumps(tree), None, None, time.time()

        def begin(con: sqlite3.Connection) -> None:
            con.execute("insert or replace into bootsteps_chord values (?, ?, ?, ?, ?, ?, ?)", row)
            con.execute("delete from bootsteps_chord_part where group_id = ?", (group_id,))

        self._connections().write(begin)

    def add(self, group_id: str) -> None:
        """See `ChordBackend.add_to_chord`."""
        statement = "update bootsteps_chord set size = size + 1 where group_id = ?"
        self._connections().write(lambda con: con.execute(statement, (group_id,)))

    def return_parts(self, parts: Sequence[Part]) -> list[Claim]:
        """See `ChordBackend.return_parts`."""
        token, found, rows = uuid4().hex, [], [self._row(part) for part in parts]
        left = {part.group_id: part for part in parts}
        while left:
            claimed, taken = self._connections().write(partial(_count, rows=rows, groups=left, token=token))
            found += [self._claim(left[group_id], token) for group_id in claimed]
            # Whoever has claimed the others publishes their bodies, or has died: then these parts are the last chance.
            left, rows = {group_id: left[group_id] for group_id in taken}, []
            if left:
                time.sleep(LOOK_S)
        return found

    def finish(self, claim: Claim) -> None:
        """See `ChordBackend.finish_chord`. A part that comes later finds no chord, and counts for nothing."""

        def finish(con: sqlite3.Connection) -> None:
            one = con.execute("delete from bootsteps_chord where group_id = ? and token = ?", (group_id, claim.token))
            if one.rowcount:
                con.execute("delete from bootsteps_chord_part where group_id = ?", (group_id,))

        group_id = claim.part.group_id
        self._connections().write(finish)

    def _row(self, part: Part) -> tuple[Any, ...]:
        place = LAST if part.place is None else part.place
        return part.group_id, part.task_id, place, part.state, self._dumps(part.result)

    def _claim(self, part: Part, token: str) -> Claim:
        query = "select task_id, state, result from bootsteps_chord_part where group_id = ? order by place, task_id"
        with self._connections().reading() as con:
            rows = con.execute(query, (part.group_id,)).fetchall()
            [tree] = con.execute("select tree from bootsteps_chord where group_id = ?", (part.group_id,)).fetchone()
        results = [(task_id, state, self._loads(result)) for task_id, state, result in rows]
        return Claim(part, token, results, None if tree is None else self._loads(tree))


def _count(
    con: sqlite3.Connection, rows: Sequence[tuple[Any, ...]], groups: dict[str, Part], token: str
) -> tuple[list[str], list[str]]:
    """Count parts; return the groups claimed now, and those that are complete and claimed by somebody else."""
    known = {group_id for group_id in groups if _is_known(con, group_id)}
    for row in rows:
        if row[0] in known and con.execute(ADD, row).rowcount:
            con.execute(COUNT, row[:1])
    now = time.time()
    claimed = [name for name in known if con.execute(CLAIM, (token, now + CLAIM_S, name, now)).rowcount]
    taken = [name for name in known - set(claimed) if con.execute(TAKEN, (name,)).fetchone()]
    return claimed, taken


def _is_known(con: sqlite3.Connection, group_id: str) -> bool:
    return con.execute("select 1 from bootsteps_chord where group_id = ?", (group_id,)).fetchone() is not None


def delete_chords_before(con: sqlite3.Connection, moment: float) -> None:
    """Delete chords that began before a time and were never completed."""
    con.execute("delete from bootsteps_chord where begun < ?", (moment,))
    con.execute("delete from bootsteps_chord_part where group_id not in (select group_id from bootsteps_chord)")
