"""Write docs/cli.md from the commands themselves, or check that it has not drifted (``--check``)."""

from __future__ import annotations

import difflib
import json
import sys
from pathlib import Path
from typing import Any

from typer.main import get_command

from ethicclip.cli.main import app
from ethicclip.reports.document import schema

TARGET = Path(__file__).parent / "cli.md"
SCHEMAS = Path(__file__).parent / "schemas"

HEAD = """\
# Command line

Written from the commands by `make docs`; do not edit by hand. Exit codes: [exit-codes.md](exit-codes.md).
"""


def reference() -> str:
    """The command-line reference as Markdown."""
    commands: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
    return "\n".join([HEAD, *(section(name, command) for name, command in commands.items())])


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
    """Write the pages, or compare them."""
    pages = {TARGET: reference(), SCHEMAS / "report.schema.json": report_schema()}
    drifted = 0
    for path, text in pages.items():
        if "--check" not in sys.argv[1:]:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
            continue
        present = path.read_text(encoding="utf-8") if path.exists() else ""
        if present != text:
            sys.stderr.writelines(
                difflib.unified_diff(present.splitlines(True), text.splitlines(True), path.name, "code")
            )
            sys.stderr.write(f"{path.name} has drifted from the code: run `make docs`\n")
            drifted = 1
    return drifted


def report_schema() -> str:
    """The JSON Schema of ``report.json``, from the document's classes."""
    return json.dumps(schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main())
