"""What the server does in one atomic step, in Lua. Scores and times are seconds of the server's clock.

A tag is the name of one delivery, `<holder>:<number>`. It is the field in `unacked` and the member of `unacked_index`,
where kombu puts the message's own tag: nothing depends on that, and two copies of a message cannot take each other's
place. What a holder has is also a member of its own set, so that nobody must look through everything when it dies.
"""

from __future__ import annotations

__all__ = ["BIND_FOR_A_TIME", "DEFER", "DROP_BINDINGS", "GIVE_BACK", "PUT_BACK", "RENEW", "RESERVE", "SETTLE", "SWEEP"]

NOW = """
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
"""

#: Forget deliveries, as an acknowledgement does. In chunks: Lua's stack takes some 8,000 arguments.
FORGET = """
local function forget(from, to)
    for first = from, to, 1000 do
        local last = math.min(first + 999, to)
        redis.call('HDEL', KEYS[1], unpack(ARGV, first, last))
        redis.call('ZREM', KEYS[2], unpack(ARGV, first, last))
        redis.call('SREM', KEYS[3], unpack(ARGV, first, last))
    end
end
"""

#: Acknowledge. KEYS: unacked, unacked_index, the holder's set. ARGV: tags.
SETTLE = FORGET + "forget(1, #ARGV)"

#: Acknowledge what is done, then take what is there and register it as unacknowledged, before anybody else can act.
#:
#: KEYS: unacked, unacked_index, the holder's set, leases, then the lists, group after group (a group is a priority).
#: ARGV: holder, number of the first delivery, how many are wanted, 1 if they are to be registered, lists in a group,
#: 1 if the lists of a group share; then for each group how many are wanted of it before all others had theirs (0: no
#: matter); then for each list what ends an entry of `unacked`; then the tags to acknowledge.
#: Returns nil if the holder's lease is lost, else, for each list that gave something, its place (from 1) and messages.
RESERVE = (
    NOW
    + FORGET
    + """
local holder, number, left = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local registered, width, share = ARGV[4] == '1', tonumber(ARGV[5]), ARGV[6] == '1'
local lists = #KEYS - 4
local groups = lists / width
local ends = 6 + groups
forget(ends + lists + 1, #ARGV)
if registered and not redis.call('ZSCORE', KEYS[4], holder) then
    return nil
end

local taken, fields, scores, tags = {}, {}, {}, {}
local stamp = string.format('%.6f', now)

-- Take up to `want` messages of a list; return how many it gave.
local function take(list, want)
    local got = redis.call('RPOP', KEYS[4 + list], want)
    if not got then
        return 0
    end
    taken[#taken + 1] = {list, got}
    if registered then
        local tail = ARGV[ends + list]
        for i = 1, #got do
            local tag = holder .. ':' .. string.format('%d', number)
            number = number + 1
            fields[#fields + 1] = tag
            fields[#fields + 1] = '[' .. got[i] .. tail
            scores[#scores + 1] = stamp
            scores[#scores + 1] = tag
            tags[#tags + 1] = tag
        end
    end
    left = left - #got
    return #got
end

-- Take up to `most` messages of a group: from each list its part, then what is left from those that have more.
local function fill(group, most)
    local first, rich, spent = group * width, {}, left
    for i = 1, width do
        local want = math.min(left, most - (spent - left))
        if want <= 0 then return end
        if share then want = math.ceil(want / (width - i + 1)) end
        if take(first + i, want) == want then rich[#rich + 1] = first + i end
    end
    for _, list in ipairs(rich) do
        local want = math.min(left, most - (spent - left))
        if want <= 0 then return end
        take(list, want)
    end
end

for group = 0, groups - 1 do
    local most = tonumber(ARGV[7 + group])
    if left > 0 then fill(group, most > 0 and most or left) end
end
for group = 0, groups - 1 do
    if left > 0 and tonumber(ARGV[7 + group]) > 0 then fill(group, left) end
end
if #tags > 0 then
    redis.call('HSET', KEYS[1], unpack(fields))
    redis.call('ZADD', KEYS[2], unpack(scores))
    redis.call('SADD', KEYS[3], unpack(tags))
end
return taken
"""
)

#: Put deliveries back into their lists as they came. KEYS: unacked, unacked_index, the holder's set, lists.
#: ARGV: for each delivery its tag, the place of its list (from 1), and how many bytes end its entry. The last one will
#: be the first to be consumed again.
GIVE_BACK = """
local given = 0
for i = 1, #ARGV, 3 do
    local entry = redis.call('HGET', KEYS[1], ARGV[i])
    if entry then
        redis.call('RPUSH', KEYS[3 + tonumber(ARGV[i + 1])], string.sub(entry, 2, -1 - tonumber(ARGV[i + 2])))
        redis.call('HDEL', KEYS[1], ARGV[i])
        given = given + 1
    end
    redis.call('ZREM', KEYS[2], ARGV[i])
    redis.call('SREM', KEYS[3], ARGV[i])
end
return given
"""

