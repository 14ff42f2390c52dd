"""Runs schemathesis over `docs/openapi.json`: all responses to generated requests match the document, requests that the
document does not allow are rejected, and none fails with a server error. Generation is deterministic, so each run is
the same."""

import json
import pathlib
import subprocess
import sys
import tempfile

from edge import BASE_URL, KEY, client

DOCUMENT = json.loads((pathlib.Path(__file__).parents[3] / "docs/openapi.json").read_text())
EXAMPLES = 40
# JSON Schema allows integers written as 1.0 and codex-edge does not, so a request that the document allows may be
# rejected. Envoy's parser knows fewer methods than schemathesis; openapi.py tests the unsupported ones.
LEFT_OUT = "positive_data_acceptance,unsupported_method"
PIXEL = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC"


def document():
    """The document, narrowed by rules that it cannot express: the existing models, a tool choice that names an offered
    tool, calls with outputs, and valid images. Otherwise nearly all generated requests would be rejected for these
    reasons, and a wrongly accepted field would go unnoticed."""
    schemas = DOCUMENT["components"]["schemas"]
    models = [model.id for model in client().models.list()]
    for name in ("ChatCompletionRequest", "CompletionRequest", "ResponseRequest", "MessagesRequest", "MessagesCountRequest"):
        schemas[name]["properties"]["model"] = {"enum": models}
    chat = schemas["ChatCompletionRequest"]
    chat["required"].append("tools")
    chat["properties"]["tools"] |= {"type": "array", "minItems": 1, "maxItems": 1}
    _words, nested, flat, allowed = chat["properties"]["tool_choice"]["anyOf"]
    named = allowed["properties"]["allowed_tools"]["properties"]["tools"]["items"]
    for function in (schemas["Function"], nested["properties"]["function"], flat, named["properties"]["function"]):
        function["properties"]["name"] = {"const": "f"}
    schemas["Message"] = {"oneOf": schemas["Message"]["oneOf"][:2]}
    schemas["AssistantMessage"]["properties"]["tool_calls"] = {"type": "null"}
    schemas["ImageUrl"] = {"const": PIXEL}
    return json.dumps(DOCUMENT)


with tempfile.TemporaryDirectory() as folder:
    described = pathlib.Path(folder, "openapi.json")
    described.write_text(document())
    command = [sys.executable, "-m", "schemathesis.cli", "run", str(described), "--url", BASE_URL.removesuffix("/v1")]
    command += ["--header", f"Authorization: Bearer {KEY}", "--phases", "examples,coverage,fuzzing"]
    command += ["--max-examples", str(EXAMPLES), "--generation-deterministic"]
    # A request with very many messages takes long on a busy machine.
    command += ["--exclude-checks", LEFT_OUT, "--continue-on-failure", "--no-color", "--request-timeout", "60"]
    run = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
print(run.stdout, run.stderr, file=sys.stderr)
sys.exit(run.returncode)
