"""The official Anthropic client against the chain: messages, streams, the tool loop, images, thinking, structured output,
counts, models, errors and retries. Each response is validated strictly by the types of the client."""

import base64
import json

import anthropic
import httpx2
from anthropic.types import Message, MessageTokensCount, RawMessageStreamEvent
from pydantic import TypeAdapter

from edge import BASE_URL, CONTROL, KEY, LOW_KEY, SLOW_KEY, conversation, fails, model_requests, order, play

HOST = BASE_URL.removesuffix("/v1")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC"
SAY = {"model": "codex-5", "max_tokens": 1024}
TOOL = {"name": "get_weather", "description": "Weather.", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}


def client(key=KEY, **options):
    return anthropic.Anthropic(base_url=HOST, api_key=key, auth_token=None, **({"max_retries": 0, "timeout": 30} | options))


def user(script):
    return [{"role": "user", "content": play(script)}]


claude = client()


def strictly(kind, text):
    """Validates JSON against a type of the client, which its own decoding does not."""
    TypeAdapter(kind).validate_json(text, strict=False)


def creates_and_streams():
    message = claude.messages.create(**SAY, system="Be brief.", messages=user({"text": "Hello there."}))
    assert message.content[0].text == "Hello there." and message.stop_reason == "end_turn"
    assert message.usage.input_tokens > 0 and message._request_id
    with claude.messages.stream(**SAY, messages=user({"text": "Hello there.", "delta_chars": 3})) as stream:
        deltas = list(stream.text_stream)
        final = stream.get_final_message()
    assert "".join(deltas) == final.content[0].text == "Hello there." and len(deltas) > 2
    assert final.usage.output_tokens > 0
    events = list(claude.messages.create(**SAY, messages=user({"text": "Hi."}), stream=True))
    assert [event.type for event in events][:2] == ["message_start", "content_block_start"]
    stopped = claude.messages.create(**SAY, messages=user({"text": "One END two"}), stop_sequences=["END"])
    assert (stopped.stop_reason, stopped.stop_sequence, stopped.content[0].text) == ("stop_sequence", "END", "One ")
    bearer = anthropic.Anthropic(base_url=HOST, api_key=None, auth_token=KEY, max_retries=0)
    assert bearer.messages.create(**SAY, messages=user({"text": "Hi."})).content[0].text == "Hi."


def decodes_strictly():
    script = [{"reasoning": ["Hm."], "encrypted_content": "gAAA"}, {"text": "Yes.", "delta_chars": 2}, {"call": "get_weather", "arguments": {"city": "Oslo"}}]
    body = SAY | {"messages": user(script), "tools": [TOOL], "thinking": {"type": "enabled", "budget_tokens": 2048}}
    headers = {"x-api-key": KEY, "anthropic-version": "2023-06-01"}
    answer = httpx2.post(f"{HOST}/v1/messages", json=body, headers=headers)
    strictly(Message, answer.text)
    assert [block["type"] for block in answer.json()["content"]] == ["thinking", "text", "tool_use"]
    streamed = httpx2.post(f"{HOST}/v1/messages", json=body | {"stream": True}, headers=headers)
    frames = [frame.split("\n") for frame in streamed.text.strip().split("\n\n")]
    for name, data in frames:
        event = data.removeprefix("data: ")
        assert name == f"event: {json.loads(event)['type']}"
        strictly(RawMessageStreamEvent, event)
    assert frames[-1][0] == "event: message_stop"
    count = httpx2.post(f"{HOST}/v1/messages/count_tokens", json={"model": "codex-5", "messages": user([])}, headers=headers)
    strictly(MessageTokensCount, count.text)


def runs_a_tool_loop():
    call = lambda city: {"call": "get_weather", "call_id": f"call_{city}", "arguments": {"city": city}}
    think = {"reasoning": ["Two cities."], "encrypted_content": "gAAA"}
    messages = user([[think, call("Oslo"), call("Rome")], [{"text": "Rome is warmer."}]])
    thinking = {"type": "enabled", "budget_tokens": 2048}
    for _ in range(2):
        with claude.messages.stream(**SAY, messages=messages, tools=[TOOL], thinking=thinking) as stream:
            message = stream.get_final_message()
        messages.append({"role": "assistant", "content": message.content})
        calls = [block for block in message.content if block.type == "tool_use"]
        results = [{"type": "tool_result", "tool_use_id": call.id, "content": f"Mild in {call.input['city']}."} for call in calls]
        messages.append({"role": "user", "content": results})
    assert message.content[-1].text == "Rome is warmer."
    sent = conversation(model_requests()[-1])
    kinds = [item.get("role") or item["type"] for item in sent]
    assert kinds == ["user", "reasoning"] + ["function_call"] * 2 + ["function_call_output"] * 2, kinds
    assert sent[1]["encrypted_content"] == "gAAA"


