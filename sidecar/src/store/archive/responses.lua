-- Stored responses, in one call that no other interrupts. The rules are those of `responses.rs`: each client sees its own;
-- beyond the limits, the client that keeps most loses its least recently used ones; a conversation keeps the items of
-- responses that were deleted or evicted before it.
--
-- KEYS[1]  the prefix of all keys
-- ARGV     operation, client, id; then those of the operation
--
-- PREFIX:response:CLIENT:ID   hash: document (absent once deleted), items, input, continuable, previous, children, created;
--                             while the response is in progress: document and owner, and cancelled once a client asks
-- PREFIX:bytes                hash: client -> bytes
-- PREFIX:sizes                hash: CLIENT ID -> bytes
-- PREFIX:expiry               zset of CLIENT ID by the end of the last conversation that continues from it
-- PREFIX:used:CLIENT          zset of ids by last use
local prefix, operation, client, id = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local OVERHEAD, MAX_CHAIN = 512, 100000

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function key_of(of_client, of_id)
    return prefix .. ':response:' .. of_client .. ':' .. of_id
end

local function member_of(of_client, of_id)
    return of_client .. ' ' .. of_id
end

local function used_key(of_client)
    return prefix .. ':used:' .. of_client
end

-- Removes a node and its counts.
local function free(of_client, of_id)
    local member = member_of(of_client, of_id)
    local size = tonumber(redis.call('HGET', prefix .. ':sizes', member) or 0)
    redis.call('HDEL', prefix .. ':sizes', member)
    redis.call('ZREM', prefix .. ':expiry', member)
    redis.call('ZREM', used_key(of_client), of_id)
    redis.call('DEL', key_of(of_client, of_id))
    if redis.call('HINCRBY', prefix .. ':bytes', of_client, -size) <= 0 then
        redis.call('HDEL', prefix .. ':bytes', of_client)
    end
end

-- Takes the response from its id. Its items go with it, unless a conversation continues from them.
local function drop(of_client, of_id)
    local key = key_of(of_client, of_id)
    redis.call('HDEL', key, 'document')
    redis.call('ZREM', used_key(of_client), of_id)
    for _ = 1, MAX_CHAIN do
        local node = redis.call('HMGET', key, 'document', 'children', 'previous')
        if node[1] or tonumber(node[2] or 0) > 0 then
            return
        end
        free(of_client, of_id)
        of_id = node[3]
        if not of_id or of_id == '' then
            return
        end
        key = key_of(of_client, of_id)
        if redis.call('EXISTS', key) == 0 then
            return
        end
        redis.call('HINCRBY', key, 'children', -1)
    end
end

local function purge()
    local expired = redis.call('ZRANGEBYSCORE', prefix .. ':expiry', '-inf', now, 'LIMIT', 0, 1000)
    for _, member in ipairs(expired) do
        local of_client, of_id = string.match(member, '^(%S*) (%S+)$')
        free(of_client, of_id)
    end
end

-- Returns the client with the most responses, or with the most bytes of those that have any; and their sum over all.
local function largest(by_bytes)
    local found, most, sum = nil, 0, 0
    local flat = redis.call('HGETALL', prefix .. ':bytes')
    for i = 1, #flat, 2 do
        local count = redis.call('ZCARD', used_key(flat[i]))
        local amount = by_bytes and tonumber(flat[i + 1]) or count
        sum = sum + amount
        if count > 0 and amount > most then
            found, most = flat[i], amount
        end
    end
    return found, sum
end

local function evict(by_bytes, limit)
    for _ = 1, MAX_CHAIN do
        local found, sum = largest(by_bytes)
        if sum <= limit or not found then
            return
        end
        drop(found, redis.call('ZRANGE', used_key(found), 0, 0)[1])
    end
end

local function expire(key, ttl)
    if ttl > 0 then
        redis.call('PEXPIRE', key, 2 * ttl)
    end
end

