-- Keeps the session id of a conversation, and at most so many of them.
-- KEYS  the hash of session ids, the zset of conversations by time
-- ARGV  conversation, session id, the most sessions
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
redis.call('ZADD', KEYS[2], tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000), ARGV[1])
local over = redis.call('ZCARD', KEYS[2]) - tonumber(ARGV[3])
if over > 0 then
    local oldest = redis.call('ZPOPMIN', KEYS[2], over)
    for i = 1, #oldest, 2 do
        redis.call('HDEL', KEYS[1], oldest[i])
    end
end
return over
