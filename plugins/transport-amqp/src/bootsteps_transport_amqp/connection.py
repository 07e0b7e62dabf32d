# mypy: disable-error-code="no-untyped-call,misc"
"""py-amqp's connection, which reads and writes in large pieces."""

from __future__ import annotations

import errno
import select
import socket
import struct
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic
from typing import Any

from amqp.method_framing import frame_writer
from kombu.transport import pyamqp

from bootsteps_transport_amqp.channel import Channel
from bootsteps_transport_amqp.delaying import Delays
from bootsteps_transport_amqp.reading import DELIVER, FRAME, FRAME_OVERHEAD, METHOD, Deliveries

__all__ = ["FLUSH_AFTER_S", "Connection"]

#: Read at once.
CHUNK = 32768
#: Written at once, at least, while the loop collects.
WRITE_AT = 65536
#: Of a frame that py-amqp's own writer makes.
FRAME_MOST = 16384
#: Acknowledgements out of order wait so long for those before them.
FLUSH_AFTER_S = 0.005
#: On a loop no write waits longer.
WRITE_S = 10
#: A broker short of memory or disk reads nothing more from whoever publishes. py-amqp gives a connection up when that
#: takes a second, and what was on its way is lost. We wait so long, in seconds, or the `write_timeout`; on a
#: loop `WRITE_S`.
PATIENCE_S = 30
#: Nothing to read now; a socket whose SO_RCVTIMEO is over says the same.
NOTHING = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EINTR, errno.ENOENT}


def _limit(seconds: float) -> dict[int, int]:
    """Return the socket's option for how long the broker may not take what was written."""
    return {socket.TCP_USER_TIMEOUT: int(seconds * 1000)} if hasattr(socket, "TCP_USER_TIMEOUT") else {}


class _Small:
    """A connection, of which py-amqp's writer knows a smaller frame: it keeps memory of that size, 128 KiB else.

    Mostly it writes methods; larger bodies, which are mostly written without it, are parted.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        #: The writer counts here what `Connection.write` counts.
        self.bytes_sent = 0

    @property
    def frame_max(self) -> int:
        """Bytes."""
        return min(int(self._connection.frame_max), FRAME_MOST)


def _writer(connection: Connection, _: Any) -> Callable[..., None]:
    """Return what writes a method, and with `content` a message: py-amqp's writer of small frames, mostly."""
    small = frame_writer(_Small(connection), connection)

    def write(kind: int, channel: int, signature: Any, args: bytes | None, content: Any) -> None:
        fits = args is None or len(args) < FRAME_MOST - 2 * FRAME_OVERHEAD
        (small if fits else frame_writer(connection, connection))(kind, channel, signature, args, content)

    return write