local function put(document, items, input, continuable, previous, ttl, max_responses, max_bytes)
    local key, member = key_of(client, id), member_of(client, id)
    local size = #document + #items + OVERHEAD
    purge()
    redis.call('DEL', key)
    redis.call('HSET', key, 'document', document, 'items', items, 'input', input, 'continuable', continuable,
        'previous', previous, 'children', 0, 'created', now)
    redis.call('HSET', prefix .. ':sizes', member, size)
    redis.call('HINCRBY', prefix .. ':bytes', client, size)
    redis.call('ZADD', used_key(client), now, id)
    local expiry = ttl > 0 and now + ttl or '+inf'
    redis.call('ZADD', prefix .. ':expiry', expiry, member)
    if previous ~= '' and redis.call('EXISTS', key_of(client, previous)) == 1 then
        redis.call('HINCRBY', key_of(client, previous), 'children', 1)
    end
    -- The earlier nodes of the conversation stay as long as this one.
    local ancestor = previous
    expire(key, ttl)
    for _ = 1, MAX_CHAIN do
        local ancestor_key = key_of(client, ancestor)
        if ancestor == '' or redis.call('EXISTS', ancestor_key) == 0 then
            break
        end
        redis.call('ZADD', prefix .. ':expiry', expiry, member_of(client, ancestor))
        expire(ancestor_key, ttl)
        ancestor = redis.call('HGET', ancestor_key, 'previous') or ''
    end
    for _, name in ipairs({':bytes', ':sizes', ':expiry', ':used:' .. client}) do
        expire(prefix .. name, ttl)
    end
    evict(false, max_responses)
    evict(true, max_bytes)
end

-- A response in progress has no creation time.
local function is_expired(created, ttl)
    return ttl > 0 and created and tonumber(created) + ttl <= now
end

-- Whether the response can be retrieved.
local function exists(ttl)
    local node = redis.call('HMGET', key_of(client, id), 'document', 'created')
    return node[1] and not is_expired(node[2], ttl)
end

-- Returns whether the response is in progress, its document, and whether a conversation can continue from it; then for
-- each node of the conversation, newest first, its id, its items and the number of items of the request.
local function get(ttl)
    local key = key_of(client, id)
    local node = redis.call('HMGET', key, 'document', 'continuable', 'created', 'owner')
    if not node[1] then
        return {}
    elseif node[4] then
        if redis.call('EXISTS', 'codex-edge:owner:' .. node[4]) == 0 then
            redis.call('DEL', key)
            return {}
        end
        return {'running', node[1]}
    elseif is_expired(node[3], ttl) then
        drop(client, id)
        return {}
    end
    redis.call('ZADD', used_key(client), 'XX', now, id)
    local answer = {'ended', node[1], node[2]}
    local next_id = id
    for _ = 1, MAX_CHAIN do
        local part = redis.call('HMGET', key_of(client, next_id), 'items', 'input', 'previous')
        if not part[1] then
            break
        end
        answer[#answer + 1] = next_id
        answer[#answer + 1] = part[1]
        answer[#answer + 1] = part[2]
        next_id = part[3]
        if next_id == '' then
            break
        end
    end
    return answer
end

if operation == 'put' then
    put(ARGV[4], ARGV[5], ARGV[6], ARGV[7], ARGV[8], tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11]))
    return 1
elseif operation == 'begin' then
    redis.call('HSET', key_of(client, id), 'document', ARGV[4], 'owner', ARGV[5])
    redis.call('PEXPIRE', key_of(client, id), ARGV[6])
    return 1
elseif operation == 'end' then
    if redis.call('HEXISTS', key_of(client, id), 'owner') == 1 then
        redis.call('DEL', key_of(client, id))
    end
    return 1
elseif operation == 'cancel' then
    if redis.call('HEXISTS', key_of(client, id), 'owner') == 1 then
        redis.call('HSET', key_of(client, id), 'cancelled', 1)
    end
    return 1
elseif operation == 'is_cancelled' then
    return redis.call('HEXISTS', key_of(client, id), 'cancelled')
elseif operation == 'get' then
    return get(tonumber(ARGV[4]))
elseif operation == 'exists' then
    return exists(tonumber(ARGV[4])) and 1 or 0
end
-- delete
if redis.call('HEXISTS', key_of(client, id), 'document') == 0 then
    return 0
elseif redis.call('HEXISTS', key_of(client, id), 'owner') == 1 then
    return 2
end
drop(client, id)
return 1
