"""Failures with the official Python client: the class of each error, and the client's own retries."""

import time

import openai

from edge import LOW_KEY, SLOW_KEY, client, fails, model_requests, order, play, user

SAY = play({"text": "Hello."})


def ask(content=SAY, key=None, options={}, **more):
    caller = client(key, **options) if key else client(**options)
    return lambda: caller.chat.completions.create(**({"model": "codex-5", "messages": user(content)} | more))


def have_classes():
    fails(openai.AuthenticationError, ask(key="wrong"), code="invalid_api_key", type="authentication_error")
    fails(openai.PermissionDeniedError, ask(key=LOW_KEY), code="model_not_allowed", param="model")
    fails(openai.NotFoundError, ask(model="gpt-4"), code="model_not_found", param="model")
    fails(openai.NotFoundError, lambda: client().models.retrieve("gpt-4"), code="model_not_found")
    fails(openai.BadRequestError, ask(messages=[]), code="invalid_request_error", param="messages")
    fails(openai.BadRequestError, ask(n=2), code="unsupported_value", param="n")
    long = play({"failed": "context_length_exceeded"})
    fails(openai.BadRequestError, ask(long), code="context_length_exceeded", param="messages")
    cut = play([{"text": "par"}, {"cut": "abort"}])
    failed = fails(openai.InternalServerError, ask(cut), code="codex_failed", status_code=502)
    assert failed.request_id, "an error has the request id of the logs"
    fails(openai.InternalServerError, ask(play({"status": 401})), code="codex_login_required", status_code=503)
    fails(openai.APIError, lambda: list(ask(cut, stream=True)()), code="codex_failed", type="server_error")
    have_classes_in_streams()
    fails(openai.APITimeoutError, ask(play({"hold": "for ever"}), options={"timeout": 0.5}))


def have_classes_in_streams():
    """A stream that fails before its first output raises the class of its status, without being iterated."""
    unknown = {"message": "The model `x` does not exist or you do not have access to it.", "code": "model_not_found"}
    for script, error, code, status in [
        ({"failed": "context_length_exceeded"}, openai.BadRequestError, "context_length_exceeded", 400),
        ({"status": 400, "error": unknown}, openai.NotFoundError, "model_not_found", 404),
        ({"status": 429}, openai.RateLimitError, "rate_limited", 429),
        ({"status": 401}, openai.InternalServerError, "codex_login_required", 503),
        ({"status": 500}, openai.InternalServerError, "codex_failed", 502),
    ]:
        prompt = play(script)
        edge = client()
        for call in [
            ask(prompt, stream=True),
            lambda: edge.completions.create(model="codex-5", prompt=prompt, stream=True),
            lambda: edge.responses.create(model="codex-5", input=prompt, stream=True),
        ]:
            failed = fails(error, call, code=code, status_code=status)
            assert ("retry-after" in failed.response.headers) == (status in (429, 503)), failed.response.headers


def watched(max_retries):
    """Options of a client with retries, and the list of its responses with their arrival times."""
    answers = []
    see = lambda answer: answers.append((time.monotonic(), answer))
    http_client = openai.DefaultHttpxClient(event_hooks={"response": [see]})
    return {"max_retries": max_retries, "http_client": http_client}, answers


def wait_out_a_rate_limit():
    options, answers = watched(3)
    # On a slow machine the bucket may be full again before the second request, which then gets no 429.
    for _ in range(20):
        ask(key=SLOW_KEY, options=options)()
        if any(answer.status_code == 429 for _, answer in answers):
            break
    refused = next(number for number, (_, answer) in enumerate(answers) if answer.status_code == 429)
    (then, refusal), (later, _) = answers[refused], answers[refused + 1]
    wait = int(refusal.headers["retry-after-ms"]) / 1000
    assert 0 < wait <= int(refusal.headers["retry-after"]) <= 2, refusal.headers
    assert later - then >= wait, (later - then, wait)
    assert answers[-1][1].status_code == 200


def wait_for_a_sidecar_that_is_gone():
    order("stop")
    fails(openai.InternalServerError, ask(), code="codex_unavailable", status_code=503)
    options, answers = watched(5)
    back = lambda answer: len(answers) == 1 and order("start")
    options["http_client"].event_hooks["response"].append(back)
    completion = ask(options=options)()
    assert completion.choices[0].message.content == "Hello."
    assert [answer.status_code for _, answer in answers] == [503, 200]
    assert int(answers[0][1].headers["retry-after"]) >= 1


def do_not_repeat_what_is_final():
    options, answers = watched(5)
    before = len(model_requests())
    used_up = play({"status": 429, "error": {"type": "usage_limit_reached"}})
    fails(openai.RateLimitError, ask(used_up, options=options), code="insufficient_quota", type="insufficient_quota")
    ended = ask(used_up, options=options, stream=True)
    fails(openai.RateLimitError, ended, code="insufficient_quota", type="insufficient_quota")
    assert [answer.headers.get("x-should-retry") for _, answer in answers] == ["false", "false"], answers
    assert len(model_requests()) == before + 2


have_classes()
wait_out_a_rate_limit()
wait_for_a_sidecar_that_is_gone()
do_not_repeat_what_is_final()
