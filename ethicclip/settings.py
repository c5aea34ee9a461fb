"""Typed settings: validated, serialisable, hashable, and resolved from file, ``--set`` and flags.

Precedence, weakest first: the defaults in the class, the YAML file's section for the verb,
``--set a.b=c``, and flags that the user typed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from ethicclip.errors import BadInputError, UsageError
from ethicclip.files import canonical_json, sha256_bytes

S = TypeVar("S", bound="Settings")


class Settings(BaseModel):
    """Base of every settings object: frozen, and unknown names are errors rather than silence."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def resolved(self) -> dict[str, Any]:
        """All values, defaults included, as JSON types."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """The sha256 (hex) of the resolved settings in canonical JSON."""
        return sha256_bytes(canonical_json(self.resolved()))

    @classmethod
    def build(cls, values: Mapping[str, Any]) -> Self:
        """Validate `values`; a mistake becomes a `UsageError` that names field and value."""
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            details = [
                f"{'.'.join(str(part) for part in item['loc']) or cls.__name__}: {item['msg']}"
                + (f" (got {item['input']!r})" if not isinstance(item["input"], Mapping) else "")
                for item in error.errors(include_url=False)
            ]
            raise UsageError(
                f"{len(details)} setting(s) cannot be used",
                details=details,
                next_step="See docs/cli.md or `ethicclip VERB --help` for the names and ranges.",
            ) from None


def resolve(
    cls: type[S],
    *,
    verb: str,
    config: Path | None = None,
    overrides: Sequence[str] = (),
    flags: Mapping[str, Any] | None = None,
) -> S:
    """Build `cls` from a YAML file, ``--set`` overrides and typed flags (None means "not typed").

    The YAML file holds one mapping per verb (``generate: {size: 512}``), so that one file can
    describe a whole journey.
    """
    values: dict[str, Any] = {}
    if config is not None:
        values = _merge(values, _read_section(config, verb))
    for override in overrides:
        values = _merge(values, _parse_override(override))
    typed = {name: value for name, value in (flags or {}).items() if value is not None}
    return cls.build(_merge(values, typed))


def _read_section(path: Path, verb: str) -> Mapping[str, Any]:
    try:
        loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInputError(
            f"the settings file {path} cannot be read: {error.strerror}",
            next_step="Give --config the path of an existing YAML file.",
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInputError(
            f"the settings file {path} is not YAML: {error}",
            next_step="Mend the file; it holds one mapping per verb.",
        ) from None
    if loaded is None:
        return {}
    if not isinstance(loaded, Mapping):
        raise BadInputError(
            f"the settings file {path} holds a {type(loaded).__name__}, not a mapping",
            next_step="Write one mapping per verb, for example `generate: {size: 512}`.",
        )
    section = loaded.get(verb, {})
    if not isinstance(section, Mapping):
        raise BadInputError(
            f"section {verb!r} of {path} holds a {type(section).__name__}, not a mapping",
            next_step=f"Write `{verb}: {{name: value}}`.",
        )
    return section


def _parse_override(text: str) -> Mapping[str, Any]:
    name, separator, raw = text.partition("=")
    if not separator or not name or any(not part for part in name.split(".")):
        raise UsageError(f"--set {text!r} is not of the form a.b=value", next_step="Write for example --set size=512.")
    try:
        value = yaml.safe_load(raw)
    except yaml.YAMLError as error:
        raise UsageError(f"the value in --set {text!r} is not YAML: {error}") from None
    for part in reversed(name.split(".")):
        value = {part: value}
    result: Mapping[str, Any] = value
    return result


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for name, value in over.items():
        below = merged.get(name)
        if isinstance(below, Mapping) and isinstance(value, Mapping):
            merged[name] = _merge(below, value)
        else:
            merged[name] = value
    return merged
