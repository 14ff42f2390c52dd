"""Compares the chain with `docs/openapi.json`: responses, chunks, headers, methods, and rejected requests."""

import json
import pathlib

import httpx2
import jsonschema

from edge import BASE_URL, KEY, LOW_KEY, play

DOCUMENT = json.loads((pathlib.Path(__file__).parents[3] / "docs/openapi.json").read_text())
VERBS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"]
CHAT, LEGACY, RESPONSES = "/v1/chat/completions", "/v1/completions", "/v1/responses"
MESSAGES, COUNT = "/v1/messages", "/v1/messages/count_tokens"
http = httpx2.Client(base_url=BASE_URL.removesuffix("/v1"), headers={"authorization": f"Bearer {KEY}"}, timeout=30)

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
FLAT = {"type": "function", "name": "f", "parameters": {"type": "object"}}
SCHEMA = {"name": "s", "schema": {"type": "object"}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{"}}
CALLS = [{"call": "f", "arguments": "{broken"}, {"call": "f"}]
THINK = [{"reasoning": ["Hm."]}, {"text": "Done.", "delta_chars": 2}]
LONG, REFUSAL, EMPTY = {"chars": 400, "delta_chars": 9}, {"refusal": "No."}, []


def resolved(node):
    if "$ref" not in node:
        return node
    for name in node["$ref"].removeprefix("#/").split("/"):
        found = DOCUMENT[name] if name == "components" else found[name]
    return found


def validator(schema):
    return jsonschema.Draft202012Validator(schema | {"components": DOCUMENT["components"]})


def component(name):
    return validator({"$ref": f"#/components/schemas/{name}"})


def chat(script=EMPTY, **more):
    return {"model": "codex-5", "messages": [{"role": "user", "content": play(script)}]} | more


BODIES = {
    CHAT: chat(),
    LEGACY: {"model": "codex-5", "prompt": "Hi."},
    RESPONSES: {"model": "codex-5", "input": "Hi."},
    MESSAGES: chat(max_tokens=64),
    COUNT: chat(),
}


def check(answer, path, verb):
    """Asserts that a response is described in the document, and returns its body."""
    described = resolved(DOCUMENT["paths"][path][verb]["responses"][str(answer.status_code)])
    for name, header in described.get("headers", {}).items():
        header = resolved(header)
        assert name in answer.headers or not header.get("required"), f"{verb} {path} has no {name}: {answer.headers}"
    if verb == "head":
        assert answer.content == b""
        return None
    media_type = answer.headers["content-type"].removesuffix("; charset=utf-8")
    if media_type == "text/event-stream":
        return answer.text
    validator(described["content"][media_type]["schema"]).validate(answer.json())
    return answer.json()


def are_answers_as_described():
    reasons = set()
    for script, more in (
        ({"text": "Hello.", "delta_chars": 2}, {}),
        (CALLS, {"tools": [TOOL]}),
        (THINK, {"reasoning": {"summary": "auto"}, "stream_options": {"include_usage": True}}),
        (LONG, {"max_tokens": 3}),
        (REFUSAL, {}),
        (EMPTY, {"temperature": 0}),
        ({"incomplete": "content_filter"}, {}),
    ):
        body = chat(script, **more)
        component("ChatCompletionRequest").validate(body)
        said = check(http.post(CHAT, json=body), CHAT, "post")
        streamed = check(http.post(CHAT, json=body | {"stream": True}), CHAT, "post")
        if "choices" in said:
            reasons.add(said["choices"][0]["finish_reason"])
        check_stream(streamed, "ChatCompletionChunk", fails="choices" not in said)
        prompt = {"model": "codex-5", "prompt": body["messages"][0]["content"], "max_tokens": more.get("max_tokens")}
        if "tools" not in more:
            component("CompletionRequest").validate(prompt)
            said = check(http.post(LEGACY, json=prompt), LEGACY, "post")
            streamed = check(http.post(LEGACY, json=prompt | {"stream": True}), LEGACY, "post")
            check_stream(streamed, "CompletionChunk", fails="choices" not in said)
    assert reasons >= {"stop", "length", "tool_calls"}, reasons


def check_stream(text, name, fails=False):
    events = [line.removeprefix("data: ") for line in text.split("\n\n") if line.startswith("data: ")]
    *chunks, last = events
    if fails:
        component("Error").validate(json.loads(last))
    else:
        assert last == "[DONE]", events
    assert chunks
    for chunk in chunks:
        component(name).validate(json.loads(chunk))


def are_failures_as_described():
    stranger, low = {"authorization": "Bearer wrong"}, {"authorization": f"Bearer {LOW_KEY}"}
    for status, request in (
        (400, {"content": b"{"}),
        (400, {"json": chat({"failed": "context_length_exceeded"})}),
        (401, {"json": chat(), "headers": stranger}),
        (403, {"json": chat(), "headers": low}),
        (404, {"json": chat(model="gpt-4")}),
        (413, {"content": b" " * (17 << 20)}),
        (415, {"content": b"{}", "headers": {"content-type": "text/plain"}}),
        (429, {"json": chat({"status": 429, "error": {"type": "usage_limit_reached"}})}),
        (502, {"json": chat([{"text": "par"}, {"cut": "abort"}])}),
        (503, {"json": chat({"status": 401})}),
    ):
        answer = http.post(CHAT, **request)
        assert answer.status_code == status, (status, answer.text)
        check(answer, CHAT, "post")


def are_verbs_as_described():
    for path, item in DOCUMENT["paths"].items():
        allowed = {verb for verb in VERBS if verb.lower() in item}
        for verb in VERBS:
            # A response to a rejected method must arrive although no route reads the request's body.
            body = BODIES.get(path, BODIES[LEGACY])
            request = {"json": body} if verb == "POST" or verb not in allowed else {}
            target = path.replace("{model}", "codex-5")
            if "{response}" in path:
                made = http.post(RESPONSES, json=BODIES[RESPONSES])
                target = path.replace("{response}", made.json()["id"])
            answer = http.request(verb, target, **request)
            if verb in allowed:
                assert answer.status_code == 200, (verb, path, answer)
                check(answer, path, verb.lower())
            else:
                assert answer.status_code == 405, (verb, path, answer)
                assert set(answer.headers["allow"].split(", ")) == allowed | {"OPTIONS"}, answer.headers
                if verb != "HEAD":
                    shape = "MessagesError" if path in (MESSAGES, COUNT) else "Error"
                    component(shape).validate(answer.json())
    unknown = http.get("/v1/models/gpt-4")
    assert unknown.status_code == 404
    check(unknown, "/v1/models/{model}", "get")


def are_messages_as_described():
    thinking = {"type": "enabled", "budget_tokens": 2048}
    tool = {"name": "f", "input_schema": {"type": "object"}}
    reasons = set()
    for script, more in (
        ({"text": "Hello.", "delta_chars": 2}, {"system": "Be brief."}),
        (CALLS, {"tools": [tool], "tool_choice": {"type": "any"}}),
        (THINK, {"thinking": thinking}),
        (THINK, {"thinking": {"type": "adaptive", "display": "omitted"}}),
        ({"text": "One END two"}, {"stop_sequences": ["END"]}),
        (LONG, {"max_tokens": 3}),
        (REFUSAL, {}),
        (EMPTY, {"temperature": 0}),
    ):
        body = chat(script, **({"max_tokens": 64} | more))
        component("MessagesRequest").validate(body)
        reasons.add(check(http.post(MESSAGES, json=body), MESSAGES, "post")["stop_reason"])
        streamed = check(http.post(MESSAGES, json=body | {"stream": True}), MESSAGES, "post")
        for frame in streamed.strip().split("\n\n"):
            name, data = frame.split("\n")
            event = json.loads(data.removeprefix("data: "))
            component("MessagesEvent").validate(event)
            assert name == f"event: {event['type']}"
    assert reasons == {"end_turn", "tool_use", "stop_sequence", "max_tokens", "refusal"}, reasons
    for status, request in (
        (400, {"content": b"{"}),
        (401, {"json": chat(), "headers": {"authorization": "Bearer wrong"}}),
        (404, {"json": chat(max_tokens=64, model="gpt-4")}),
        (413, {"content": b" " * (17 << 20)}),
        (429, {"json": chat({"status": 429, "error": {"type": "usage_limit_reached"}}, max_tokens=64)}),
        (502, {"json": chat([{"text": "par"}, {"cut": "abort"}], max_tokens=64)}),
        (503, {"json": chat({"status": 401}, max_tokens=64)}),
        (529, {"json": chat({"failed": "server_is_overloaded"}, max_tokens=64)}),
    ):
        answer = http.post(MESSAGES, **request)
        assert answer.status_code == status, (status, answer.text)
        check(answer, MESSAGES, "post")
    models = http.get("/v1/models", headers={"anthropic-version": "2023-06-01"})
    component("MessagesModelPage").validate(models.json())


def is_what_is_described_what_is_taken():
    """Asserts that requests that the document allows are accepted, and that others are rejected."""
    user = {"role": "user", "content": "Hi."}
    fits = component("ChatCompletionRequest")
    for taken, more in (
        (True, {"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}}),
        (True, {"tools": [FLAT], "tool_choice": "auto", "parallel_tool_calls": False}),
        (True, {"tools": None, "stop": None, "n": None, "user": None, "metadata": None, "response_format": None}),
        (True, {"response_format": {"type": "json_schema", "json_schema": SCHEMA}}),
        (True, {"messages": [user, {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "tool_call_id": "c"}]}),
        (True, {"messages": [user | {"content": [{"type": "text", "text": "Hi."}], "name": "x"}], "unknown": {}}),
        (True, {"stop": ["a", "b"], "max_tokens": 5, "reasoning_effort": "low", "logit_bias": {"1": -1}}),
        (False, {"model": None}),
        (False, {"messages": []}),
        (False, {"messages": [{"role": "user"}]}),
        (False, {"messages": [{"role": "narrator", "content": "x"}]}),
        (False, {"messages": [user | {"content": []}]}),
        (False, {"messages": [user | {"content": [{"type": "audio", "text": "x"}]}]}),
        (False, {"messages": [{"role": "tool", "content": "x"}]}),
        (False, {"tools": [{"type": "function"}]}),
        (False, {"tools": [{"type": "function", "function": {"name": "a b"}}]}),
        (False, {"tools": [{"type": "function", "function": {"name": "f", "parameters": 7}}]}),
        (False, {"tools": [TOOL], "tool_choice": "any"}),
        (False, {"response_format": {"type": "xml"}}),
        (False, {"response_format": {"type": "json_schema"}}),
        (False, {"response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": []}}}),
        (False, {"reasoning_effort": "huge"}),
        (False, {"reasoning_effort": "huge", "reasoning": {"effort": "low"}}),
        (False, {"reasoning": {"summary": "long"}}),
        (False, {"stop": [""]}),
        (False, {"stop": ["a"] * 5}),
        (False, {"max_tokens": 0}),
        (False, {"max_tokens": 0, "max_completion_tokens": 5}),
        (False, {"n": 2}),
        (False, {"temperature": 2.5}),
        (False, {"metadata": {"k" * 65: "v"}}),
        (False, {"functions": []}),
        (False, {"audio": {}}),
    ):
        body = {"model": "codex-5", "messages": [user]} | more
        assert fits.is_valid(body) == taken, f"the document disagrees about {more}"
        answer = http.post(CHAT, json=body)
        assert answer.status_code == (200 if taken else 400), (more, answer.text)


are_answers_as_described()
are_failures_as_described()
are_verbs_as_described()
are_messages_as_described()
is_what_is_described_what_is_taken()
