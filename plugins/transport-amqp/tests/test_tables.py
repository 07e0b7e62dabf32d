"""Reading and writing: the same as py-amqp does, from other bytes and objects."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

import pytest
from amqp.basic_message import Message as AmqpMessage
from amqp.serialization import dumps

from bootsteps_transport_amqp.settling import Unsettled
from bootsteps_transport_amqp.tables import Tables, Unusual
from bootsteps_transport_amqp.writing import Frames


def packed(table: dict[str, Any]) -> bytes:
    return bytes(dumps("F", (table,))[4:])


def task(number: int, **more: Any) -> dict[str, Any]:
    return {
        "lang": "py", "task": "proj.add", "id": f"id-{number}", "shadow": None, "eta": None, "retries": 0,
        "timelimit": [None, None], "root_id": f"id-{number}", "argsrepr": f"({number}, 'ä')", "stamps": {},
        "late": True, **more,
    }  # fmt: skip


def test_tables_of_one_shape_are_read_alike() -> None:
    tables = Tables()
    for number in (1, 22, 333, 1):
        data = b"before" + packed(task(number)) + b"after"
        assert tables.read(data, 6, len(data) - 5) == task(number)


def test_no_two_messages_share_a_list_or_a_table() -> None:
    tables = Tables()
    data = packed(task(1))
    first, second = tables.read(data, 0, len(data)), tables.read(data, 0, len(data))
    third = tables.read(data, 0, len(data))
    second["timelimit"].append(1)
    second["stamps"]["a"] = 1
    assert first == third == task(1)


def test_other_shapes_of_the_same_task_are_told_apart() -> None:
    tables = Tables()
    variants = [task(1), task(1, retries=7), task(1, eta="2030-01-01"), task(1, parent_id=None), task(1, parent_id="x")]
    for _ in range(3):
        for variant in variants:
            data = packed(variant)
            assert tables.read(data, 0, len(data)) == variant


def test_every_type_is_read_as_py_amqp_reads_it() -> None:
    table = {
        "text": "ü", "none": None, "yes": True, "small": -5, "large": 2**40, "float": 1.5, "empty": "",
        "when": datetime(2030, 1, 2, 3, 4, 5), "list": [1, [None, "x"], {"a": {"b": [2]}}], "x-death": [{"count": 3}],
    }  # fmt: skip
    data = packed(table)
    for _ in range(2):
        assert Tables().read(data, 0, len(data)) == table


@pytest.mark.parametrize(
    "data", [packed({"d": Decimal("1.5")}), packed({"a": "text"})[:-2], b"\x05abc", packed({"a": b"\xff\xfe"})]
)
def test_what_is_unusual_or_damaged_is_left_to_py_amqp(data: bytes) -> None:
    with pytest.raises(Unusual):
        Tables().read(data, 0, len(data))


def test_frames_are_py_amqps() -> None:
    message = AmqpMessage(
        "bödy", content_type="application/json", content_encoding="utf-8", delivery_mode=2, priority=3, reply_to="r",
        correlation_id="c", expiration="100",
        application_headers={
            **task(1), "deep": {"a": [1, {"b": None, "c": "ü", "d": {}}], "e": []}, "pair": (1, None), "n": 2**35,
            "yes": True, "edges": [False, 0, 2**31 - 1, 2**31, -(2**31) + 1, -(2**31), "\ud800", b"raw"],
            "others": [1.5, Decimal("1.5"), datetime(2030, 1, 2)], "when": datetime(2030, 1, 2), "raw": b"\xff",
        },
    )  # fmt: skip
    found = b"".join(Frames().of(5, 100_000, message, "exchange", "key"))
    method = b"\x00\x3c\x00\x28" + dumps("Bssbb", (0, "exchange", "key", False, False))
    body = "bödy".encode()
    content = b"\x00\x3c\x00\x00" + len(body).to_bytes(8) + message._serialize_properties()
    frames = [(1, method), (2, content), (3, body)]
    assert found == b"".join(
        bytes((kind,)) + b"\x00\x05" + len(part).to_bytes(4) + part + b"\xce" for kind, part in frames
    )


def test_a_run_is_acknowledged_together_and_the_rest_one_by_one() -> None:
    unsettled = Unsettled()
    for tag in (1, 2, 4, 5, 6, 8, 9):  # the others need no acknowledgement
        unsettled.add(tag)
    assert unsettled.done((2, 5)) == []
    assert unsettled.run() == 0, "1 is not done: nothing may be acknowledged with what comes before it"
    assert unsettled.done((1, 8)) == []
    assert unsettled.run() == 2
    assert unsettled.untold == 2
    assert unsettled.done((4,)) == []
    assert unsettled.run() == 5
    assert unsettled.rest() == [8]
    assert unsettled.done((6,)) == []
    assert unsettled.run() == 6, "a multiple acknowledgement names a delivery that the broker still waits for"
    assert unsettled.done((9, 77)) == [77]
    assert (unsettled.run(), len(unsettled)) == (9, 0)


def test_what_is_out_of_order_is_overdue_when_it_is_seen_again() -> None:
    unsettled = Unsettled()
    for tag in range(1, 9):
        unsettled.add(tag)
    unsettled.done((3, 5, 6))
    assert unsettled.overdue() == []
    unsettled.done((4, 8))
    unsettled.forget(6)
    assert unsettled.overdue() == [3, 5]
    unsettled.done((1, 2))
    assert unsettled.run() == 4, "what was told alone is in its run"
    assert unsettled.overdue() == [8]
    assert (unsettled.untold, len(unsettled)) == (0, 1)


def test_what_is_settled_otherwise_is_in_no_run() -> None:
    unsettled = Unsettled()
    for tag in (1, 2, 3):
        unsettled.add(tag)
    unsettled.done((1, 3))
    unsettled.forget(2)
    unsettled.forget(3)
    assert (unsettled.run(), len(unsettled), unsettled.untold) == (1, 0, 0)
