"""Decodes every object and every event strictly with the types of Open Responses; arguments: base URL, key."""

import json
import sys
import typing
import urllib.error
import urllib.request

import openresponses_types as types

BASE_URL, KEY = sys.argv[1:3]
TOOL = {"type": "function", "name": "look", "description": "Looks.", "parameters": {"type": "object"}, "strict": False}
SCRIPTS = {
    "text": [{"text": "Hello.", "delta_chars": 2}],
    "all": [
        {"reasoning": ["Think.", "More."], "encrypted_content": "gAAA"},
        {"text": "I will look."},
        {"call": "look", "arguments": {"a": 1}},
    ],
    "refusal": [{"refusal": "No."}],
    "failure": [{"text": "par", "open": True}, {"cut": "abort"}],
    "silence": [{"failed": "context_length_exceeded"}],
}
MORE = {
    "instructions": "Be brief.",
    "tools": [TOOL],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "look"}]},
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["reasoning.encrypted_content"],
    "text": {"format": {"type": "json_object"}, "verbosity": "low"},
    "metadata": {"a": "b"},
    "max_output_tokens": 1000,
}


def kind(model):
    (word,) = typing.get_args(model.model_fields["type"].annotation) or model.model_fields["type"].annotation
    return str(word)


EVENTS = {kind(model): model for name, model in vars(types).items() if name.endswith("StreamingEvent")}


def open_url(path, body=None):
    request = urllib.request.Request(
        BASE_URL + path,
        data=json.dumps(body).encode() if body else None,
        headers={"authorization": f"Bearer {KEY}", "content-type": "application/json"},
    )
    return urllib.request.urlopen(request, timeout=30)


def stream(body):
    name = None
    for line in open_url("/responses", body | {"stream": True}):
        field, _, value = line.decode().rstrip("\n").partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            event = EVENTS[name].model_validate_json(value, strict=True)
            assert kind(type(event)) == name
            yield name, event


seen = set()
for name, script in SCRIPTS.items():
    for more in [{}, MORE, {"max_output_tokens": 1}]:
        body = {"model": "codex-5", "input": f"[[model:{json.dumps(script)}]]"} | more
        try:
            events = list(stream(body))
        except urllib.error.HTTPError as error:
            # A failure before the first output is the status of the stream.
            assert (name, error.code) == ("silence", 400), (name, error.code)
            continue
        assert name != "silence"
        seen.update(kind for kind, _ in events)
        ends = [kind for kind, _ in events if kind in ("response.completed", "response.incomplete", "response.failed")]
        assert len(ends) == 1, ends
        if ends != ["response.failed"]:
            response = open_url("/responses", body).read()
            types.ResponseResource.model_validate_json(response, strict=True)

expected = set(EVENTS) - {
    "response.queued",
    "response.output_text.annotation.added",
    "response.reasoning.delta",
    "response.reasoning.done",
}
assert seen == expected, seen ^ expected