#: Put changed messages into lists, each if its delivery was still registered: of several that try, one succeeds.
#: KEYS: unacked, unacked_index, the holder's set, lists. ARGV: RPUSH (to be consumed next) or LPUSH (last), then for
#: each delivery its tag, the place of its list (from 1), and the message. One that goes to several lists stands there
#: several times, one after the other.
PUT_BACK = """
local put, before, there = 0, nil, false
for i = 2, #ARGV, 3 do
    if ARGV[i] ~= before then
        before, there = ARGV[i], redis.call('HDEL', KEYS[1], ARGV[i]) == 1
        if there then put = put + 1 end
    end
    if there then redis.call(ARGV[1], KEYS[3 + tonumber(ARGV[i + 1])], ARGV[i + 2]) end
    redis.call('ZREM', KEYS[2], ARGV[i])
    redis.call('SREM', KEYS[3], ARGV[i])
end
return put
"""

#: Let deliveries wait for their time in `unacked`, held by nobody. KEYS: unacked, unacked_index, the holder's set.
#: ARGV: for each delivery its tag, the tag it has from now on, and its score.
DEFER = """
for i = 1, #ARGV, 3 do
    local entry = redis.call('HGET', KEYS[1], ARGV[i])
    if entry then
        redis.call('HSET', KEYS[1], ARGV[i + 1], entry)
        redis.call('ZADD', KEYS[2], ARGV[i + 2], ARGV[i + 1])
        redis.call('HDEL', KEYS[1], ARGV[i])
        redis.call('ZREM', KEYS[2], ARGV[i])
        redis.call('SREM', KEYS[3], ARGV[i])
    end
end
"""

#: Renew a lease; with a fifth 1 also the scores of all that is held, so that no peer takes it for abandoned.
#: KEYS: leases, the holder's set, unacked_index. ARGV: holder, seconds, 1 to begin a lease, 1 to renew the scores.
#: Returns 1, or 0 if the lease is lost.
RENEW = (
    NOW
    + """
if ARGV[3] ~= '1' and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then
    return 0
end
redis.call('ZADD', KEYS[1], string.format('%.6f', now + tonumber(ARGV[2])), ARGV[1])
if ARGV[4] == '1' then
    local tags, stamp = redis.call('SMEMBERS', KEYS[2]), string.format('%.6f', now)
    for first = 1, #tags, 1000 do
        local scores = {}
        for i = first, math.min(first + 999, #tags) do
            scores[#scores + 1] = stamp
            scores[#scores + 1] = tags[i]
        end
        redis.call('ZADD', KEYS[3], 'XX', unpack(scores))
    end
end
return 1
"""
)

#: Find what must go back to its queue: deliveries whose holder's lease is over, and those of any kind whose score is
#: older than the visibility timeout (kombu's rule; so deferred ones come back, and what a dead kombu worker held).
#: KEYS: unacked, unacked_index, leases, the turn of sweepers. ARGV: visibility timeout, how many at most, the beginning
#: of the names of holders' sets, milliseconds for which nobody else need sweep (0: go on with a sweep).
#: Returns {holder, tag, entry, ...} for each holder, '' for the old ones; nil if it is not our turn.
SWEEP = (
    NOW
    + """
if tonumber(ARGV[4]) > 0 and not redis.call('SET', KEYS[4], '1', 'NX', 'PX', ARGV[4]) then
    return nil
end
local found, left = {}, tonumber(ARGV[2])

local function report(holder, tags)
    if #tags == 0 then return end
    local entries, part = redis.call('HMGET', KEYS[1], unpack(tags)), {holder}
    for i, tag in ipairs(tags) do
        if entries[i] then
            part[#part + 1] = tag
            part[#part + 1] = entries[i]
        else
            redis.call('ZREM', KEYS[2], tag)
            if holder ~= '' then redis.call('SREM', ARGV[3] .. holder, tag) end
        end
    end
    left = left - #tags
    found[#found + 1] = part
end

for _, holder in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 10)) do
    if left > 0 then
        local tags = redis.call('SRANDMEMBER', ARGV[3] .. holder, left)
        if #tags == 0 then redis.call('ZREM', KEYS[3], holder) end
        report(holder, tags)
    end
end
if left > 0 then
    report('', redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - tonumber(ARGV[1]), 'LIMIT', 0, left))
end
return found
"""
)

#: KEYS: an exchange's bindings, the deadlines of kombu's. ARGV: the binding, the exchange, milliseconds. The deadline
#: of an exchange is never brought forward. It is a score in milliseconds: kombu's workers read it, too.
BIND_FOR_A_TIME = (
    NOW
    + """
redis.call('SADD', KEYS[1], ARGV[1])
return redis.call('ZADD', KEYS[2], 'GT', math.floor(now * 1000) + tonumber(ARGV[3]), ARGV[2])
"""
)

#: KEYS: those deadlines. ARGV: what the names of bindings and of bindings for good begin with, how many at most.
#: Deletes the bindings of exchanges whose deadline is over, but for those where a queue is bound for good. Returns how
#: many deadlines were over.
DROP_BINDINGS = (
    NOW
    + """
local late = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', math.floor(now * 1000), 'LIMIT', 0, tonumber(ARGV[3]))
for i = 1, #late do
    local forever = redis.call('EXISTS', ARGV[2] .. late[i]) > 0
    if not forever then redis.call('DEL', ARGV[1] .. late[i]) end
    redis.call('ZREM', KEYS[1], late[i])
end
return #late
"""
)
