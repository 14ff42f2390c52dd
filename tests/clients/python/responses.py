"""The Responses API with the official Python client against the chain; arguments: base URL, key."""

import json
import sys

import openai
import pydantic

BASE_URL, KEY = sys.argv[1:3]
client = openai.OpenAI(base_url=BASE_URL, api_key=KEY, max_retries=0, timeout=30)
responses = client.responses
USAGE = {"usage": {"input_tokens": 21, "output_tokens": 8}}


def play(*script):
    return f"[[model:{json.dumps(script)}]]"


HELLO = play({"text": "Hello from the model.", "delta_chars": 3}, USAGE)


def fails_with(error, code, call):
    try:
        call()
    except error as caught:
        assert caught.code == code, caught
    else:
        raise AssertionError(f"{error.__name__} expected")


def gathers():
    response = responses.create(model="codex-5", input=HELLO, instructions="Be brief.", metadata={"a": "b"})
    assert response.status == "completed"
    assert response.output_text == "Hello from the model."
    assert response.usage.total_tokens == 29
    assert response.metadata == {"a": "b"}
    assert responses.retrieve(response.id) == response


def streams():
    with responses.stream(model="codex-5", input=HELLO) as stream:
        events = list(stream)
        final = stream.get_final_response()
    deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
    assert len(deltas) == 7 and "".join(deltas) == "Hello from the model.", deltas
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert final.output_text == "Hello from the model."
    assert final.usage.total_tokens == 29
    raw = list(responses.create(model="codex-5", input=HELLO, stream=True))
    assert raw[0].type == "response.created" and raw[-1].type == "response.completed"


def parses():
    class Pair(pydantic.BaseModel):
        a: str
        b: int

    response = responses.parse(model="codex-5", input=play({"text": '{"a":"x","b":2}'}), text_format=Pair)
    assert response.output_parsed == Pair(a="x", b=2)
    with responses.stream(model="codex-5", input=play({"text": '{"a":"x","b":2}'}), text_format=Pair) as stream:
        assert stream.get_final_response().output_parsed == Pair(a="x", b=2)


def goes_on():
    previous = None
    for turn in range(3):
        response = responses.create(
            model="codex-5", input=play({"echo": "input"}) + f" turn {turn}", previous_response_id=previous
        )
        assert all(f" turn {earlier}" in response.output_text for earlier in range(turn + 1)), response.output_text
        previous = response.id
    items = responses.input_items.list(previous).data
    assert len(items) == 1 and items[0].content[0].text.endswith("turn 2")
    responses.delete(previous)
    fails_with(openai.NotFoundError, "response_not_found", lambda: responses.retrieve(previous))


def calls_tools():
    tool = {
        "type": "function",
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
        "strict": False,
    }
    script = f"[[model:{json.dumps([[{'call': 'get_weather', 'arguments': {'city': 'Oslo'}}], [{'text': 'Cold.'}]])}]]"
    question = {"role": "user", "content": script}
    for by_id in [True, False]:
        first = responses.create(model="codex-5", input=[question], tools=[tool])
        (call,) = first.output
        assert (call.type, call.name, json.loads(call.arguments)) == ("function_call", "get_weather", {"city": "Oslo"})
        result = {"type": "function_call_output", "call_id": call.call_id, "output": "-3"}
        more = (
            {"input": [result], "previous_response_id": first.id}
            if by_id
            else {"input": [question, *first.output, result]}
        )
        assert responses.create(model="codex-5", tools=[tool], **more).output_text == "Cold."


def cancels():
    held = play({"text": "par", "open": True}, {"hold": "for ever"}, {"text": "ty"})
    begun = responses.create(model="codex-5", input=held, background=True)
    assert begun.status == "in_progress"
    cancelled = responses.cancel(begun.id)
    assert cancelled.status == "cancelled"
    assert responses.retrieve(begun.id).status == "cancelled"


def names_its_errors():
    cut = play({"text": "par"}, {"cut": "abort"})
    ask = lambda **more: lambda: responses.create(**({"model": "codex-5", "input": HELLO} | more))
    fails_with(openai.NotFoundError, "model_not_found", ask(model="gpt-4"))
    fails_with(openai.BadRequestError, "unsupported_value", ask(tools=[{"type": "web_search"}]))
    fails_with(openai.BadRequestError, "previous_response_not_found", ask(previous_response_id="resp_x"))
    fails_with(openai.InternalServerError, "codex_failed", ask(input=cut))
    seen = []

    def read():
        for event in responses.create(model="codex-5", input=cut, stream=True):
            seen.append(event.type)

    fails_with(openai.APIError, "codex_failed", read)
    assert seen[-1] == "response.failed" and "response.completed" not in seen, seen


gathers()
streams()
parses()
goes_on()
calls_tools()
cancels()
names_its_errors()
