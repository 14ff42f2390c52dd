"""What every script here starts with: where the chain is, what the model shall play, what it was sent."""

import json
import sys
import urllib.request

import openai

BASE_URL, KEY, CONTROL = sys.argv[1:4]
# Keys that the chain has beside KEY: one may use the models `*-low` only, one may ask once in two seconds.
LOW_KEY, SLOW_KEY = "sk-low", "sk-slow"


def client(key=KEY, **options):
    return openai.OpenAI(base_url=BASE_URL, api_key=key, **({"max_retries": 0, "timeout": 30} | options))


def play(script, text="Go on."):
    """A text that has the model play a script, or one script for each request of the turn."""
    return f"{text} [[model:{json.dumps(script)}]]"


def user(content):
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": content}]


def model_requests():
    """What the model was sent so far, oldest first."""
    with urllib.request.urlopen(f"{CONTROL}/requests", timeout=10) as answer:
        return json.load(answer)


def order(what):
    """Has the test do something to the chain (`stop` or `start` the sidecar), and waits until it is done."""
    print(what, flush=True)
    done = sys.stdin.readline().strip()
    assert done == "done", f"{what}: {done!r}"


def fails(error, call, **expected):
    """Asserts that a call fails with this class, and that the error says what is expected; returns it."""
    try:
        call()
    except error as caught:
        said = {name: getattr(caught, name) for name in expected}
        assert type(caught) is error and said == expected, f"{type(caught)} {said} {caught}"
        return caught
    raise AssertionError(f"{error.__name__} expected")
