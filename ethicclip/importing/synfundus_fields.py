"""What SynFundus-1M's fields are called, what they mean, and how their values are read; see ``synfundus.yaml``."""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from ethicclip.errors import BadInputError
from ethicclip.importing.annotations import AnnotationRow
from ethicclip.importing.rows import clean
from ethicclip.importing.settings import SynFundusSettings
from ethicclip.terms import Condition
from ethicclip.terms.conditions import label_key

_YES, _NO = frozenset({"1", "true", "yes"}), frozenset({"0", "false", "no"})
_EMPTY = frozenset({"", "nan", "none", "null"})
_EYES = {
    "left": ("left", "l", "os", "lefteye", "左眼", "左"),
    "right": ("right", "r", "od", "righteye", "右眼", "右"),
}


@dataclass(frozen=True, kw_only=True)
class Flag:
    """A disease flag: our condition, or names for captions where we have none, or neither; optional ones may lack."""

    condition: Condition | None
    names: Mapping[str, str]
    optional: bool


@dataclass(frozen=True, kw_only=True)
class Schema:
    """The data file.

    Attributes:
        fields: `field_key` of every spelling -> "file", "advice", "eye", "grade", "flag NAME" or "readable NAME".
        flags: Disease flags by name.
        unreadable: What to say, by language, when a readability flag is not set.
        ends: Full stop by language.
    """

    fields: Mapping[str, str]
    flags: Mapping[str, Flag]
    unreadable: Mapping[str, Mapping[str, str]]
    ends: Mapping[str, str]


def field_key(text: str) -> str:
    """The form in which field names are compared."""
    key = label_key(re.sub(r"\([^)]*\)", "", text))
    return key.removeprefix("is") if len(key) > 2 else key


@functools.cache
def schema() -> Schema:
    """The data file, parsed once."""
    text = importlib.resources.files("ethicclip.importing").joinpath("synfundus.yaml").read_text(encoding="utf-8")
    raw: dict[str, Any] = yaml.safe_load(text)
    fields: dict[str, str] = {}
    for prefix, entries in (("", raw["fields"]), ("flag ", raw["flags"]), ("readable ", raw["readability"])):
        for name, entry in entries.items():
            for alias in entry if isinstance(entry, list) else entry["aliases"]:
                fields[field_key(alias)] = prefix + name
    return Schema(
        fields=fields,
        flags={
            name: Flag(
                condition=Condition(entry["condition"]) if "condition" in entry else None,
                names=entry.get("names", {}),
                optional=bool(entry.get("optional")),
            )
            for name, entry in raw["flags"].items()
        },
        unreadable={name: entry.get("unreadable", {}) for name, entry in raw["readability"].items()},
        ends=raw["ends"],
    )


def columns_of(rows: Sequence[AnnotationRow], what: str) -> dict[str, str]:
    """Our name of a field -> theirs; their fields that are nothing of ours are left as they are."""
    known = schema().fields
    found: dict[str, str] = {}
    strange: list[str] = []
    for name in dict.fromkeys(name for row in rows for name in row):
        ours = known.get(field_key(str(name)))
        if ours is None:
            # What is yes or no in every row may be a disease, and a picture of it would be called healthy.
            if {_plain(row.get(name)) for row in rows} <= _YES | _NO | _EMPTY:
                strange.append(str(name))
            continue
        if ours in found:
            raise BadInputError(
                f"the fields {found[ours]!r} and {name!r} of {what} mean the same",
                next_step="Remove or rename one of them.",
            )
        found[ours] = str(name)
    if strange:
        raise BadInputError(
            f"{what} has {len(strange)} yes-or-no field(s) that are not known: {', '.join(sorted(strange))}",
            details=[f"known: {', '.join(schema().flags)}; readable: {', '.join(schema().unreadable)}"],
            next_step="Remove them from the table, or rename them to one that is known.",
        )
    if "file" not in found:
        raise BadInputError(
            f"{what} has no field that names the picture (file_name, image, idx, ...)", next_step="Name one file_name."
        )
    if not any(name.startswith("flag ") for name in found) and not {"advice", "grade"} & set(found):
        raise BadInputError(
            f"{what} has neither a disease flag nor a grade nor a diagnosticAdvice", next_step="Check the file."
        )
    return found


@dataclass(frozen=True, kw_only=True)
class FieldReader:
    """Reads single fields and says where a value cannot be understood."""

    columns: Mapping[str, str]
    settings: SynFundusSettings
    what: str

    def value(self, row: AnnotationRow, name: str, missing: Any = None) -> Any:
        """The raw value of one of our fields."""
        return row.get(self.columns.get(name, ""), missing)

    def flag(self, row: AnnotationRow, name: str, number: int) -> bool | None:
        """True, False, or None where nothing is said."""
        value = self.value(row, name)
        text = _plain(value)
        if text in _YES:
            return True
        if text in _NO:
            return False
        if text in _EMPTY:
            return None
        raise self._wrong(name, value, number, "0 or 1")

    def grade(self, row: AnnotationRow, number: int) -> int | None:
        """ICDR grade, None where nothing is said."""
        value = self.value(row, "grade")
        text = _plain(value)
        if text in _EMPTY or text == "-1":
            return None
        if text in ("0", "1", "2", "3", "4"):
            return int(text)
        raise self._wrong("grade", value, number, "a grade from 0 to 4")

    def eye(self, row: AnnotationRow, number: int) -> str | None:
        """Side, "left" or "right", None where nothing is said."""
        value = self.value(row, "eye")
        text = _plain(value)
        if text in _EMPTY or text == "-1":
            return None
        spelled = (side for side, spellings in _EYES.items() if label_key(text) in spellings)
        code: str | None = self.settings.eye_codes.get(text)
        side = code or next(spelled, None)
        if side is None:
            raise self._wrong("eye", value, number, "left, right or a code of eye_codes")
        return side

    def advice(self, row: AnnotationRow, number: int) -> list[str]:
        """The Chinese advice as captions; empty where there is none."""
        value = self.value(row, "advice")
        texts = [] if value is None else [value] if isinstance(value, str) else value
        if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
            raise self._wrong("advice", value, number, "a text or a list of texts")
        return [text for text in (clean(text, f"row {number} of {self.what}") for text in texts) if text]

    def _wrong(self, name: str, value: Any, number: int, wanted: str) -> BadInputError:
        return BadInputError(
            f"row {number} of {self.what} has {str(value)[:60]!r} in {self.columns.get(name, name)!r}, not {wanted}",
            next_step="Mend that row; rows before it may be of the same kind.",
        )


def _plain(value: Any) -> str:
    """A cell as lower-case text; 1.0, which a column with gaps becomes, is 1."""
    if value is None:
        return ""
    text = str(value).strip().casefold()
    return text.removesuffix(".0") if re.fullmatch(r"-?\d+\.0", text) else text
