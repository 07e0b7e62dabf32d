"""Fanout on more than one channel of a connection, and queues that outlived their consumers."""

from __future__ import annotations

import time
from typing import Any
from uuid import uuid4

import pytest
from kombu import Connection, Exchange, Producer, Queue

from bootsteps_transport_redis.transport import Transport

redis = pytest.importorskip("redis")


def connected(url: str) -> Any:
    return Connection(url, transport=Transport)


def test_each_channel_of_a_connection_reaches_the_listeners_and_tells_how_many(redis_url: str) -> None:
    name = f"fanout-{uuid4()}"
    exchange = Exchange(name, "fanout", durable=False)
    with connected(redis_url) as hears, connected(redis_url) as speaks:
        got: list[Any] = []
        consumer = hears.Consumer([Queue(name, exchange)], callbacks=[lambda body, message: got.append(body)])
        with consumer:
            for number in range(3):
                channel = speaks.channel()
                deadline = time.monotonic() + 5
                while not channel.heard_by and time.monotonic() < deadline:
                    Producer(channel, exchange).publish(number)
                assert channel.heard_by == 1
                hears.drain_events(timeout=5)
        assert sorted(set(got)) == [0, 1, 2]


def test_a_queue_that_expired_leaves_no_binding(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from bootsteps_transport_redis import expiring

    monkeypatch.setattr(expiring, "LEAST_MS", 50)
    name = f"expiring-{uuid4()}"
    queue = Queue(name, Exchange(name, "direct", durable=False), routing_key="key", expires=0.02)
    with connected(redis_url) as killed, connected(redis_url) as other, redis.Redis.from_url(redis_url) as admin:
        channel = killed.channel()
        queue(channel).declare()
        channel.expire_queue(name, 60.0)
        Producer(channel).publish("unread", exchange=name, routing_key="key")
        assert admin.scard(f"_kombu.binding.{name}") == 1
        sweeper, deadline = other.channel(), time.monotonic() + 5
        while admin.exists(f"_kombu.binding.{name}") and time.monotonic() < deadline:
            sweeper.drop_overdue()
        assert not admin.exists(f"_kombu.binding.{name}", name)
        assert not [entry for entry in admin.zrange("_bootsteps.expiring", 0, -1) if name.encode() in entry]
