"""Who may sign the heads of a ledger: its first signer, and whoever an earlier signer admitted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ethicclip import __version__
from ethicclip.errors import BadInputError
from ethicclip.provenance.chain import SIGNER, endorsement
from ethicclip.provenance.keys import KeyStore, signature_holds
from ethicclip.provenance.store import LOCK_WAIT_S, Appender, Clock, timestamp, transaction, utc_now


def admitted_signers(ledger: str, payloads: Iterable[Mapping[str, Any]]) -> tuple[list[str], list[int]]:
    """Replay the events of kind ``signer``.

    Returns:
        The admitted public keys in order, and the positions (from 0) of events whose endorsement does not hold.
    """
    admitted: list[str] = []
    refused: list[int] = []
    for position, payload in enumerate(payloads):
        key, by, signature = (payload.get(name) for name in ("public_key", "endorsed_by", "signature"))
        first = not admitted and by is None
        endorsed = by in admitted and signature_holds(str(by), endorsement(ledger, str(key)), str(signature))
        if isinstance(key, str) and (first or endorsed):
            admitted.append(key)
        else:
            refused.append(position)
    return admitted, refused


def require_signer(appender: Appender, keys: KeyStore, ledger: Path) -> None:
    """Refuse to write with a key whose signature would later read as a swapped key.

    Raises:
        BadInputError: The ledger's signers did not admit this key.
    """
    admitted, _ = admitted_signers(appender.ledger_id, appender.signer_payloads())
    key = keys.public_key()
    if key not in admitted:
        raise BadInputError(
            f"the ledger {ledger} is signed by key {admitted[0][:16] if admitted else '(none)'}..., "
            f"and the key in {keys.folder} is {key[:16]}...",
            next_step="Set ETHICCLIP_HOME to the folder of the key it was made with, have its owner admit your key, "
            "or record in another ledger with --ledger.",
        )


def admit_signer(
    ledger: Path, public_key: str, *, keys: KeyStore, clock: Clock = utc_now, wait_s: float = LOCK_WAIT_S
) -> None:
    """Let another key sign this ledger from now on, on the word of one that already may.

    Raises:
        BadInputError: `keys` itself is not admitted.
    """
    moment = timestamp(clock())

    def no_new_ledger() -> str:
        raise BadInputError(f"there is no ledger at {ledger}", next_step="Give the path of an existing ledger.")

    with transaction(
        ledger, keys=keys, moment=moment, ledger_id=no_new_ledger, version=__version__, wait_s=wait_s
    ) as appender:
        require_signer(appender, keys, ledger)
        signature = keys.sign(endorsement(appender.ledger_id, public_key))
        payload = {"public_key": public_key, "endorsed_by": keys.public_key(), "signature": signature}
        appender.event("", SIGNER, moment, payload)
        appender.sign(keys, moment)
