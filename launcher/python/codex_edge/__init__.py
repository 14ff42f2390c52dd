"""The codex-edge command and the programs that it starts, in the folder _bin."""
