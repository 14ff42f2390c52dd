-- The ledger of one client, in one call that no other interrupts. The rules are those of `account.rs`, and the windows
-- those of `window.rs`; tests run both on the same turns and times.
--
-- KEYS[1]  the prefix of the client's keys
-- ARGV     operation, time ('' for the server's), owner, its lease in ms, id of the reservation, input, output, limits;
--          the output of `extend` is the most tokens of the slice
--
-- PREFIX:open           hash of the open reservations: id -> owner input output time
-- PREFIX:spent:PERIOD   hash of a period's buckets: start:i and start:o -> tokens
-- PREFIX:periods        set of the periods that count
-- PREFIX:done:ID        hash of what a closed reservation has spent
local DAY = 86400000
local MIN_SLICE, MAX_SLICE, SLICE_PART = 16, 256, 16
local KEPT_DAYS, KEPT_MONTHS, KEPT_ROLLING = 62, 26, 150
local DONE_MS, REAPED_MS = 3600000, 86400000

local prefix, operation = KEYS[1], ARGV[1]
local owner, lease, id = ARGV[3], ARGV[4], ARGV[5]
local input, output = tonumber(ARGV[6]), tonumber(ARGV[7])
local limits = cjson.decode(ARGV[8])
local now = tonumber(ARGV[2])
if not now then
    local time = redis.call('TIME')
    now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

-- The start of a month: days from civil, as in Howard Hinnant's "chrono-Compatible Low-Level Date Algorithms".
local function month_start(year, month)
    if month > 12 then
        year, month = year + 1, month - 12
    end
    if month <= 2 then
        year = year - 1
    end
    local era = math.floor(year / 400)
    local year_of_era = year - era * 400
    local day_of_year = math.floor((153 * ((month + 9) % 12) + 2) / 5)
    local day_of_era = year_of_era * 365 + math.floor(year_of_era / 4) - math.floor(year_of_era / 100) + day_of_year
    return (era * 146097 + day_of_era - 719468) * DAY
end

local function month_of(time)
    local days = math.floor(time / DAY) + 719468
    local era = math.floor(days / 146097)
    local day = days - era * 146097
    local year = math.floor((day - math.floor(day / 1460) + math.floor(day / 36524) - math.floor(day / 146096)) / 365)
    local day_of_year = day - (365 * year + math.floor(year / 4) - math.floor(year / 100))
    local shifted = math.floor((5 * day_of_year + 2) / 153)
    local month = shifted < 10 and shifted + 3 or shifted - 9
    year = year + era * 400
    return month <= 2 and year + 1 or year, month
end

-- Returns the bucket of a time, the first bucket that counts, and the end of those that do.
local function window(period, time)
    if period == 0 then
        local day = time - time % DAY
        return day, day, day + DAY
    elseif period == -1 then
        local year, month = month_of(time)
        local start = month_start(year, month)
        return start, start, month_start(year, month + 1)
    end
    local length = period * 1000
    local size = math.ceil(length / 60)
    local earliest = math.max(time - length, 0)
    return time - time % size, earliest - earliest % size, math.huge
end

local function whole(number)
    return string.format('%.0f', number)
end

local function pairs_of(key)
    local flat, fields = redis.call('HGETALL', key), {}
    for i = 1, #flat, 2 do
        fields[flat[i]] = flat[i + 1]
    end
    return fields
end

local function spent_key(period)
    return prefix .. ':spent:' .. whole(period)
end

-- Returns the buckets of a period: start -> {input, output}.
local function buckets(period)
    local found = {}
    for field, tokens in pairs(pairs_of(spent_key(period))) do
        local start, kind = string.match(field, '^(%d+):([io])$')
        start = tonumber(start)
        found[start] = found[start] or {i = 0, o = 0}
        found[start][kind] = tonumber(tokens)
    end
    return found
end

local function forget_old(period, kept)
    local key = spent_key(period)
    if redis.call('HLEN', key) <= 2 * kept then
        return
    end
    local starts = {}
    for start in pairs(buckets(period)) do
        starts[#starts + 1] = start
    end
    table.sort(starts)
    for i = 1, #starts - kept do
        redis.call('HDEL', key, whole(starts[i]) .. ':i', whole(starts[i]) .. ':o')
    end
end

local function add(period, time, tokens_in, tokens_out)
    local key, start = spent_key(period), whole((window(period, time)))
    redis.call('HINCRBY', key, start .. ':i', whole(tokens_in))
    redis.call('HINCRBY', key, start .. ':o', whole(tokens_out))
    if period == 0 then
        forget_old(period, KEPT_DAYS)
        redis.call('PEXPIRE', key, KEPT_DAYS * DAY)
    elseif period == -1 then
        forget_old(period, KEPT_MONTHS)
        redis.call('PEXPIRE', key, KEPT_MONTHS * 31 * DAY)
    else
        forget_old(period, KEPT_ROLLING)
        redis.call('PEXPIRE', key, whole(2 * period * 1000 + DAY))
    end
end

local function spend(time, tokens_in, tokens_out)
    if tokens_in == 0 and tokens_out == 0 then
        return
    end
    for _, period in ipairs(redis.call('SMEMBERS', prefix .. ':periods')) do
        add(tonumber(period), time, tokens_in, tokens_out)
    end
end

local function note_periods()
    redis.call('SADD', prefix .. ':periods', 0, -1)
    for _, limit in ipairs(limits) do
        redis.call('SADD', prefix .. ':periods', whole(limit[1]))
    end
    redis.call('PEXPIRE', prefix .. ':periods', KEPT_MONTHS * 31 * DAY)
end

local function done_of(of)
    local done = pairs_of(prefix .. ':done:' .. of)
    return {i = tonumber(done.i or 0), o = tonumber(done.o or 0), is_settled = done.settled ~= nil}
end

local function set_done(of, tokens_in, tokens_out, is_settled)
    local key = prefix .. ':done:' .. of
    redis.call('HSET', key, 'i', whole(tokens_in), 'o', whole(tokens_out))
    if is_settled then
        redis.call('HSET', key, 'settled', 1)
    end
    redis.call('PEXPIRE', key, is_settled and DONE_MS or REAPED_MS)
end

local function read_open(record)
    local of, tokens_in, tokens_out, time = string.match(record, '^(%S+) (%d+) (%d+) (%d+)$')
    return {owner = of, i = tonumber(tokens_in), o = tonumber(tokens_out), time = tonumber(time)}
end

-- Spends the reservations of dead processes, and returns the sums of the others.
local function reserved()
    local sums, alive = {i = 0, o = 0}, {[owner] = true}
    for of_id, record in pairs(pairs_of(prefix .. ':open')) do
        local open = read_open(record)
        if alive[open.owner] == nil then
            alive[open.owner] = redis.call('EXISTS', 'codex-edge:owner:' .. open.owner) == 1
        end
        if alive[open.owner] then
            sums.i, sums.o = sums.i + open.i, sums.o + open.o
        else
            local done = done_of(of_id)
            spend(open.time, open.i, open.o)
            set_done(of_id, done.i + open.i, done.o + open.o, false)
            redis.call('HDEL', prefix .. ':open', of_id)
        end
    end
    return sums
end

local function of_scope(tokens, scope)
    if scope == 'a' then
        return tokens.i + tokens.o
    end
    return scope == 'i' and tokens.i or tokens.o
end

-- Returns the state of each limit.
local function status()
    local held, states, cache = reserved(), {}, {}
    for index, limit in ipairs(limits) do
        local period, scope, max = limit[1], limit[2], limit[3]
        local bucket, first, past = window(period, now)
        cache[period] = cache[period] or buckets(period)
        local spent, oldest = 0, nil
        for start, tokens in pairs(cache[period]) do
            local counted = of_scope(tokens, scope)
            if start >= first and start < past and counted > 0 then
                spent = spent + counted
                oldest = math.min(oldest or start, start)
            end
        end
        local resets = past
        if past == math.huge then
            resets = (oldest or bucket) + math.ceil(period * 1000 / 60) + period * 1000
        end
        local promised = of_scope(held, scope)
        states[index] = {
            index = index,
            scope = scope,
            limit = max,
            spent = spent,
            reserved = promised,
            left = math.max(max - spent - promised, 0),
            resets = resets,
        }
    end
    return states
end

-- Returns the states as an answer: spent, reserved and reset of each.
local function numbers(states)
    local answer = {}
    for _, state in ipairs(states) do
        answer[#answer + 1] = state.spent
        answer[#answer + 1] = state.reserved
        answer[#answer + 1] = state.resets
    end
    return answer
end

local function slice(states, tokens_in, largest)
    local left = nil
    for _, state in ipairs(states) do
        if state.scope ~= 'i' then
            local of_state = state.scope == 'a' and math.max(state.left - tokens_in, 0) or state.left
            left = math.min(left or of_state, of_state)
        end
    end
    if not left then
        return largest
    end
    local part = math.floor(left / SLICE_PART)
    return math.min(math.max(part, MIN_SLICE), largest, left)
end

local function set_open(tokens_in, tokens_out)
    redis.call('SET', 'codex-edge:owner:' .. owner, 1, 'PX', lease)
    local record = owner .. ' ' .. whole(tokens_in) .. ' ' .. whole(tokens_out) .. ' ' .. whole(now)
    redis.call('HSET', prefix .. ':open', id, record)
    redis.call('PEXPIRE', prefix .. ':open', KEPT_MONTHS * 31 * DAY)
end

local function needed(scope)
    if scope == 'a' then
        return input + 1
    end
    return scope == 'i' and math.max(input, 1) or 1
end

local function reserve()
    -- Settled before it came: the sidecar has given it up.
    if done_of(id).is_settled then
        return {'gone'}
    end
    local states, blocking = status(), nil
    for _, state in ipairs(states) do
        if state.left < needed(state.scope) then
            state.is_final = math.max(state.limit - state.spent, 0) < needed(state.scope)
            local is_longer = not blocking
                or (state.is_final and not blocking.is_final)
                or (state.is_final == blocking.is_final and state.resets >= blocking.resets)
            if is_longer then
                blocking = state
            end
        end
    end
    if blocking then
        return {blocking.is_final and 'spent' or 'reserved', blocking.index, blocking.resets}
    end
    local first = slice(states, input, MAX_SLICE)
    set_open(input, first)
    for _, state in ipairs(states) do
        state.reserved = state.reserved + of_scope({i = input, o = first}, state.scope)
    end
    return {'tokens', first, unpack(numbers(states))}
end

local function extend()
    if done_of(id).is_settled then
        return {'gone'}
    end
    local states = status()
    local more = slice(states, 0, output)
    if more > 0 then
        -- Absent where the lease of this process had ended, or the server has lost it.
        local record = redis.call('HGET', prefix .. ':open', id)
        local open = record and read_open(record) or {i = 0, o = 0}
        set_open(open.i, open.o + more)
        return {'tokens', more}
    end
    local blocking = nil
    for _, state in ipairs(states) do
        if state.scope ~= 'i' and state.left == 0 and (not blocking or state.resets >= blocking.resets) then
            blocking = state
        end
    end
    return {'spent', blocking.index, blocking.resets}
end

-- A settlement may be sent again after an answer that was lost: what it has spent counts once.
local function settle(is_used_up)
    local done = done_of(id)
    if done.is_settled then
        return {'gone'}
    end
    local record = redis.call('HGET', prefix .. ':open', id)
    if is_used_up then
        output = math.max(output, done.o + (record and read_open(record).o or 0))
    end
    spend(now, math.max(input - done.i, 0), math.max(output - done.o, 0))
    set_done(id, math.max(input, done.i), math.max(output, done.o), true)
    redis.call('HDEL', prefix .. ':open', id)
    return {'tokens', 0}
end

if operation == 'window' then
    local bucket, first, past = window(input, now)
    return {bucket, first, past == math.huge and -1 or past}
end
note_periods()
if operation == 'reserve' then
    return reserve()
elseif operation == 'extend' then
    return extend()
elseif operation == 'settle' then
    return settle(false)
elseif operation == 'settle_used_up' then
    return settle(true)
end
return numbers(status())
