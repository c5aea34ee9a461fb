"""Write the generated pages of docs/ from code and data, or check that they have not drifted (``--check``)."""

from __future__ import annotations

import difflib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ethicclip.audits.verdict_schema import schema
from ethicclip.cli.main import verbs
from ethicclip.generation.catalogue import describe, entries
from ethicclip.reports.document import schema as report_document

FOLDER = Path(__file__).parent

CLI_HEAD = """\
# Command line

Written from the commands by `make docs`; do not edit by hand. Exit codes: [exit-codes.md](exit-codes.md).
"""

CONDITIONS_HEAD = """\
# Conditions, their signs and their words

Written from the generator by `make docs`; do not edit by hand. `ethicclip preview --out sheet.png` draws the same rows.

Signs are what the findings put into the picture, with the share of 60 drawn eyes that have them; signs in fewer than
5 % are left out, and so is comorbidity. A caption is one of many for one of these eyes. Diagnoses follow by rule from
the signs: ICDR for diabetic retinopathy, ETDRS for macular oedema, cup-to-disc percentiles by disc size for glaucoma,
AREDS sizes for drusen, META-PM for myopia. One row alone: `ethicclip generate --set findings.amd_stage=early`.

| condition | signs in the picture | caption | 描述 |
|---|---|---|---|
"""


def reference() -> str:
    """The command-line reference as Markdown."""
    return "\n".join([CLI_HEAD, *(section(name, command) for name, command in verbs().items())])


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
    return f"| `{shown_name(parameter)}` | {cell(parameter.help or '')} | {default} |"


def cell(text: str) -> str:
    """Text that cannot end its table cell."""
    return text.replace("|", "\\|")


def conditions() -> str:
    """Every condition with its signs and a caption in both languages."""
    lines = []
    for number, entry in enumerate(entries()):
        described = describe(entry, seed=number)
        names = f"{entry.title}<br>{entry.title_zh}"
        cells = (names, "; ".join(described.signs), described.caption, described.caption_zh)
        lines.append(f"| {' | '.join(cell(text) for text in cells)} |\n")
    return CONDITIONS_HEAD + "".join(lines)


def verdict_schema() -> str:
    """The published schema of verdict.json."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def report_schema() -> str:
    """The published schema of report.json."""
    return json.dumps(report_document(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": reference,
    "conditions.md": conditions,
    "schemas/report.schema.json": report_schema,
    "schemas/verdict.schema.json": verdict_schema,
}


def main() -> int:
    """Write the pages, or compare them."""
    checking = "--check" in sys.argv[1:]
    drifted = 0
    for name, page in PAGES.items():
        target, text = FOLDER / name, page()
        present = target.read_text(encoding="utf-8") if target.exists() else ""
        if present == text:
            continue
        if not checking:
            target.parent.mkdir(exist_ok=True)
            target.write_text(text, encoding="utf-8")
            continue
        sys.stderr.writelines(
            difflib.unified_diff(present.splitlines(True), text.splitlines(True), f"docs/{name}", "code")
        )
        sys.stderr.write(f"docs/{name} has drifted from the code: run `make docs`\n")
        drifted = 1
    return drifted


if __name__ == "__main__":
    sys.exit(main())
