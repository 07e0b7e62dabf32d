from __future__ import annotations

import json
import os
import re
import socket
import uuid
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from bootsteps_tasks import InvalidMessage, decode_body, encode_task, parse_headers, parse_plain
from bootsteps_tasks.encoding import new_id
from bootsteps_tasks.repr import _pieces, bounded_repr

MINIMAL = {"task": "proj.add", "id": "1"}
ACCEPT = frozenset({"json"})


def test_a_message_has_the_headers_properties_and_body_of_protocol_2() -> None:
    message = encode_task("t1", "proj.add", (2, 2), {"k": "v"})
    assert message.headers == {
        "lang": "py",
        "task": "proj.add",
        "id": "t1",
        "shadow": None,
        "eta": None,
        "expires": None,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [None, None],
        "root_id": "t1",
        "parent_id": None,
        "argsrepr": "(2, 2)",
        "kwargsrepr": "{'k': 'v'}",
        "origin": f"gen{os.getpid()}@{socket.gethostname()}",
        "ignore_result": False,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
    }
    assert message.properties == {"correlation_id": "t1", "reply_to": "", "delivery_mode": 2}
    assert (message.content_type, message.content_encoding) == ("application/json", "utf-8")
    embed = {"callbacks": None, "errbacks": None, "chain": None, "chord": None}
    assert json.loads(message.body) == [[2, 2], {"k": "v"}, embed]


CALLS: list[dict[str, Any]] = [
    {},
    {"eta": datetime(2030, 1, 1, 12)},
    {"eta": datetime(2030, 1, 1, 12, tzinfo=timezone(timedelta(hours=9)))},
    {"expires": datetime(2030, 1, 1, 12), "retries": 2, "shadow": "alias", "ignore_result": True},
    {"time_limit": 30, "soft_time_limit": 20, "group_id": "g", "group_index": 1, "root_id": "r", "parent_id": "p"},
]


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("args", "kwargs"), [((2, 2), {}), (([1, [2, [3, [4]]]],), {"k": {"a": (1,)}}), (("x" * 2000,), {})]
)
def test_a_message_is_what_celery_would_send(call: dict[str, Any], args: Any, kwargs: Any) -> None:
    celery = pytest.importorskip("celery", reason="pip install celery")
    theirs = celery.Celery("proj", broker="memory://").amqp.as_task_v2("t1", "proj.add", args, kwargs, **call)
    ours = encode_task("t1", "proj.add", args, kwargs, **call)
    texts = ("argsrepr", "kwargsrepr")
    assert list(ours.headers) == list(theirs.headers)
    assert {k: v for k, v in ours.headers.items() if k not in texts} == {
        k: v for k, v in theirs.headers.items() if k not in texts
    }
    assert all(len(ours.headers[text]) <= 1024 for text in texts)
    assert json.loads(ours.body) == json.loads(json.dumps(theirs.body))
    for name in ("correlation_id", "reply_to"):
        assert ours.properties[name] == theirs.properties[name]


USUAL: list[dict[str, Any]] = [
    {},
    {"retries": 2, "ignore_result": True, "reply_to": "answers"},
    {"group_id": "g", "group_index": 1, "root_id": "r", "parent_id": "p", "ignore_result": None},
]


@pytest.mark.parametrize("call", USUAL)
def test_usual_headers_are_read_without_decoding_them(call: dict[str, Any]) -> None:
    message = encode_task("t1", "proj.add", (2, 2), {"k": "v"}, **call)
    found = parse_plain(json.dumps(message.headers), json.dumps(message.properties))
    assert found is not None
    assert found == parse_headers(message.headers, message.properties)


@pytest.mark.parametrize("call", [*CALLS[1:4], {"time_limit": 30}, {"shadow": "s"}, {"headers": {"my": "hdr"}}])
def test_unusual_headers_are_left_to_who_decodes_them(call: dict[str, Any]) -> None:
    message = encode_task("t1", "proj.add", **call)
    assert parse_plain(json.dumps(message.headers), json.dumps(message.properties)) is None


def test_seconds_count_from_now_in_the_zone() -> None:
    zone = ZoneInfo("Europe/Moscow")
    before = datetime.now(UTC)
    headers = encode_task("t", "n", countdown=10, expires=60, zone=zone).headers
    eta, expires = datetime.fromisoformat(headers["eta"]), datetime.fromisoformat(headers["expires"])
    assert headers["eta"].endswith("+03:00")
    assert timedelta(seconds=10) <= eta - before <= timedelta(seconds=15)
    assert timedelta(seconds=60) <= expires - before <= timedelta(seconds=65)


def test_an_expiry_is_told_to_the_broker_in_milliseconds() -> None:
    assert 59_000 <= int(encode_task("t", "n", expires=60).properties["expiration"]) <= 60_000
    assert encode_task("t", "n", expires=-5).properties["expiration"] == "0"
    naive = (datetime.now(UTC) + timedelta(seconds=60)).replace(tzinfo=None)
    assert 55_000 <= int(encode_task("t", "n", expires=naive).properties["expiration"]) <= 60_000


