"""docs/features.md keeps its word: each feature called done names tests that exist."""

import ast
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "features.md"
#: Rows per group: a row may change its status, and never disappear.
ROWS = {"A": 52, "B": 217, "C": 44, "D": 36, "E": 21, "F": 58, "G": 65}
ROWS |= {"H": 22, "I": 22, "J": 53, "K": 27, "L": 24, "M": 16, "N": 20}
ASKED_FOR = 173  # rows marked S
CELL = re.compile(r"(?<!\\)\|")
TEST = re.compile(r"(?P<path>[\w./-]+\.py)::(?P<name>\w+(::\w+)?)")


@dataclass(frozen=True)
class Row:
    id: str
    source: str
    item: str
    status: str
    note: str


def read(text: str) -> list[Row]:
    """Return the rows of all tables. Raises ValueError for a row that has not five cells."""
    rows = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("|") and not line.startswith(("| ID |", "|---")):
            cells = [cell.strip() for cell in CELL.split(line.strip())[1:-1]]
            if len(cells) != 5:
                raise ValueError(f"line {number} has {len(cells)} cells, not ID, Src, Item, Status, note: {line}")
            rows.append(Row(*cells))
    return rows


def faults_of(row: Row) -> list[str]:
    """Return what is wrong with one row, by itself."""
    if row.source not in ("S", "C") or not row.item:
        return [f"{row.id}: needs S or C, and the name of the item"]
    if row.status == "open":
        return []
    if row.status == "not ours":
        return [] if row.note else [f"{row.id}: 'not ours' needs a reason in the last cell"]
    if row.status != "done":
        return [f"{row.id}: status {row.status!r} is none of: done, open, not ours"]
    named = [name.strip(" `") for name in row.note.partition(";")[0].split(",")]
    return [f"{row.id}: {fault}" for fault in map(fault_of_test, named) if fault]


def fault_of_test(name: str) -> str | None:
    match = TEST.fullmatch(name)
    if match is None:
        return f"{name!r} is not path::test_name (several with commas between them)"
    path = ROOT / match["path"]
    if not path.is_file():
        return f"there is no file {match['path']}"
    if match["name"] not in names_in(path):
        return f"{match['path']} has no test {match['name']}"
    return None


@cache
def names_in(path: Path) -> frozenset[str]:
    """Return the names of the tests in a file: `test_x`, and `TestY::test_x` in a class."""
    found: set[str] = set()

    def collect(body: list[ast.stmt], prefix: str) -> None:
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test"):
                found.add(prefix + node.name)
            elif isinstance(node, ast.ClassDef) and not prefix:
                collect(node.body, f"{node.name}::")

    collect(ast.parse(path.read_text()).body, "")
    return frozenset(found)


def faults_of_ids(ids: list[str]) -> list[str]:
    """Return what is wrong with the IDs: each group counts from 01 without a hole or a repeat."""
    expected = [f"{group}{number:02}" for group, rows in ROWS.items() for number in range(1, rows + 1)]
    if ids == expected:
        return []
    twice = sorted({name for name in ids if ids.count(name) > 1})
    strange, lacking = sorted(set(ids) - set(expected)), sorted(set(expected) - set(ids))
    return [f"twice: {twice}; unknown: {strange}; missing: {lacking}; or not in order"]


def test_every_row_is_there_once_and_in_order() -> None:
    assert faults_of_ids([row.id for row in read(TABLE.read_text())]) == []


def test_every_row_keeps_the_rules() -> None:
    assert [fault for row in read(TABLE.read_text()) for fault in faults_of(row)] == []


def test_what_the_guides_ask_for_is_marked() -> None:
    assert sum(row.source == "S" for row in read(TABLE.read_text())) == ASKED_FOR


def test_the_tests_named_for_operators_exist() -> None:
    named = [match.group() for match in TEST.finditer((ROOT / "docs" / "operators.md").read_text())]
    assert len(named) > 10
    assert [fault for fault in map(fault_of_test, named) if fault] == []


HERE = "tests/test_features.py"


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (f"| A01 | S | `-A` | done | {HERE}::test_a_wrong_row_is_found |", None),
        (f"| A01 | S | `-A` | done | `{HERE}::test_a_wrong_row_is_found`, {HERE}::test_no |", "has no test"),
        (f"| A01 | S | `-A` | done | {HERE}::test_a_wrong_row_is_found; as Celery, but quicker |", None),
        ("| A01 | S | `-A` | done | ; as Celery |", "is not path::test_name"),
        ("| A01 | S | `-A` | done | tests/test_nowhere.py::test_x |", "there is no file"),
        (f"| A01 | S | `-A` | done | {HERE}::faults_of |", "has no test faults_of"),
        ("| A01 | S | `-A` | done | |", "is not path::test_name"),
        ("| A01 | S | `-A` | done | seen by hand |", "is not path::test_name"),
        ("| A01 | S | `-A` | not ours | |", "needs a reason"),
        ("| A01 | S | `-A` | finished | |", "status 'finished'"),
        ("| A01 | X | `-A` | open | |", "needs S or C"),
        (r"| A12 | S | `-c N\|auto` | open | |", None),
        ("| A01 | S | `-A` | not ours | Windows only |", None),
    ],
)
def test_a_wrong_row_is_found(line: str, fault: str | None) -> None:
    faults = faults_of(*read(line))
    assert (faults == []) if fault is None else (len(faults) == 1 and fault in faults[0])


def test_a_row_with_a_missing_cell_is_an_error() -> None:
    with pytest.raises(ValueError, match="line 1 has 4 cells"):
        read("| A01 | `-A` | open | |")


def test_lost_repeated_and_swapped_ids_are_found() -> None:
    ids = [row.id for row in read(TABLE.read_text())]
    assert "missing: ['A02']" in faults_of_ids([*ids[:1], *ids[2:]])[0]
    assert "twice: ['A01']" in faults_of_ids(["A01", *ids])[0]
    assert faults_of_ids([ids[1], ids[0], *ids[2:]])
