"""LangChain and LiteLLM: the error class of a stream that fails before its first output, and the fallbacks that rely on it."""

import os

# LiteLLM would otherwise read its list of prices from the network.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"

import litellm
import openai
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI

from edge import BASE_URL, KEY, fails, play

# LiteLLM prints advice to standard output, where the test reads the commands of this script.
litellm.suppress_debug_info = True

SAY = play({"text": "Hello.", "delta_chars": 2})
UNKNOWN = {"message": "The model `x` does not exist or you do not have access to it.", "code": "model_not_found"}
FAILURES = [
    ({"failed": "context_length_exceeded"}, "context_length_exceeded", 400),
    ({"status": 400, "error": UNKNOWN}, "model_not_found", 404),
    ({"status": 429}, "rate_limited", 429),
    ({"status": 401}, "codex_login_required", 503),
    ({"status": 500}, "codex_failed", 502),
]


def langchain_raises_the_class_of_the_status():
    classes = {400: openai.BadRequestError, 404: openai.NotFoundError, 429: openai.RateLimitError}
    for responses_api in (False, True):
        model = ChatOpenAI(
            base_url=BASE_URL, api_key=KEY, model="codex-5", max_retries=0, use_responses_api=responses_api
        )
        for script, code, status in FAILURES:
            try:
                list(model.stream(play(script)))
            except openai.APIStatusError as error:
                expected = classes.get(status, openai.InternalServerError)
                assert isinstance(error, expected), error
                assert (error.status_code, error.code) == (status, code), error
            else:
                raise AssertionError(f"{script} fails")


def langchain_falls_back():
    model = ChatOpenAI(base_url=BASE_URL, api_key=KEY, model="codex-5", max_retries=0, use_responses_api=False)
    asks = lambda prompt: RunnableLambda(lambda _: prompt) | model
    chain = asks(play({"status": 429})).with_fallbacks([asks(SAY)], exceptions_to_handle=(openai.RateLimitError,))
    text = "".join(chunk.text for chunk in chain.stream("Go on."))
    assert text == "Hello.", text


def lite(prompt, **more):
    messages = [{"role": "user", "content": prompt}]
    options = {"model": "openai/codex-5", "api_base": BASE_URL, "api_key": KEY, "stream": True, "max_retries": 0}
    return litellm.completion(messages=messages, **(options | more))


def litellm_raises_the_class_of_the_status():
    classes = {
        400: litellm.ContextWindowExceededError,
        404: litellm.NotFoundError,
        429: litellm.RateLimitError,
        503: litellm.ServiceUnavailableError,
        502: litellm.BadGatewayError,
    }
    for script, _, status in FAILURES:
        fails(classes[status], lambda: list(lite(play(script))), status_code=status)


def litellm_falls_back():
    """A router sends a request that fails before its first output to another model."""
    model = lambda name, **more: {
        "model_name": name,
        "litellm_params": {"model": "openai/codex-5", "api_base": BASE_URL, "api_key": KEY, "max_retries": 0} | more,
    }
    router = litellm.Router(
        [model("first", api_key="wrong"), model("second")], fallbacks=[{"first": ["second"]}], num_retries=0
    )
    messages = [{"role": "user", "content": SAY}]
    chunks = router.completion(model="first", messages=messages, stream=True)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    assert text == "Hello.", text


langchain_raises_the_class_of_the_status()
langchain_falls_back()
litellm_raises_the_class_of_the_status()
litellm_falls_back()
