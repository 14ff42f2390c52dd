"""A tool loop with the official Python client: three calls, two of them in parallel, in one conversation."""

import json

import openai
import pydantic

from edge import client, conversation, model_requests, offered_tools, order, play, user


class GetWeather(pydantic.BaseModel):
    """The weather of a city."""

    city: str


TOOLS = [openai.pydantic_function_tool(GetWeather, name="get_weather")]
CELSIUS = {"Oslo": -3, "Rome": 18, "Bern": 7}
TURN = [
    [
        {"reasoning": ["Two at once."], "encrypted_content": "gAAA"},
        {"text": "I will look."},
        {"call": "get_weather", "call_id": "call_oslo", "arguments": '{"city": "Oslo"}'},
        {"call": "get_weather", "call_id": "call_rome", "arguments": '{"city": "Rome"}'},
    ],
    [{"call": "get_weather", "call_id": "call_bern", "arguments": '{"city": "Bern"}'}],
    [{"text": "Rome is the warmest."}],
]
# The items of the last model request: the role or type, and the call id.
CONVERSATION = [
    ("developer", None),
    ("user", None),
    ("assistant", None),
    ("function_call", "call_oslo"),
    ("function_call", "call_rome"),
    ("function_call_output", "call_oslo"),
    ("function_call_output", "call_rome"),
    ("function_call", "call_bern"),
    ("function_call_output", "call_bern"),
]


def gathered(messages):
    completion = client().chat.completions.parse(model="codex-5", messages=messages, tools=TOOLS)
    return completion.choices[0]


def streamed(messages):
    with client().chat.completions.stream(model="codex-5", messages=messages, tools=TOOLS) as stream:
        done = [event.name for event in stream if event.type == "tool_calls.function.arguments.done"]
        choice = stream.get_final_completion().choices[0]
    assert done == ["get_weather"] * len(choice.message.tool_calls or [])
    return choice


def loop(ask, between=lambda: None):
    """Runs tools until the model's final text; returns the text, and the call ids of each earlier response."""
    messages, calls = user(play(TURN, "Where is it warmest?")), []
    while True:
        choice = ask(messages)
        messages.append(choice.message)
        wanted = choice.message.tool_calls or []
        assert choice.finish_reason == ("tool_calls" if wanted else "stop"), choice
        if not wanted:
            return choice.message.content, calls
        calls.append([call.id for call in wanted])
        for call in wanted:
            city = call.function.parsed_arguments.city
            content = json.dumps({"celsius": CELSIUS[city]})
            messages.append({"role": "tool", "tool_call_id": call.id, "content": content})
        between()


def restart():
    order("stop")
    order("start")


def check(ask, between=lambda: None, thoughts=1):
    before = len(model_requests())
    answer, calls = loop(ask, between)
    assert answer == "Rome is the warmest."
    assert calls == [["call_oslo", "call_rome"], ["call_bern"]], calls
    sent = model_requests()[before:]
    assert len(sent) == 3, "one model request for each HTTP request"
    assert [tool["name"] for tool in offered_tools(sent[0])] == ["get_weather"]
    items = conversation(sent[-1])
    seen = [(item.get("role") or item["type"], item.get("call_id")) for item in items if item["type"] != "reasoning"]
    assert seen == CONVERSATION, seen
    assert [item["encrypted_content"] for item in items if item["type"] == "reasoning"] == ["gAAA"] * thoughts
    outputs = [json.loads(item["output"])["celsius"] for item in items if item["type"] == "function_call_output"]
    assert outputs == [-3, 18, 7], outputs
    arguments = [item["arguments"] for item in items if item["type"] == "function_call"]
    assert arguments[0] == '{"city": "Oslo"}', "arguments go back byte for byte"


check(gathered)
check(streamed)
# A restart drops the reasoning that the sidecar has kept; the client's messages keep the rest of the conversation.
check(gathered, restart, thoughts=0)
