"""The official Python client against the chain; arguments: base URL, key."""

import sys

import openai

BASE_URL, KEY = sys.argv[1:]
SAY = '[[model:[{"text":"Hello from the model.","delta_chars":3},{"usage":{"input_tokens":21,"output_tokens":8}}]]]'


def messages(text):
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]


def client(key=KEY):
    return openai.OpenAI(base_url=BASE_URL, api_key=key, max_retries=0, timeout=30)


def fails_with(error, code, call):
    try:
        call()
    except error as caught:
        assert caught.code == code, caught
    else:
        raise AssertionError(f"{error.__name__} expected")


def streams():
    chunks = list(
        client().chat.completions.create(
            model="codex-5", stream=True, stream_options={"include_usage": True}, messages=messages(SAY)
        )
    )
    first, *deltas, finish, usage = chunks
    assert first.choices[0].delta.role == "assistant"
    assert first.choices[0].delta.content is None
    assert "".join(chunk.choices[0].delta.content for chunk in deltas) == "Hello from the model."
    assert len(deltas) == 7, deltas
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 2) + ["stop"]
    assert finish.choices[0].finish_reason == "stop"
    assert usage.choices == []
    assert (usage.usage.prompt_tokens, usage.usage.completion_tokens, usage.usage.total_tokens) == (21, 8, 29)
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1


def gathers():
    completion = client().chat.completions.create(model="codex-5-low", messages=messages(SAY))
    assert completion.choices[0].message.content == "Hello from the model."
    assert completion.choices[0].finish_reason == "stop"
    assert completion.model == "codex-5-low"
    assert completion.usage.total_tokens == 29


def names_its_errors():
    ask = lambda key=KEY, **more: lambda: client(key).chat.completions.create(
        **({"model": "codex-5", "messages": messages(SAY)} | more)
    )
    fails_with(openai.AuthenticationError, "invalid_api_key", ask(key="wrong"))
    fails_with(openai.NotFoundError, "model_not_found", ask(model="gpt-4"))
    fails_with(openai.BadRequestError, "invalid_request_error", ask(messages=[]))
    fails_with(openai.BadRequestError, "unsupported_value", ask(n=2))
    cut = messages('[[model:[{"text":"par"},{"cut":"abort"}]]]')
    fails_with(openai.InternalServerError, "codex_failed", ask(messages=cut))
    fails_with(openai.APIError, "codex_failed", lambda: list(ask(messages=cut, stream=True)()))


def lists_models():
    ids = [model.id for model in client().models.list()]
    assert ids[0] == "codex-5" and "gpt-5" in ids, ids
    assert client().models.retrieve("codex-5-high").id == "codex-5-high"


streams()
gathers()
names_its_errors()
lists_models()
