"""The command line: one module a verb; parse, wire rooms together, call one function, print, pick the exit code."""

from ethicclip.cli.main import main

__all__ = ["main"]
