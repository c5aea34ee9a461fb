"""``ethicclip keys``: the signing key and the commitment key, which live outside every ledger."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ethicclip.cli import options
from ethicclip.cli.console import print_json, print_lines
from ethicclip.errors import ExitCode, UsageError

NAME = "keys"


class Action(StrEnum):
    """What to do with the keys."""

    INIT = "init"
    SHOW = "show"
    ADMIT = "admit"


def command(
    action: Annotated[
        Action,
        typer.Argument(help="init: make them; show: print the public key; admit: let another key sign a ledger."),
    ],
    public_key: Annotated[
        str | None, typer.Argument(metavar="PUBLIC_KEY", help="The key to admit.", show_default=False)
    ] = None,
    ledger: options.Ledger = options.DEFAULT_LEDGER,
    json: options.Json = False,
) -> int:
    """Make, show or admit keys. The folder is $ETHICCLIP_HOME, else ethicclip in your configuration folder.

    Write the public key down where the ledger's editor cannot reach it: `ethicclip verify --key` compares it.
    """
    from ethicclip.provenance import KeyStore, admit_signer

    store = KeyStore.default()
    if (public_key is not None) != (action == Action.ADMIT):
        raise UsageError(
            "a public key is given to `keys admit`, and to it only", next_step="Write `ethicclip keys admit HEX`."
        )
    existed = store.exists()
    if action == Action.SHOW and not existed:
        raise UsageError(f"there is no key in {store.folder} yet", next_step="Run `ethicclip keys init`.")
    if action == Action.ADMIT and public_key is not None:
        admit_signer(ledger, public_key, keys=store)
    key = store.make()
    if json:
        print_json(
            {
                "schema": "ethicclip/keys/1",
                "folder": str(store.folder),
                "public_key": key,
                "made": not existed,
                "admitted": public_key,
            }
        )
    else:
        said = {
            Action.INIT: "already there; nothing was changed" if existed else "made",
            Action.SHOW: "",
            Action.ADMIT: f"{public_key} may sign {ledger} from now on",
        }[action]
        print_lines(
            f"folder      {store.folder}",
            f"public key  {key}",
            *([said] if said else []),
            "Keep a copy of the folder where you keep other keys: without commitment.key no one can tell whose data a",
            "commitment stands for, and whoever holds signing.key can write in your name.",
        )
    return ExitCode.PASS
