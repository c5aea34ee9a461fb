"""Reads a policy file; a mistake in it is named, never skipped: a rule that is not applied is a hole in the gate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml
from pydantic import ValidationError

from ethicclip.errors import BadInputError
from ethicclip.policy.model import Policy


def read_policy(path: Path) -> Policy:
    """Read a YAML policy.

    Raises:
        BadInputError: The file is missing, is not YAML, or holds a rule that cannot be applied; every mistake is named.
    """
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInputError(
            f"the policy {path} cannot be read: {error.strerror}", next_step="Check the path."
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInputError(f"the policy {path} is not YAML: {error}", next_step="Mend the file.") from None
    if not isinstance(loaded, Mapping):
        raise BadInputError(
            f"the policy {path} holds a {type(loaded).__name__}, not a mapping",
            next_step="Write name, owner and a list of rules; docs/guide.md shows one.",
        )
    try:
        return Policy.model_validate(dict(loaded))
    except ValidationError as error:
        raise BadInputError(
            f"the policy {path} cannot be applied",
            details=[
                f"{'.'.join(str(part) for part in item['loc']) or 'policy'}: {item['msg']}"
                for item in error.errors(include_url=False)
            ],
            next_step="Mend these lines; docs/guide.md shows a policy.",
        ) from None
