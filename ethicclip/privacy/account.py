"""The account of one private run: what it may spend and what it has spent, on disk before each step is taken.

The file carries a MAC under the key outside the ledger (`KeyStore`), so that an edited account is noticed. An older,
genuine copy put back in its place is noticed only when it knows fewer steps than the last checkpoint.
"""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ethicclip.errors import IntegrityError
from ethicclip.files import canonical_json, write_json
from ethicclip.privacy.mechanisms import SampledGaussian
from ethicclip.provenance import KeyStore

SCHEMA = "ethicclip/privacy-account/1"


@dataclass(frozen=True, kw_only=True)
class Terms:
    """What a run was promised to cost; fixed before the first step.

    Attributes:
        run: A digest of the run's settings and data.
        epsilon: The target, for adding or removing one unit.
        delta: The target.
        noise_multiplier: Of each step.
        sample_rate: Of each step.
        allowed_steps: The most steps that stay within the target.
    """

    run: str
    epsilon: float
    delta: float
    noise_multiplier: float
    sample_rate: float
    allowed_steps: int

    def event(self, steps: int) -> SampledGaussian:
        """What `steps` steps released."""
        return SampledGaussian(noise_multiplier=self.noise_multiplier, sample_rate=self.sample_rate, steps=steps)

    def to_json(self) -> dict[str, Any]:
        """JSON types."""
        return {
            "run": self.run,
            "epsilon": self.epsilon,
            "delta": self.delta,
            "noise_multiplier": self.noise_multiplier,
            "sample_rate": self.sample_rate,
            "allowed_steps": self.allowed_steps,
        }


class Account:
    """Counts steps, on disk first; see `Account.begin` and `Account.resume`."""

    def __init__(self, path: Path, terms: Terms, keys: KeyStore, *, steps: int, number: str) -> None:
        self.path = path
        self.terms = terms
        self.number = number
        self._keys = keys
        self._steps = steps

    @classmethod
    def begin(cls, path: Path, terms: Terms, keys: KeyStore) -> Account:
        """A new account with nothing spent, written to `path`."""
        account = cls(path, terms, keys, steps=0, number=secrets.token_hex(8))
        account._write()
        return account

    @classmethod
    def resume(cls, path: Path, terms: Terms, keys: KeyStore, *, at_least: int) -> Account:
        """The account that an unfinished run left.

        Args:
            path: Where it lies.
            terms: What this run's settings ask for; they must be the ones it was opened with.
            keys: Hold the key of its MAC.
            at_least: Steps that the last checkpoint knows of.

        Raises:
            IntegrityError: It is gone, edited, of other terms, or knows fewer steps than the checkpoint.
        """
        stored = read_account(path, keys)
        if stored["terms"] != json.loads(canonical_json(terms.to_json())):
            raise IntegrityError(
                f"the privacy account {path} was opened on other terms than this run's settings give",
                details=_differences(stored["terms"], terms.to_json()),
                next_step="Restore the folder as it was, or start a new run; what was spent stays spent.",
            )
        if stored["steps"] < at_least:
            raise IntegrityError(
                f"the privacy account {path} knows {stored['steps']} steps and the checkpoint {at_least}: it is not "
                "the account that this run wrote last",
                next_step="Restore the account; without it the steps already released cannot be accounted for.",
            )
        return cls(path, terms, keys, steps=stored["steps"], number=stored["number"])

    @property
    def steps(self) -> int:
        """Steps accounted for, whether or not their result survived."""
        return self._steps

    @property
    def left(self) -> int:
        """Steps that may still be taken."""
        return max(0, self.terms.allowed_steps - self._steps)

    def spend_step(self) -> bool:
        """Write one more step into the account, before it is taken.

        Returns:
            False, and nothing written, when one more step would pass the budget.

        Raises:
            StorageError: The account cannot be written; then the step must not be taken.
        """
        if self.left < 1:
            return False
        self._steps += 1
        self._write()
        return True

    def _write(self) -> None:
        content = {"schema": SCHEMA, "number": self.number, "terms": self.terms.to_json(), "steps": self._steps}
        write_sealed(self.path, content, self._keys)


def read_account(path: Path, keys: KeyStore) -> dict[str, Any]:
    """The contents of an account file.

    Raises:
        IntegrityError: It is missing, damaged, or not as it was written.
    """
    return read_sealed(path, SCHEMA, keys, what="privacy account")


def read_sealed(path: Path, schema: str, keys: KeyStore, *, what: str) -> dict[str, Any]:
    """A JSON file with a MAC over its content.

    Raises:
        IntegrityError: It is missing, damaged, or not as it was written.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        content = {name: value for name, value in stored.items() if name != "mac"}
        genuine = stored["schema"] == schema and hmac.compare_digest(str(stored["mac"]), _mac(content, keys))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise IntegrityError(
            f"the {what} {path} cannot be read: {error!r}",
            next_step="Restore it from your copy: what it accounts for stays spent.",
        ) from None
    if not genuine:
        raise IntegrityError(
            f"the {what} {path} is not as it was written: it was edited, or sealed under another key",
            next_step="Restore it from your copy, and ETHICCLIP_HOME if the keys moved.",
        )
    return dict(content)


def write_sealed(path: Path, content: Mapping[str, Any], keys: KeyStore) -> None:
    """Write `content` (JSON types, with its schema) with its MAC, atomically."""
    write_json(path, {**content, "mac": _mac(content, keys)})


def _mac(content: Mapping[str, Any], keys: KeyStore) -> str:
    return keys.commit("privacy", canonical_json(dict(content)))


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    return [f"{name}: {before.get(name)!r}, now {now[name]!r}" for name in now if before.get(name) != now[name]]
