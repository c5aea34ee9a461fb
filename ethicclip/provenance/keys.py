"""The two keys of a writer of evidence, kept outside every ledger: one signs heads, one hides real data.

Whoever holds the signing key can rewrite what no one else has a head for; keep the folder as you keep other keys.
Losing ``commitment.key`` means that commitments can no longer be matched to the data they stand for.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from ethicclip.errors import BadInputError
from ethicclip.files import storage_errors

HOME_VARIABLE = "ETHICCLIP_HOME"
_SECRET_BYTES = 32


@dataclass(frozen=True)
class KeyStore:
    """A folder with ``signing.key`` (Ed25519 seed) and ``commitment.key`` (HMAC secret), hex, made on first use.

    Example:
        >>> KeyStore(Path("/secure/place")).public_key()  # doctest: +SKIP
        '9f3c...'
    """

    folder: Path

    @classmethod
    def default(cls) -> Self:
        """The folder in ETHICCLIP_HOME, else ``ethicclip`` below XDG_CONFIG_HOME, else ``~/.config/ethicclip``."""
        if home := os.environ.get(HOME_VARIABLE):
            return cls(Path(home))
        config = os.environ.get("XDG_CONFIG_HOME")
        return cls((Path(config) if config else Path.home() / ".config") / "ethicclip")

    @property
    def signing_path(self) -> Path:
        """Where the signing key lies."""
        return self.folder / "signing.key"

    @property
    def commitment_path(self) -> Path:
        """Where the key of the commitments lies."""
        return self.folder / "commitment.key"

    def public_key(self) -> str:
        """The Ed25519 public key (hex, 32 bytes) that belongs to this store's signatures."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - slow import

        private = Ed25519PrivateKey.from_private_bytes(_secret(self.signing_path))
        return private.public_key().public_bytes_raw().hex()

    def sign(self, message: bytes) -> str:
        """The Ed25519 signature (hex, 64 bytes) of `message`."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415 - slow import

        return Ed25519PrivateKey.from_private_bytes(_secret(self.signing_path)).sign(message).hex()

    def commit(self, purpose: str, data: bytes) -> str:
        """HMAC-SHA256 (hex) of `data` under the commitment key; `purpose` keeps different uses apart."""
        return self.commit_all(purpose, [data])[0]

    def commit_all(self, purpose: str, values: Iterable[bytes]) -> list[str]:
        """`commit` of many values, the key read once."""
        secret, prefix = _secret(self.commitment_path), f"ethicclip/{purpose}/1\n".encode()
        return [hmac.digest(secret, prefix + value, hashlib.sha256).hex() for value in values]

    def exists(self) -> bool:
        """Whether the signing key was made already."""
        return self.signing_path.exists()

    def make(self) -> str:
        """Make whichever key is missing; the public key (hex)."""
        _secret(self.commitment_path)
        return self.public_key()


@functools.lru_cache(maxsize=1 << 15)
def signature_holds(public_key: str, message: bytes, signature: str) -> bool:
    """Whether `signature` (hex) of `message` was made with the private half of `public_key` (hex)."""
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - slow import
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415 - slow import

    try:
        Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)).verify(bytes.fromhex(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def _secret(path: Path) -> bytes:
    """Read a key file, or make it: readable by its owner only, and never half-written under its name."""
    if not path.exists():
        _make_secret(path)
    try:
        secret = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise BadInputError(
            f"the key file {path} cannot be read: {error}",
            next_step=f"Restore it from your copy, or set {HOME_VARIABLE} to the folder that holds your keys.",
        ) from None
    if len(secret) != _SECRET_BYTES:
        raise BadInputError(
            f"the key file {path} holds {len(secret)} bytes, not {_SECRET_BYTES}",
            next_step="Restore it from your copy; a new key cannot continue the old one's evidence.",
        )
    return secret


def _make_secret(path: Path) -> None:
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w", encoding="ascii") as stream:
                stream.write(secrets.token_hex(_SECRET_BYTES) + "\n")
                stream.flush()
                os.fsync(stream.fileno())
            try:
                # A link refuses to replace: of two first uses at once, both read the key of the first.
                os.link(partial, path)
            except FileExistsError:
                return
        finally:
            partial.unlink(missing_ok=True)