def reads_images_and_thinks():
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    text = {"type": "text", "text": play({"text": "A dot."})}
    assert base64.b64decode(PIXEL)
    message = claude.messages.create(**SAY, messages=[{"role": "user", "content": [image, text]}])
    assert message.content[0].text == "A dot."
    script = [{"reasoning": ["Hm."], "encrypted_content": "gAAA", "delta_chars": 1}, {"text": "Yes."}]
    shown = claude.messages.create(**SAY, messages=user(script), thinking={"type": "adaptive"})
    assert [block.type for block in shown.content] == ["thinking", "text"] and shown.content[0].thinking == "Hm."
    hidden = claude.messages.create(**SAY, messages=user(script), thinking={"type": "adaptive", "display": "omitted"})
    assert hidden.content[0].thinking == "" and hidden.content[0].signature == shown.content[0].signature
    plain = claude.messages.create(**SAY, messages=user(script))
    assert [block.type for block in plain.content] == ["text"]
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": False}
    formatted = claude.messages.create(**SAY, messages=[{"role": "user", "content": "Go."}], output_config={"format": {"type": "json_schema", "schema": schema}})
    assert isinstance(json.loads(formatted.content[0].text)["a"], int)


def counts_and_lists():
    count = claude.messages.count_tokens(model="codex-5", messages=[{"role": "user", "content": "12345678"}])
    assert count.input_tokens == 2
    models = list(claude.models.list(limit=2))
    assert len(models) > 3 and any(model.id == "codex-5" for model in models)
    assert claude.models.retrieve("codex-5").type == "model"


def raises_typed_errors():
    ask = lambda script, **more: claude.messages.create(**SAY, messages=user(script), **more)
    fails(anthropic.AuthenticationError, lambda: client("sk-wrong").messages.create(**SAY, messages=user([])), type="authentication_error")
    fails(anthropic.PermissionDeniedError, lambda: client(LOW_KEY).messages.create(**SAY, messages=user([])), type="permission_error", error_code="model_not_allowed")
    fails(anthropic.NotFoundError, lambda: claude.messages.create(**(SAY | {"model": "nope"}), messages=user([])), type="not_found_error")
    fails(anthropic.NotFoundError, lambda: claude.models.retrieve("nope"), type="not_found_error")
    invalid = fails(anthropic.BadRequestError, lambda: ask([], thinking={"type": "enabled", "budget_tokens": 1}), type="invalid_request_error")
    assert "thinking.budget_tokens" in invalid.api_message and invalid.request_id
    long = fails(anthropic.BadRequestError, lambda: ask({"failed": "context_length_exceeded"}), error_code="context_length_exceeded")
    assert long.api_message.startswith("prompt is too long: ")
    fails(anthropic.RateLimitError, lambda: ask({"status": 429, "error": {"type": "usage_limit_reached"}}), type="rate_limit_error")
    fails(anthropic.OverloadedError, lambda: ask({"failed": "server_is_overloaded"}), type="overloaded_error", status_code=529)
    fails(anthropic.ServiceUnavailableError, lambda: ask({"status": 401}), type="api_error", error_code="codex_login_required")

    def streams():
        with claude.messages.stream(**SAY, messages=user([{"text": "par"}, {"cut": "abort"}])) as stream:
            stream.get_final_message()

    try:
        streams()
    except anthropic.APIStatusError as caught:
        assert caught.type == "api_error", caught
    else:
        raise AssertionError("a stream that fails raises")


def retries():
    slow = client(SLOW_KEY, max_retries=2)
    for _ in range(2):
        assert slow.messages.create(**SAY, messages=user({"text": "Hi."})).content[0].text == "Hi."
    order("stop")
    down = fails(anthropic.ServiceUnavailableError, lambda: claude.messages.create(**SAY, messages=user([])), type="api_error", error_code="codex_unavailable")
    assert down.request_id
    order("start")
    assert claude.messages.create(**SAY, messages=user({"text": "Hi."})).content[0].text == "Hi."


assert CONTROL
creates_and_streams()
decodes_strictly()
runs_a_tool_loop()
reads_images_and_thinks()
counts_and_lists()
raises_typed_errors()
retries()
