"""What stands in Redis (wire reference 15.4): keys, values, and the script that writes them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from bootsteps.errors import SettingError
from bootsteps_tasks.backend import decode, encode, encode_result
from bootsteps_tasks.repr import bounded_repr

__all__ = ["STORE", "decode_meta", "encode_meta", "key_prefix"]

#: KEYS are those of a batch; ARGV is the time to live in milliseconds (0: for ever), then for each key what must stand
#: there ("" for nothing) and what shall. Writes and publishes all, or nothing when some key holds something else:
#: returns then the numbers (from 1) and values of those keys, so that the caller can look which of them are final.
#: Only the caller can: Lua reads no pickle, and its JSON stops at a depth of 1,000.
STORE = """
local other = {}
for i, key in ipairs(KEYS) do
  local old = redis.call('GET', key) or ''
  if old ~= ARGV[2 * i] then
    other[#other + 1] = i
    other[#other + 1] = old
  end
end
if #other > 0 then
  return other
end
for i, key in ipairs(KEYS) do
  local value = ARGV[2 * i + 1]
  if ARGV[1] == '0' then
    redis.call('SET', key, value)
  else
    redis.call('PSETEX', key, ARGV[1], value)
  end
  redis.call('PUBLISH', key, value)
end
return other
"""

#: How a value begins that Celery (5.7) compressed; then the compression's MIME type, a zero byte, and the body.
COMPRESSED = b"\x00celery-compressed\x00"


def key_prefix(global_keyprefix: Any, what: str = "task") -> str:
    """Return what stands before a task's id in its key, which is also its channel; or a group's (`what="taskset"`).

    Raises `SettingError`.
    """
    if not isinstance(global_keyprefix, str):
        fault = f"result_backend_transport_options: global_keyprefix is {global_keyprefix!r}, not a text"
        raise SettingError(fault, ("result backend redis (bootsteps-result-redis)",), "global_keyprefix='staging:'")
    if global_keyprefix and global_keyprefix[-1] not in ":_-.":
        global_keyprefix += "_"
    return f"{global_keyprefix}celery-{what}-meta-"


def encode_meta(meta: Mapping[str, Any], serializer: str) -> bytes:
    """Return the value. A result that cannot be encoded becomes a FAILURE, arguments that cannot their `repr`."""
    try:
        return encode(dict(meta), serializer)
    except Exception:
        # Whatever a value's own code raises.
        meta, _ = encode_result(meta, serializer)
        texts = {name: bounded_repr(meta[name], 200) for name in ("args", "kwargs") if name in meta}
        return encode({**meta, **texts}, serializer)


def decode_meta(value: bytes, serializer: str, accept: Collection[str]) -> dict[str, Any]:
    """Return the meta object. Raises kombu's `ContentDisallowed` or `DecodeError`."""
    if value.startswith(COMPRESSED):
        from kombu.compression import decompress

        content_type, _, body = value.removeprefix(COMPRESSED).partition(b"\x00")
        value = decompress(body, content_type.decode())
    found: dict[str, Any] = decode(value, serializer, accept)
    # Null in what Celery stores outside a task, e.g. when it revokes.
    return {**found, "children": found.get("children") or []}
