"""The helpers of these scripts: address and keys of the chain, prompts for the scripted model, and its requests."""

import json
import sys
import urllib.request

import openai

BASE_URL, KEY, CONTROL = sys.argv[1:4]
# Keys of the chain besides KEY: one is limited to the models `*-low`, one to a request in two seconds.
LOW_KEY, SLOW_KEY = "sk-low", "sk-slow"


def client(key=KEY, **options):
    return openai.OpenAI(base_url=BASE_URL, api_key=key, **({"max_retries": 0, "timeout": 30} | options))


def play(script, text="Go on."):
    """A text that makes the model play a script, or one script for each model request of the turn."""
    return f"{text} [[model:{json.dumps(script)}]]"


def user(content):
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]


def model_requests():
    """The requests that the model has received, oldest first."""
    with urllib.request.urlopen(f"{CONTROL}/requests", timeout=10) as answer:
        return json.load(answer)


def offered_tools(request):
    """The tools that the model was offered: in the body, or in an item of the input with the namespace `functions`."""
    holders = [request["body"]] + [item for item in request["body"]["input"] if item["type"] == "additional_tools"]
    tools = [tool for holder in holders for tool in holder.get("tools", [])]
    return [function for tool in tools for function in tool.get("tools", [tool])]


def conversation(request):
    """The items of a model request that are part of the conversation."""
    return [item for item in request["body"]["input"] if item["type"] != "additional_tools"]


def order(what):
    """Asks the test for a change of the chain, `stop` or `start` of the sidecar, and waits for the confirmation."""
    print(what, flush=True)
    done = sys.stdin.readline().strip()
    assert done == "done", f"{what}: {done!r}"


def fails(error, call, **expected):
    """Asserts that a call raises exactly this class with the expected attributes; returns the error."""
    try:
        call()
    except error as caught:
        said = {name: getattr(caught, name) for name in expected}
        assert type(caught) is error and said == expected, f"{type(caught)} {said} {caught}"
        return caught
    raise AssertionError(f"{error.__name__} expected")
