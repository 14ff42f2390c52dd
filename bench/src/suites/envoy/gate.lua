-- Who calls, and for which model, decided in Envoy's Lua: what our filter does beside CORS and the rate limit.
-- As cheap as Lua allows, and so less than ours: the first "model" anywhere in the body counts, a nested one too.
local KEYS = { ["Bearer @KEY@"] = "default" }
local MODELS = { ["codex-5"] = true, ["codev-5"] = true, ["gpt-5"] = true }

local function refuse(handle, status, kind, code)
  handle:respond(
    { [":status"] = status, ["content-type"] = "application/json; charset=utf-8" },
    '{"error":{"message":"Refused.","type":"' .. kind .. '","param":null,"code":"' .. code .. '"}}')
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local client = KEYS[headers:get("authorization") or ""]
  if not client then
    return refuse(handle, "401", "authentication_error", "invalid_api_key")
  end
  headers:replace("x-codex-edge-client", client)
  headers:remove("authorization")
  if headers:get(":method") == "POST" then
    local body = handle:body()
    local text = body and body:getBytes(0, body:length()) or ""
    local at = text:find('"model"', 1, true)
    local model = at and text:match('^"model"%s*:%s*"([^"]*)"', at)
    if not MODELS[model or ""] then
      return refuse(handle, "404", "invalid_request_error", "model_not_found")
    end
  end
end
