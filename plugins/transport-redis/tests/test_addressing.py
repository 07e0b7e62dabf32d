# mypy: disable-error-code="no-untyped-call"
"""Where a server is, by kombu's connection."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from kombu import Connection as KombuConnection

from bootsteps_redis_wire import Address
from bootsteps_transport_redis import Transport
from bootsteps_transport_redis.addressing import address_of, database


def address(url: str, ssl: Any = False, **options: Any) -> Address | None:
    client = KombuConnection(url, transport=Transport, ssl=ssl)
    channel = Transport.Channel.__new__(Transport.Channel)
    channel.connection = client.transport
    for name, value in options.items():
        setattr(channel, name, value)
    return address_of(channel)


def test_a_url_is_read_as_kombu_reads_it() -> None:
    found = address("redis://anna:geh%2Feim@h:1/2", socket_timeout=3, socket_keepalive=True)
    assert found is not None
    assert (found.host, found.port, found.db, found.username, found.password) == ("h", 1, 2, "anna", "geh/eim")
    assert (found.timeout, found.connect_timeout, found.keepalive, str(found)) == (3, 5.0, True, "h:1")
    local = address("redis+socket:///tmp/r.sock?virtual_host=3")
    assert local is not None
    assert (local.path, local.db) == ("/tmp/r.sock", 3)
    assert address("redis://") == Address("127.0.0.1", 6379, timeout=5.0, connect_timeout=5.0)
    with pytest.raises(ValueError, match="not '/mine'"):
        database("/mine")


def test_what_only_redis_py_can_is_left_to_it() -> None:
    assert address("rediss://h/0", ssl={"ssl_cert_reqs": "required"}) is None
    assert address("redis+socket:///tmp/r.sock?health_check_interval=5") is None


def test_redis_py_is_not_imported_where_it_is_not_needed(url: str) -> None:
    code = f"""
import sys
from kombu import Connection, Consumer, Queue
with Connection({url!r}, transport="bootsteps_transport_redis:Transport") as con:
    with Consumer(con.channel(), [Queue("letters")], on_message=print):
        try:
            con.drain_events(timeout=0.1)
        except TimeoutError:
            print(sorted({{"redis", "asyncio"}} & sys.modules.keys()))
"""
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True, timeout=60)
    assert done.stdout == "[]\n", done.stderr
