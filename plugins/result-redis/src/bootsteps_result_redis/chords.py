"""Chords in Redis, counted together with Celery 5.7's workers (wire reference 16.1)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from time import sleep
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from bootsteps_redis_wire import Command, NoScript, script_name
from bootsteps_tasks.backend import Claim, Part, decode, encode

if TYPE_CHECKING:
    from bootsteps import Settings
    from bootsteps_result_redis.connection import Connections

__all__ = ["Chords"]

#: KEYS: .j .t .s .d, the group itself, .c; ARGV: id, member, "1" if ordered, score, seconds to keep the count, seconds
#: to keep the group, seconds of a claim, token. Counts a part once, and claims the chord if it is complete. Returns the
#: state of the claim: `done`, `mine`, `taken`, or `open` while parts are missing or nobody has said how many they are.
RETURN = """
local parts, added, size, seen, kept, claim = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
if redis.call('GET', claim) == 'done' then
  return 'done'
end
if redis.call('SADD', seen, ARGV[1] .. ':' .. ARGV[4]) == 1 then
  if ARGV[3] == '1' then
    redis.call('ZADD', parts, ARGV[4], ARGV[2])
  else
    redis.call('RPUSH', parts, ARGV[2])
  end
end
if ARGV[5] ~= '0' then
  for number = 1, 4 do
    redis.call('EXPIRE', KEYS[number], ARGV[5])
  end
end
if ARGV[6] ~= '0' then
  redis.call('EXPIRE', kept, ARGV[6])
end
local count = redis.call(ARGV[3] == '1' and 'ZCARD' or 'LLEN', parts)
local wanted = redis.call('GET', size)
if not wanted or count ~= tonumber(wanted) + tonumber(redis.call('GET', added) or 0) then
  return 'open'
end
if redis.call('SET', claim, ARGV[8], 'NX', 'EX', ARGV[7]) then
  return 'mine'
end
return 'taken'
"""

#: KEYS: .c .s; ARGV: token, seconds. Keeps a claim for longer, or takes it again if it ran out and nobody has it.
EXTEND = """
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then
  return redis.call('EXPIRE', KEYS[1], ARGV[2])
end
if not holder and redis.call('EXISTS', KEYS[2]) == 1 then
  redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
  return 1
end
return 0
"""

#: KEYS: .c and what is to be deleted; ARGV: token, seconds. Marks a chord of ours as done.
FINISH = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
redis.call('DEL', unpack(KEYS, 2))
redis.call('SET', KEYS[1], 'done', 'EX', ARGV[2])
return 1
"""

#: Seconds between two looks at a claim that somebody else holds.
LOOK_S = 0.05
#: Seconds for which a chord that is done is remembered, for parts that return again.
DONE_S = 300


class Chords:
    """Counts parts. `connections` returns those of this process."""

    def __init__(
        self, connections: Callable[[], Connections], group_prefix: str, conf: Settings, accept: frozenset[str]
    ) -> None:
        options: Mapping[str, Any] = conf["result_backend_transport_options"]
        self._connections = connections
        self._prefix = group_prefix
        self._serializer: str = conf["result_serializer"]
        self._accept = accept
        self._ordered = bool(options.get("result_chord_ordered", True))
        self._group_s = round(conf["result_expires"] or 0)
        chord_s = conf["result_chord_expires"]
        self._chord_s = self._group_s if chord_s is None else round(chord_s)
        self._claim_s = max(5, int(2 * (conf["result_chord_join_timeout"] or 5.0)))
        #: Enough for the body to be published to a broker that is slow to answer.
        self._publish_s = self._claim_s + 4 * int(conf["broker_connection_timeout"] or 0)

    def begin(self, group_id: str, size: int, tree: Any) -> None:
        """See `ChordBackend.begin_chord`."""
        base = self._prefix + group_id
        expiry = ("EX", self._chord_s) if self._chord_s else ()
        tree_kept: list[Command] = []
        if tree is not None:
            tree_kept.append(("SET", base, encode({"result": tree}, self._serializer), *expiry))
        counted = ("DEL", f"{base}.c"), ("SET", f"{base}.s", size, *expiry)
        self._connections().pipeline(("MULTI",), *tree_kept, *counted, ("EXEC",))

    def add(self, group_id: str) -> None:
        """See `ChordBackend.add_to_chord`."""
        self._connections().call("INCR", f"{self._prefix}{group_id}.t")

    def return_parts(self, parts: Sequence[Part]) -> list[Claim]:
        """See `ChordBackend.return_parts`."""
        token, found = uuid4().hex, list[Claim]()
        for part, state in zip(parts, self._count(parts, token), strict=True):
            while state == "taken":
                # The holder publishes the body, or has died: then the claim runs out, and this part is the last chance.
                if any(claim.part.group_id == part.group_id for claim in found):
                    break
                sleep(LOOK_S)
                [state] = self._count([part], token)
            if state == "mine" and self._extend(part, token):
                found.append(self._claim(part, token))
        return found

    def finish(self, claim: Claim) -> None:
        """See `ChordBackend.finish_chord`."""
        base = self._prefix + claim.part.group_id
        keys = [f"{base}.{suffix}" for suffix in "cjtsd"]
        self._connections().script(FINISH, [*keys, base], [claim.token, DONE_S])

    def _count(self, parts: Sequence[Part], token: str) -> list[str]:
        """Count parts in one round trip."""
        connections = self._connections()
        commands = [self._counting(part, token) for part in parts]
        try:
            states = connections.pipeline(*commands)
        except NoScript:
            # Those that were counted before the script was lost count once all the same.
            connections.call("SCRIPT", "LOAD", RETURN)
            states = connections.pipeline(*commands)
        return [state.decode() for state in states]

    def _counting(self, part: Part, token: str) -> Command:
        base = self._prefix + part.group_id
        keys = [f"{base}.j", f"{base}.t", f"{base}.s", f"{base}.d", base, f"{base}.c"]
        member = encode([1, part.task_id, part.state, part.result], self._serializer)
        score = "+inf" if part.place is None else part.place
        arguments = [part.task_id, member, int(self._ordered), score, self._chord_s, self._group_s]
        return ("EVALSHA", script_name(RETURN), len(keys), *keys, *arguments, self._claim_s, token)

    def _extend(self, part: Part, token: str) -> bool:
        base = self._prefix + part.group_id
        return bool(self._connections().script(EXTEND, [f"{base}.c", f"{base}.s"], [token, self._publish_s]))

    def _claim(self, part: Part, token: str) -> Claim:
        base, read = self._prefix + part.group_id, "ZRANGE" if self._ordered else "LRANGE"
        members, kept = self._connections().pipeline((read, f"{base}.j", 0, -1), ("GET", base))
        results = [tuple(self._decode(member)[1:]) for member in members]
        return Claim(part, token, results, None if kept is None else self._decode(kept)["result"])

    def _decode(self, value: bytes) -> Any:
        return decode(value, self._serializer, self._accept)