class Connection(pyamqp.Connection):
    """A connection to RabbitMQ.

    Without a loop frames are written as they are made. On a loop (`collecting`) they are collected and written at the
    end of its turn, or before an answer is waited for.

    While an answer is waited for (`answers_only`) nothing is delivered: py-amqp knows one who waits for each kind of
    answer, so a consumer that asked the broker something meanwhile would take the answer, and its own would be lost.
    """

    Channel = Channel

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # py-amqp's writer makes the frames, and thinks that this connection is the socket.
        kwargs.setdefault("frame_writer", _writer)
        queue_type = kwargs.pop("native_delayed_delivery_queue_type", "quorum")
        #: Seconds to wait for a broker that reads nothing.
        self._patience_s: float = kwargs.get("write_timeout") or PATIENCE_S
        kwargs["socket_settings"] = {**_limit(self._patience_s), **(kwargs.get("socket_settings") or {})}
        super().__init__(*args, **kwargs)
        #: The broker has said that it takes nothing at present.
        self.blocked = False
        #: What waits in the broker for later.
        self.delays = Delays(self, queue_type)
        self._buf = b""
        self._pos = 0
        #: What came after that, while there was more in it than a part of a frame.
        self._further: deque[bytes] = deque()
        self._deliveries = Deliveries()
        self._answers_only = 0
        #: What came while an answer was waited for: channel, callback, message.
        self._held: deque[tuple[pyamqp.Channel, Callable[[Any], object], Any]] = deque()
        self._out: list[bytes] = []
        self._out_size = 0
        self._lock = threading.RLock()
        self._thread = 0
        #: Called when something waits to be written or acknowledged.
        self.wake_later: Any = None
        #: Channels with acknowledgements that were not sent.
        self.unsent: set[Channel] = set()

    def Transport(self, *args: Any, **kwargs: Any) -> Any:
        """Return what py-amqp connects by."""
        made = super().Transport(*args, **kwargs)
        if made.host.isascii():  # for a text Python imports the tables of IDNA and of Unicode, half a megabyte
            made.host = made.host.encode()
        return made

    def connect(self, callback: Any = None) -> Any:
        self._buf, self._pos = b"", 0
        self._further.clear()
        self._held.clear()
        return super().connect(callback)

    # -- write

    @property
    def collecting(self) -> bool:
        """Frames are collected."""
        return self.wake_later is not None

    def collect_frames(self, wake_later: Any) -> None:
        """Collect frames from now on. `wake_later()` has `flush` called soon."""
        self._thread, self.wake_later = threading.get_ident(), wake_later
        sock = self.transport.sock
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", WRITE_S, 0))
        for option, value in _limit(WRITE_S).items():
            sock.setsockopt(socket.IPPROTO_TCP, option, value)

    def stop_collecting(self) -> None:
        """Write what was collected, and frames as they are made from now on."""
        try:
            self.flush()
        finally:
            self.wake_later = None

    def write(self, frames: bytes | memoryview) -> None:
        """Write frames, or collect them."""
        self.bytes_sent += 1
        if self.wake_later is None:
            self._send(frames)
            return
        with self._lock:
            first = not self._out
            self._out.append(bytes(frames))
            self._out_size += len(frames)
        if self._out_size >= WRITE_AT or threading.get_ident() != self._thread:
            self.flush()
        elif first:
            self.wake_later()

    @contextmanager
    def gathering(self) -> Iterator[None]:
        """Write what is made in this block in large pieces."""
        if self.collecting:
            yield
            return
        self._thread, self.wake_later = threading.get_ident(), lambda: None
        try:
            yield
        finally:
            self.stop_collecting()

    def flush(self, eager: bool = True) -> None:
        """Write what was collected, and acknowledgements; unless `eager` those out of order may wait for others."""
        for channel in list(self.unsent):
            channel.send_acks(eager)
        if self._out:
            with self._lock:
                out, self._out, self._out_size = self._out, [], 0
                self._send(b"".join(out))

    def _send(self, frames: bytes | memoryview) -> None:
        transport = self._transport
        if transport is None or transport.sock is None:
            raise pyamqp.amqp.RecoverableConnectionError("connection already closed")
        try:
            with self._lock:
                transport.write(frames)
        except OSError:
            transport.connected = False  # a part may be written: nothing may follow, also where only time was over
            raise

    # -- read

    def drain_events(self, timeout: float | None = None) -> None:
        """Deliver what is there, waiting for the first. Raises `socket.timeout` after `timeout` seconds without one."""
        if self.collecting:
            self.flush()
        deadline = None if timeout is None else monotonic() + timeout
        while not self.dispatch():
            self._fill(None if deadline is None else max(0.0, deadline - monotonic()))

    def blocking_read(self, timeout: float | None = None) -> bool:
        """Deliver what is there, waiting for some bytes."""
        if self.dispatch():
            return True
        self._fill(timeout)
        return self.dispatch()

    @contextmanager
    def answers_only(self) -> Iterator[None]:
        """What is read in this block is not delivered; it is by the next `drain_events`, or on the loop."""
        self._answers_only += 1
        try:
            yield
        finally:
            self._answers_only -= 1

    def deliver(self, channel: pyamqp.Channel, callback: Callable[[Any], object], message: Any) -> None:
        """Deliver a message, or keep it until it may be."""
        if self._answers_only:
            self._held.append((channel, callback, message))
        else:
            callback(message)

    def deliver_held(self) -> bool:
        """Deliver what was kept; False if that was nothing."""
        delivered = False
        while self._held and not self._answers_only:
            _, callback, message = self._held.popleft()
            callback(message)
            delivered = True
        return delivered

    def drop_held(self, channel: pyamqp.Channel) -> None:
        """Forget what was kept for a channel that is closed."""
        if self._held:
            self._held = deque(held for held in self._held if held[0] is not channel)

    @property
    def has_unread(self) -> bool:
        """Something was received and not looked at, or not delivered."""
        return self._unread or bool(self._held)

    @property
    def _unread(self) -> bool:
        return self._pos < len(self._buf) or bool(self._further)

    def receive(self) -> bool:
        """Take in what was received, without waiting; False if that was nothing."""
        try:
            self._fill(0.0)
        except TimeoutError:
            return False
        return True

    def hear(self) -> None:
        """Deal with what was received, without waiting. Delivers nothing."""
        if self._is_quiet():
            return
        with self.answers_only():
            while self.receive() or self._unread:
                if not self.dispatch():
                    break

    def _is_quiet(self) -> bool:
        """Nothing was received, as before nearly each message that is published alone: EAGAIN would take longer.

        Of TLS only a read can tell.
        """
        if self._unread or self.ssl or not self.connected:
            return False
        incoming = select.poll()
        incoming.register(self.transport.sock, select.POLLIN)
        return not incoming.poll(0)

    def wait_while_blocked(self) -> None:
        """Wait until the broker takes messages again. Raises `RecoverableConnectionError` when that takes too long."""
        deadline = monotonic() + self._patience_s
        while self.blocked:
            try:
                with self.answers_only():
                    self.drain_events(timeout=max(0.0, deadline - monotonic()))
            except TimeoutError as exc:
                what = f"nothing was taken for {self._patience_s:g} s: the broker is short of memory or disk (its log)"
                raise pyamqp.amqp.RecoverableConnectionError(what) from exc

    def _on_blocked(self) -> Any:
        self.blocked = True
        return super()._on_blocked()

    def _on_unblocked(self) -> Any:
        self.blocked = False
        return super()._on_unblocked()

    def _fill(self, timeout: float | None) -> None:
        """Take in some bytes. Raises `socket.timeout`."""
        transport = self.transport
        if not transport.connected or transport.sock is None:
            raise pyamqp.amqp.RecoverableConnectionError("Socket was disconnected")
        try:
            if timeout == 0.0 and not self.ssl:
                chunk = transport.sock.recv(CHUNK, socket.MSG_DONTWAIT)
            else:
                chunk = self._wait_for_some(transport, timeout)
        except TimeoutError:
            raise
        except OSError as exc:
            if exc.errno in NOTHING:
                raise TimeoutError from exc
            transport.connected = False
            raise
        if not chunk:
            transport.connected = False
            raise OSError("Server unexpectedly closed connection")
        self.bytes_recv += 1
        self._further.append(chunk)

    def _take_further(self) -> None:
        """Go on with what came after the present buffer, of which not more than a part of a frame is left.

        One piece at a time: half a megabyte in one would stay with the process.
        """
        self._buf, self._pos = self._buf[self._pos :] + self._further.popleft(), 0

    def _wait_for_some(self, transport: Any, timeout: float | None) -> bytes:
        with transport.having_timeout(timeout):
            while True:
                try:
                    return bytes(transport.sock.recv(CHUNK))
                except OSError as exc:
                    # Where no timeout was asked for, that of the socket (`read_timeout`) is none of the connection.
                    if timeout is not None or exc.errno not in NOTHING:
                        raise

    def dispatch(self, most: int = sys.maxsize) -> bool:
        """Deliver the messages that were received, up to the first frame of another kind; False if there was nothing.

        What comes after that may depend on what its receiver does with it: a consumer is registered after the answer.
        `most` messages at once, and what was held back before.
        """
        handled = False
        while most > 0:
            if self._held and self.deliver_held():
                handled = True
            buf, pos = self._buf, self._pos
            after = len(buf) + 1
            if len(buf) - pos >= FRAME_OVERHEAD:
                kind, number, size = FRAME(buf, pos)
                after = pos + size + FRAME_OVERHEAD
            if after > len(buf):
                if not self._further:
                    return handled
                self._take_further()
                continue
            if kind == METHOD and buf.startswith(DELIVER, pos + 7) and self.channels is not None:
                found = self._deliveries.read(self.channels, buf, pos, self.frame_max - FRAME_OVERHEAD)
                if found == -1:
                    if not self._further:
                        return handled
                    self._take_further()
                    continue
                if found:
                    most -= 1
                    callback, message, self._pos = found
                    if self._answers_only:
                        self._held.append((message.channel, callback, message))
                    else:
                        callback(message)
                    handled = True
                    continue
            self._pos = after
            if buf[after - 1] != 0xCE:
                raise pyamqp.amqp.exceptions.UnexpectedFrame(f"a frame ends with {buf[after - 1]:#04x}, not 0xce")
            if self.on_inbound_frame((kind, number, buf[pos + 7 : after - 1])):
                return True
        return handled

    def collect(self) -> None:
        self.wake_later = None
        self.unsent.clear()
        self._out.clear()
        self._held.clear()
        self._further.clear()
        super().collect()
