# mypy: disable-error-code="no-untyped-call"
"""What is not decoded at once says the same as if it were."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
import redis
from kombu import Connection, Consumer, Producer, Queue

from bootsteps_transport_redis import codec
from bootsteps_transport_redis.link import pack
from bootsteps_transport_redis.plain import PlainMessage, look

PARTS = ("body", "headers", "properties", "delivery_info", "content_type", "content_encoding", "delivery_tag")
#: What a client of Celery publishes a task with.
ASKED = {"correlation_id": "t1", "reply_to": "", "headers": {"task": "proj.add", "id": "t1", "stamps": {}}}


def envelope(**parts: Any) -> dict[str, Any]:
    info = {"exchange": "", "routing_key": "letters"}
    properties: dict[str, Any] = {"correlation_id": "t1", "reply_to": "", "delivery_mode": 2, "delivery_info": info}
    properties |= {"priority": 0, "body_encoding": "base64", "delivery_tag": "d1"}
    found = {"body": "WzFd", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"a": [1, {}]}}
    return {**found, "properties": properties, **parts}


def test_a_task_is_not_decoded_before_somebody_asks(connect: Callable[..., Any], drain: Callable[..., None]) -> None:
    got: list[Any] = []
    con: Connection = connect()
    target = Queue("letters", routing_key="letters")
    Producer(con.channel()).publish([[2, 2], {}, {}], routing_key="letters", declare=[target], **ASKED)
    consumer = Consumer(con.channel(), [target], on_message=got.append)
    consumer.consume()
    drain(con, got, 1)
    assert isinstance(got[0], PlainMessage)
    assert not {"body", "headers", "properties"} & set(vars(got[0]))
    assert got[0].payload == [[2, 2], {}, {}]
    assert got[0].headers == ASKED["headers"]
    assert got[0].delivery_info["consumer_tag"]
    got[0].requeue()
    drain(con, got, 2)
    assert not isinstance(got[1], PlainMessage)  # it is marked, and counted
    assert got[1].headers == {**got[0].headers, "redelivered": True}
    assert got[1].delivery_info["delivery_count"] == 1
    got[1].ack()


def test_the_parts_are_the_same() -> None:
    whole = envelope()
    parts = look(json.dumps(whole).encode())
    assert parts is not None
    plain = PlainMessage(parts, None, "h:1", "ctag")
    decoded = codec.decode(whole, None, "h:1", "letters", "ctag", 0)
    assert [getattr(plain, name) for name in PARTS] == [getattr(decoded, name) for name in PARTS]
    assert plain.decode() == decoded.decode() == [1]


PROPERTIES = envelope()["properties"]


@pytest.mark.parametrize(
    "parts",
    [
        {"headers": {"argsrepr": 'say "properties": {"'}},
        {"headers": {"argsrepr": "ü"}},
        {"headers": {"redelivered": True}},
        {"headers": {"compression": "application/x-gzip"}},
        {"headers": {"when": {"__type__": "uuid", "__value__": "1"}}},
        {"headers": None},
        {"body": None},
        {"body": "a==="},
        {"body": "WzFd\u00e4"},
        {"properties": {**PROPERTIES, "expiration": "60000"}},
        {"properties": {**PROPERTIES, "body_encoding": None}},
        {"properties": {**PROPERTIES, "delivery_info": {"exchange": "", "routing_key": "letters", "redelivered": 1}}},
        {"more": 1},
    ],
)
def test_whatever_is_unusual_is_decoded_at_once(parts: dict[str, Any]) -> None:
    assert look(json.dumps(envelope(**parts)).encode()) is None


def test_headers_that_cannot_be_decoded_are_none_and_the_message_says_so() -> None:
    raw = json.dumps(envelope()).replace('{"a": [1, {}]}', "{nothing}").encode()
    parts = look(raw)
    assert parts is not None
    message = PlainMessage(parts, None, "h:1", "ctag")
    assert (message.headers, message.body) == ({}, b"[1]")
    with pytest.raises(ValueError, match="Expecting property name"):
        message._reraise_error()


def test_commands_are_packed_as_redis_py_packs_them() -> None:
    commands: list[list[Any]] = [
        ["PING"], ["LPUSH", "ü", b"\x00\r\n", ""], ["ZADD", "k", 1, -2.5, 1e20, bytearray(b"a"), memoryview(b"b")],
        ["SET", "big", "x" * 100_000, b"y" * 100_000],
    ]  # fmt: skip
    theirs = redis.Connection()
    for command in commands:
        assert pack(command) == b"".join(map(bytes, theirs.pack_command(*command)))
    for wrong in (None, True, [1]):
        with pytest.raises(TypeError, match="text, bytes or a number, not"):
            pack(["SET", "k", wrong])