def test_own_headers_stand_beside_the_protocols() -> None:
    assert encode_task("t", "n", headers={"my": "hdr"}).headers["my"] == "hdr"


@pytest.mark.parametrize(
    ("wrong", "error"),
    [({"args": "ab"}, TypeError), ({"kwargs": [1]}, TypeError), ({"eta": "tomorrow"}, ValueError)],
)
def test_arguments_and_dates_of_a_wrong_shape_are_refused(wrong: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        encode_task("t", "n", **wrong)


def test_what_json_cannot_hold_is_an_encode_error() -> None:
    from kombu.exceptions import EncodeError

    with pytest.raises(EncodeError):
        encode_task("t", "n", (object(),))


@pytest.mark.parametrize("compression", [None, "gzip", "bzip2"])
@pytest.mark.parametrize("serializer", ["json", "pickle"])
def test_arguments_survive_the_journey(serializer: str, compression: str | None) -> None:
    from decimal import Decimal

    kwargs = {"d": datetime(2020, 1, 1, tzinfo=UTC), "n": Decimal("1.5"), "b": b"\xff"}
    message = encode_task("t", "n", (1, "ü"), kwargs, serializer=serializer, compression=compression)
    assert (message.headers.get("compression") is None) == (compression is None)
    found = decode_body(
        message.body,
        message.content_type,
        message.content_encoding,
        message.headers.get("compression"),
        frozenset({serializer}),
    )
    assert found[:2] == ([1, "ü"], kwargs)


def test_an_unknown_compression_is_refused_with_a_near_match() -> None:
    with pytest.raises(ValueError, match="no compression 'gzp'; did you mean 'gzip'"):
        encode_task("t", "n", compression="gzp")


def test_headers_are_parsed_without_the_body() -> None:
    message = encode_task(
        "t1", "proj.add", (2,), eta="2030-01-01T12:00:00Z", expires="2030-01-02T00:00:00+09:00", time_limit=30,
        soft_time_limit=20, group_id="g", group_index=1, parent_id="p", shadow="alias", reply_to="q", retries=2,
    )  # fmt: skip
    found = parse_headers(message.headers, message.properties, {"redelivered": True})
    assert found.eta == datetime(2030, 1, 1, 12, tzinfo=UTC)
    assert found.expires == datetime(2030, 1, 1, 15, tzinfo=UTC)
    assert (found.id, found.name, found.retries, found.timelimit) == ("t1", "proj.add", 2, (30, 20))
    assert (found.root_id, found.parent_id, found.group, found.group_index) == ("t1", "p", "g", 1)
    assert (found.argsrepr, found.kwargsrepr, found.shadow) == ("(2,)", "{}", "alias")
    assert (found.reply_to, found.correlation_id, found.redelivered) == ("q", "t1", True)
    assert found.origin == message.headers["origin"]


def test_two_headers_are_enough() -> None:
    found = parse_headers({**MINIMAL, "timelimit": None, "lang": "java"})
    assert (found.id, found.name, found.retries, found.timelimit, found.eta) == ("1", "proj.add", 0, (None, None), None)
    assert found.ignore_result is None


def test_a_naive_date_is_utc() -> None:
    found = parse_headers({**MINIMAL, "eta": "2030-01-01T12:00:00.5"})
    assert found.eta == datetime(2030, 1, 1, 12, 0, 0, 500_000, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (None, "no 'task'"),
        ({"id": "1"}, "protocol 1"),
        ({"task": "n"}, "no usable 'id'"),
        ({"task": "n", "id": ""}, "no usable 'id'"),
        ({"task": 5, "id": "1"}, "5"),
        ({**MINIMAL, "eta": "tomorrow"}, "'eta' is no ISO 8601 date: 'tomorrow'"),
        ({**MINIMAL, "expires": 17}, "'expires' is no ISO 8601 date: 17"),
        ({**MINIMAL, "retries": "2"}, "'retries' is no whole number"),
        ({**MINIMAL, "timelimit": [1]}, "'timelimit' is not"),
        ({**MINIMAL, "timelimit": ["a", None]}, "'timelimit' does not hold seconds"),
    ],
)
def test_headers_that_are_no_task_are_refused_with_the_reason(headers: Any, reason: str) -> None:
    with pytest.raises(InvalidMessage, match=reason):
        parse_headers(headers)


def test_a_body_without_embed_is_fine() -> None:
    assert decode_body(b"[[1], {}, null]", "application/json", "utf-8", None, ACCEPT) == ([1], {}, {})


