"""Write docs/cli.md from the commands themselves, or check that it has not drifted (``--check``)."""

from __future__ import annotations

import difflib
import sys
from pathlib import Path

import typer
from typer.main import get_command

from ethicclip.cli.main import app

TARGET = Path(__file__).parent / "cli.md"


def reference() -> str:
    """The command-line reference as Markdown."""
    group = get_command(app)
    lines = [
        "# Command line",
        "",
        "Written from the commands by `make docs`; do not edit by hand. Exit codes: [exit-codes.md](exit-codes.md).",
        "",
    ]
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        context = typer.Context(command, info_name=f"ethicclip {name}")
        lines += [f"## ethicclip {name}", "", *(line.strip() for line in (command.help or "").splitlines()), ""]
        lines += ["```", *command.collect_usage_pieces(context)[:0], f"ethicclip {name} {usage(command, context)}", "```", ""]
        lines += ["| option | meaning | default |", "|---|---|---|"]
        for parameter in command.params:
            lines.append(row(parameter, context))
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def usage(command: typer.core.TyperCommand, context: typer.Context) -> str:
    """The usage pieces on one line."""
    return " ".join(command.collect_usage_pieces(context))


def row(parameter: object, context: typer.Context) -> str:
    """One table row for an argument or option."""
    names = getattr(parameter, "opts", [])
    secondary = getattr(parameter, "secondary_opts", [])
    is_argument = getattr(parameter, "param_type_name", "") == "argument"
    shown = f"`{parameter.make_metavar(ctx=context)}`" if is_argument else ", ".join(f"`{n}`" for n in [*names, *secondary])  # type: ignore[attr-defined]
    meaning = (getattr(parameter, "help", "") or "").replace("|", "\\|")
    show = getattr(parameter, "show_default", True)
    default = getattr(parameter, "default", None)
    if getattr(parameter, "required", False):
        text = "required"
    elif isinstance(show, str):
        text = f"`{show}`"
    elif default in (None, False, (), []):
        text = ""
    else:
        text = f"`{default}`"
    variable = getattr(parameter, "envvar", None)
    if variable:
        text += f" (or `{variable}`)"
    return f"| {shown} | {meaning} | {text} |"


def main() -> int:
    """Write the page, or compare it."""
    text = reference()
    if "--check" not in sys.argv[1:]:
        TARGET.write_text(text, encoding="utf-8")
        return 0
    present = TARGET.read_text(encoding="utf-8") if TARGET.exists() else ""
    if present == text:
        return 0
    sys.stderr.writelines(difflib.unified_diff(present.splitlines(True), text.splitlines(True), "docs/cli.md", "commands"))
    sys.stderr.write("docs/cli.md has drifted from the commands: run `make docs`\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
