"""Runs schemathesis over `docs/openapi.json`: whatever it makes up, nothing fails, all answers are as described, and
what the description does not allow is refused. No random number is drawn, so that each run is the
same."""

import json
import pathlib
import subprocess
import sys
import tempfile

from edge import BASE_URL, KEY, client

DOCUMENT = json.loads((pathlib.Path(__file__).parents[3] / "docs/openapi.json").read_text())
EXAMPLES = 40
# Integers may be written as 1.0 by the description's own standard and not here, so a request that it allows may be
# refused. And Envoy's parser knows fewer verbs than schemathesis: openapi.py asks for the others.
LEFT_OUT = "positive_data_acceptance,unsupported_method"
PIXEL = "data:image/png;base64,iVBORw0KGgo="


def document():
    """The description, narrowed by what it cannot say: which models there are, that what is chosen has to be there,
    that calls are answered, and what an image is. Else nearly all requests would be refused for these reasons, and a
    wrong field among them would go unnoticed."""
    schemas = DOCUMENT["components"]["schemas"]
    models = [model.id for model in client().models.list()]
    for name in ("ChatCompletionRequest", "CompletionRequest", "ResponseRequest"):
        schemas[name]["properties"]["model"] = {"enum": models}
    chat = schemas["ChatCompletionRequest"]
    chat["required"].append("tools")
    chat["properties"]["tools"] |= {"type": "array", "minItems": 1, "maxItems": 1}
    _words, nested, flat = chat["properties"]["tool_choice"]["anyOf"]
    for function in (schemas["Function"], nested["properties"]["function"], flat):
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
    command += ["--exclude-checks", LEFT_OUT, "--continue-on-failure", "--no-color"]
    run = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
print(run.stdout, run.stderr, file=sys.stderr)
sys.exit(run.returncode)