@pytest.mark.parametrize(
    ("body", "content_type", "compression", "reason"),
    [
        (b"[[1], {}]", "application/json", None, "is not \\[args, kwargs, embed\\]"),
        (b"{}", "application/json", None, "is not \\[args, kwargs, embed\\]"),
        (b"", "application/json", None, "cannot be decoded|is not"),
        (b"\xff\xfe", "application/json", None, "cannot be decoded"),
        (b"[[1], [], {}]", "application/json", None, "not a mapping of names"),
        (b"[1, {}, {}]", "application/json", None, "not a list but a int"),
        (b"[[1], {}, 5]", "application/json", None, "neither a mapping nor null"),
        (b"cos\nsystem\n(S'true'\ntR.", "application/x-python-serialize", None, "not among accept_content"),
        (b"[[1], {}, {}]", "application/data", None, "not among accept_content"),
        (b"[[1], {}, {}]", None, None, "not among accept_content"),
        (b"[[1], {}, {}]", "application/x-nothing", None, "not among accept_content"),
        (b"[[1], {}, {}]", "application/json", "application/x-gzip", "cannot be decoded"),
        (b"[[1], {}, {}]", "application/json", "nothing", "cannot be decoded"),
        (b'[[{"__type__": "x", "__value__": 1}], {}, {}]', "application/json", None, "cannot be decoded"),
    ],
)
def test_a_body_that_is_no_task_is_refused_with_the_reason(
    body: bytes, content_type: str, compression: str | None, reason: str
) -> None:
    with pytest.raises(InvalidMessage, match=reason):
        decode_body(body, content_type, "utf-8", compression, ACCEPT)


class Broken:
    def __repr__(self) -> str:
        raise RuntimeError("no")


@pytest.mark.parametrize("value", [(), (1,), (1, "a'b", None), [1, [2]], {"a": {"b": 1}}, {1}, frozenset(), b"x", ""])
def test_a_short_repr_is_the_repr(value: Any) -> None:
    expected = "{1}" if value == {1} else repr(value)
    assert bounded_repr(value) == expected


def test_a_repr_is_bounded_in_size_depth_and_work() -> None:
    loop: list[Any] = []
    loop.append(loop)
    assert bounded_repr(loop) == "[[[[...]]]]"
    for value in ("x" * 10**6, list(range(10**6)), {"k": "y" * 5000}, [["z" * 400] * 10] * 10):
        assert len(bounded_repr(value)) == 1024
        assert bounded_repr(value).endswith("...")
    assert "its repr raised RuntimeError" in bounded_repr([Broken()])


@pytest.mark.parametrize(
    "value", [(), {}, (1,), (1, 2.5, None, True, "a"), [1, "it's"], {"k": 1, 2: "v"}, ("\n" * 99,) * 20, (10**5000,)]
)
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_the_short_way_to_a_short_text_leads_to_the_same(value: Any, depth: int) -> None:
    pieces = "".join(_pieces(value, 1024, depth))
    assert bounded_repr(value, depth=depth) == (pieces if len(pieces) <= 1024 else pieces[:1021] + "...")


def test_ids_are_random_uuids() -> None:
    made = [new_id() for _ in range(1000)]
    assert len(set(made)) == 1000
    for text in made:
        found = uuid.UUID(text)
        assert (str(found), found.version, found.variant) == (text, 4, uuid.RFC_4122)
    assert {text[19] for text in made} == set("89ab")


class Date(datetime):
    """kombu knows how to write it: as what it derives from."""


ANYTHING: list[Any] = [
    *("text", "ü\u2028\ud800", 1, 1.5, float("inf"), None, True, [1, (2, 3)], {"k": {1: "v"}}, b"bytes", b"\xff"),
    *(Date(2030, 1, 1), uuid.UUID(int=7), Decimal("1.10"), UTC.utcoffset(None)),
]


@pytest.mark.parametrize("value", ANYTHING)
def test_json_is_what_kombu_would_write(value: Any) -> None:
    from kombu.exceptions import EncodeError
    from kombu.serialization import dumps

    body = [(value,), {"k": value}, dict.fromkeys(("callbacks", "errbacks", "chain", "chord"))]
    try:
        content_type, encoding, text = dumps(body, serializer="json")
    except EncodeError as exc:
        with pytest.raises(EncodeError, match=re.escape(str(exc))):
            encode_task("t", "n", (value,), {"k": value})
        return
    message = encode_task("t", "n", (value,), {"k": value})
    assert (message.body, message.content_type) == (text.encode(), content_type)
    assert message.content_encoding == encoding


def test_another_serializer_that_is_registered_as_json_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    from kombu.serialization import codec, registry

    assert encode_task("t", "n", (1,)).content_type == "application/json"
    monkeypatch.setitem(registry._encoders, "json", codec("application/x-mine", "ascii", lambda value: "mine"))
    message = encode_task("t", "n", (1,))
    assert (message.body, message.content_type, message.content_encoding) == (b"mine", "application/x-mine", "ascii")
