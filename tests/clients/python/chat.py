"""Chat completions with the official Python client: the behaviour of each feature that its users rely on."""

import pydantic

from edge import SLOW_KEY, client, model_requests, play, user

SAY = play([{"text": "Hello from the model.", "delta_chars": 3}, {"usage": {"input_tokens": 21, "output_tokens": 8}}])
# One red pixel.
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC"


class Weather(pydantic.BaseModel):
    city: str
    celsius: int


def create(content=SAY, **more):
    return client().chat.completions.create(**({"model": "codex-5", "messages": user(content)} | more))


def streams():
    first, *deltas, finish, usage = chunks = list(create(stream=True, stream_options={"include_usage": True}))
    assert first.choices[0].delta.role == "assistant"
    assert first.choices[0].delta.content is None
    assert "".join(chunk.choices[0].delta.content for chunk in deltas) == "Hello from the model."
    assert len(deltas) == 7, deltas
    assert [chunk.choices[0].finish_reason for chunk in chunks[:-1]] == [None] * (len(chunks) - 2) + ["stop"]
    assert finish.choices[0].finish_reason == "stop"
    assert usage.choices == [] and all(chunk.usage is None for chunk in chunks[:-1])
    assert (usage.usage.prompt_tokens, usage.usage.completion_tokens, usage.usage.total_tokens) == (21, 8, 29)
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1


def gathers():
    completion = create(model="codex-5-low")
    assert completion.choices[0].message.content == "Hello from the model."
    assert completion.choices[0].finish_reason == "stop"
    assert completion.model == "codex-5-low"
    assert completion.usage.total_tokens == 29


def helps_to_stream():
    with client().chat.completions.stream(model="codex-5", messages=user(SAY)) as stream:
        events = list(stream)
        final = stream.get_final_completion()
    deltas = [event.delta for event in events if event.type == "content.delta"]
    assert len(deltas) == 7 and "".join(deltas) == "Hello from the model.", deltas
    assert [event.content for event in events if event.type == "content.done"] == ["Hello from the model."]
    assert final.choices[0].message.content == "Hello from the model."


def parses():
    oslo = play({"text": '{"city": "Oslo", "celsius": -3}'})
    ask = {"model": "codex-5", "messages": user(oslo), "response_format": Weather}
    parsed = client().chat.completions.parse(**ask).choices[0].message.parsed
    assert parsed == Weather(city="Oslo", celsius=-3), parsed
    sent = model_requests()[-1]["body"]["text"]["format"]
    assert sent["type"] == "json_schema" and sorted(sent["schema"]["required"]) == ["celsius", "city"], sent
    with client().chat.completions.stream(**ask) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].message.parsed == parsed


def shows_images():
    create([{"type": "text", "text": SAY}, {"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}}])
    items = model_requests()[-1]["body"]["input"]
    parts = [part for item in items if item.get("role") == "user" for part in item["content"]]
    assert [part["image_url"] for part in parts if part["type"] == "input_image"] == [PIXEL], parts


def thinks_aloud():
    think = play([{"reasoning": ["I count.", "I add."]}, {"text": "4"}, {"usage": {"reasoning_tokens": 9}}])
    ask = {"content": think, "reasoning_effort": "high", "extra_body": {"reasoning": {"summary": "auto"}}}
    completion = create(**ask)
    assert completion.choices[0].message.reasoning_content == "I count.\n\nI add."
    assert completion.choices[0].message.content == "4"
    assert completion.usage.completion_tokens_details.reasoning_tokens == 9
    sent = model_requests()[-1]["body"]["reasoning"]
    assert (sent["effort"], sent["summary"]) == ("high", "auto"), sent
    deltas = [chunk.choices[0].delta for chunk in create(stream=True, **ask)]
    assert "".join(getattr(delta, "reasoning_content", "") for delta in deltas) == "I count.\n\nI add."


def ends_early():
    long = play({"text": "one two STOP three", "delta_chars": 2})
    for stream in (False, True):
        for more, content, reason in (
            ({"stop": "STOP"}, "one two ", "stop"),
            ({"stop": ["three", " ST"]}, "one two", "stop"),
            ({"max_tokens": 1}, None, "length"),
            ({"max_completion_tokens": 1, "max_tokens": 1000}, None, "length"),
        ):
            answer = create(long, stream=stream, **more)
            if stream:
                choices = [chunk.choices[0] for chunk in answer]
                text = "".join(choice.delta.content or "" for choice in choices)
                ended = [choice.finish_reason for choice in choices if choice.finish_reason]
            else:
                text, ended = answer.choices[0].message.content, [answer.choices[0].finish_reason]
            assert ended == [reason], (more, ended)
            assert text == content or content is None and text and "one two STOP three".startswith(text), (more, text)


def shows_its_headers():
    raw = client().chat.completions.with_raw_response
    ask = {"model": "codex-5", "messages": user(SAY)}
    answer = raw.create(**ask, temperature=0, seed=1, user="u", extra_headers={"x-request-id": "a-trace-of-mine"})
    assert answer.headers["x-request-id"] == "a-trace-of-mine"
    assert answer.headers["x-codex-edge-ignored"] == "seed, temperature, user"
    assert "x-ratelimit-limit-requests" not in answer.headers
    assert answer.parse()._request_id == "a-trace-of-mine"
    limited = client(SLOW_KEY).chat.completions.with_raw_response.create(**ask)
    assert limited.headers["x-ratelimit-limit-requests"] == "1"
    assert limited.headers["x-ratelimit-remaining-requests"] == "0"
    assert limited.headers["x-ratelimit-reset-requests"]
    assert "x-codex-edge-ignored" not in limited.headers
    with client().chat.completions.with_streaming_response.create(**ask, stream=True) as stream:
        assert stream.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert [line for line in stream.iter_lines() if line][-1] == "data: [DONE]"


def goes_on_from_a_text():
    completion = client().completions.create(model="codex-5", prompt=SAY)
    assert (completion.choices[0].text, completion.choices[0].finish_reason) == ("Hello from the model.", "stop")
    chunks = list(client().completions.create(model="codex-5", prompt=SAY, stream=True))
    assert "".join(chunk.choices[0].text for chunk in chunks) == "Hello from the model."
    assert [chunk.choices[0].finish_reason for chunk in chunks][-2:] == [None, "stop"]


def lists_models():
    ids = [model.id for model in client().models.list()]
    assert ids[0] == "codex-5" and any(id.startswith("gpt-") for id in ids), ids
    assert client().models.retrieve("codex-5-high").id == "codex-5-high"


streams()
gathers()
helps_to_stream()
parses()
shows_images()
thinks_aloud()
ends_early()
shows_its_headers()
goes_on_from_a_text()
lists_models()
