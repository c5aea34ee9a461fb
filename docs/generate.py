"""Write docs/cli.md from the commands themselves, or check that it has not drifted (``--check``)."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path
from typing import Any

from typer.main import get_command

from ethicclip.cli.main import app

TARGET = Path(__file__).parent / "cli.md"

HEAD = """\
# Command line

Written from the commands by `make docs`; do not edit by hand. Exit codes: [exit-codes.md](exit-codes.md).
"""


def reference() -> str:
    """The command-line reference as Markdown."""
    return "\n".join([HEAD, *(section(name, command) for name, command in commands_of(get_command(app)).items())])


def commands_of(group: Any, before: str = "") -> dict[str, Any]:
    """Every command by the words that call it, those of groups included."""
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        words = f"{before} {name}".strip()
        found |= commands_of(command, words) if hasattr(command, "commands") else {words: command}
    return found


def section(name: str, command: Any) -> str:
    """One verb: usage, purpose, a row for each argument and option."""
    arguments = [shown_name(parameter) for parameter in command.params if is_argument(parameter)]
    text = "\n".join(line.strip() for line in command.help.strip().splitlines())
    rows = "\n".join(row(parameter) for parameter in command.params)
    usage = " ".join(["ethicclip", name, *arguments, "[OPTIONS]"])
    return f"## {name}\n\n    {usage}\n\n{text}\n\n| option | meaning | default |\n|---|---|---|\n{rows}\n"


def is_argument(parameter: Any) -> bool:
    """Arguments stand by position, options by name."""
    return bool(parameter.param_type_name == "argument")


def shown_name(parameter: Any) -> str:
    """How a user writes it."""
    if is_argument(parameter):
        name = parameter.metavar or parameter.name.upper()
        return f"{name}..." if parameter.nargs == -1 else name
    return ", ".join([*parameter.opts, *parameter.secondary_opts])


def row(parameter: Any) -> str:
    """One table row."""
    if parameter.required:
        default = "required"
    elif isinstance(parameter.show_default, str):
        default = parameter.show_default
    elif parameter.default in (None, False, (), []):
        default = ""
    else:
        default = f"`{parameter.default}`"
    if getattr(parameter, "envvar", None):
        default += f" or `${parameter.envvar}`"
    return f"| `{shown_name(parameter)}` | {(parameter.help or '').replace('|', chr(92) + '|')} | {default} |"


def main() -> int:
    """Write the page, or compare it."""
    text = reference()
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text, encoding="utf-8")
        return 0
    present = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
    if present == text:
        return 0
    difference = difflib.unified_diff(present.splitlines(True), text.splitlines(True), "docs/cli.md", "commands")
    sys.stderr.writelines(difference)
    sys.stderr.write("docs/cli.md has drifted from the commands: run `make docs`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
