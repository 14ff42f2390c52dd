-- The filter's checks of API keys and models, in Envoy's Lua.
-- As cheap as possible in Lua, and less strict than codex-edge: the first "model" anywhere in the body counts, also in a
-- nested object.
local KEYS = { ["Bearer @KEY@"] = "default" }
local MODELS = { ["codex-5"] = true, ["codev-5"] = true, ["gpt-5"] = true }

local function reject(handle, status, kind, code)
  handle:respond(
    { [":status"] = status, ["content-type"] = "application/json; charset=utf-8" },
    '{"error":{"message":"Rejected.","type":"' .. kind .. '","param":null,"code":"' .. code .. '"}}')
end

function envoy_on_request(handle)
  local headers = handle:headers()
  local client = KEYS[headers:get("authorization") or ""]
  if not client then
    return reject(handle, "401", "authentication_error", "invalid_api_key")
  end
  headers:replace("x-codex-edge-client", client)
  headers:remove("authorization")
  if headers:get(":method") == "POST" then
    local body = handle:body()
    local text = body and body:getBytes(0, body:length()) or ""
    local at = text:find('"model"', 1, true)
    local model = at and text:match('^"model"%s*:%s*"([^"]*)"', at)
    if not MODELS[model or ""] then
      return reject(handle, "404", "invalid_request_error", "model_not_found")
    end
  end
end
