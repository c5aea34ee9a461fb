"""The program's entry: knows the verbs, and turns every way to end into its documented exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any

import typer
from typer.main import get_command

from ethicclip import __version__
from ethicclip.cli import (
    audit_leakage,
    audit_model,
    audit_text,
    compare,
    demo,
    evaluate,
    export,
    fit_generator,
    gate,
    generate,
    import_,
    keys,
    lineage,
    preview,
    privacy,
    report,
    runs,
    split,
    train,
    verify,
    withdraw,
)
from ethicclip.cli.console import error_document, print_error, print_json
from ethicclip.errors import EthicClipError, ExitCode

app = typer.Typer(
    name="ethicclip",
    help="Synthetic fundus image-text pairs, audited for patient leakage, with evidence of every step.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=True,
    rich_markup_mode=None,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"ethicclip {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    """Synthetic fundus image-text pairs, audited for patient leakage, with evidence of every step.

    Exit codes: 0 pass, 1 bug, 2 usage, 3 bad input, 10 gate failed (a leak was found), 11 inconclusive,
    12 integrity failure, 75 ledger locked by another process, 130 interrupted.
    """


for _verb in (
    generate,
    fit_generator,
    preview,
    split,
    audit_leakage,
    audit_text,
    train,
    audit_model,
    evaluate,
    compare,
    report,
    export,
    gate,
    verify,
    runs,
    lineage,
    withdraw,
    keys,
    demo,
):
    app.command(name=_verb.NAME)(_verb.command)
app.add_typer(import_.app)
app.add_typer(privacy.app)


def verbs() -> dict[str, Any]:
    """Every command by its full name, those of a group one by one; what docs and tests of the flags go through."""

    def of(group: Any, before: str) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, command in group.commands.items():
            inside = hasattr(command, "commands")
            found |= of(command, f"{before}{name} ") if inside else {before + name: command}
        return found

    return of(get_command(app), "")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with the exit code of architecture's contract."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    sys.exit(int(run(given)))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code; never raises but `SystemExit` from a signal."""
    as_json = "--json" in arguments
    try:
        outcome = app(args=list(arguments), prog_name="ethicclip", standalone_mode=False)
    except typer.TyperException as error:
        message = error.format_message()
        sys.stderr.write(f"error: {message}\nSee `ethicclip --help` and `ethicclip VERB --help`.\n")
        if as_json:
            print_json(error_document(ExitCode.USAGE, message))
        return ExitCode.USAGE
    except EthicClipError as error:
        print_error(error, as_json=as_json)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return _interrupted(as_json)
    except BrokenPipeError:
        # The reader of stdout went away (as with `| head`); nothing is left to say to it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.PASS
    except Exception as error:  # noqa: BLE001 - the last resort of the process; it tells all it knows
        traceback.print_exc()
        sys.stderr.write("this is a bug in EthicCLIP, not in your input; please report it with the lines above\n")
        if as_json:
            print_json(error_document(ExitCode.BUG, f"{type(error).__name__}: {error}"))
        return ExitCode.BUG
    if outcome == ExitCode.INTERRUPTED:
        return _interrupted(as_json)
    return outcome if isinstance(outcome, int) else ExitCode.PASS


def _interrupted(as_json: bool) -> int:
    sys.stderr.write("interrupted: what was finished is kept; the same command goes on from there\n")
    if as_json:
        print_json(error_document(ExitCode.INTERRUPTED, "interrupted"))
    return ExitCode.INTERRUPTED
