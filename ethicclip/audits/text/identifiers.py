"""Finds identifiers in text by their form (dates, numbers with a label, telephone, e-mail, ...) and by lists of names.

A pattern finds what has a form. A name that is on no list, a place, a rare diagnosis have none and are for a person;
the table of the 18 HIPAA identifiers says so.
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

_CONTEXT = 24
"""Characters kept on each side of a finding."""


@dataclass(frozen=True, kw_only=True)
class Identifier:
    """Something of the form of an identifier.

    Attributes:
        kind: Such as ``phone``.
        letter: Its row in 45 CFR 164.514(b)(2)(i).
        text: What was found.
        start: Where in the text.
    """

    kind: str
    letter: str
    text: str
    start: int

    def excerpt(self, whole: str) -> str:
        """The finding with a little of what surrounds it, on one line."""
        piece = whole[max(0, self.start - _CONTEXT) : self.start + len(self.text) + _CONTEXT]
        return " ".join(piece.split())


def valid_chinese_id(text: str) -> bool:
    """Whether 18 characters are a Chinese identity number: a date of birth and the check digit of GB 11643-1999.

    >>> valid_chinese_id("11010519491231002X")
    True
    """
    if not re.fullmatch(r"[1-9]\d{16}[\dXx]", text):
        return False
    try:
        date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    weights = [pow(2, 17 - place, 11) for place in range(17)]
    rest = sum(int(digit) * weight for digit, weight in zip(text[:17], weights, strict=True)) % 11
    return text[17].upper() == "10X98765432"[rest]


def _real_date(year: int, month: int, day: int) -> bool:
    try:
        return 1900 <= date(year, month, day).year <= 2100
    except ValueError:
        return False


def _numeric_date(text: str) -> bool:
    parts = [int(part) for part in re.findall(r"\d+", text)]
    if len(parts) != 3:
        return False
    if parts[0] > 99:
        return _real_date(parts[0], parts[1], parts[2])
    year = parts[2] if parts[2] > 99 else 2000 + parts[2]
    return _real_date(year, parts[1], parts[0]) or _real_date(year, parts[0], parts[1])


def _compact_date(text: str) -> bool:
    return _real_date(int(text[:4]), int(text[4:6]), int(text[6:8]))


def _address(text: str) -> bool:
    try:
        return not ipaddress.ip_address(text).is_unspecified
    except ValueError:
        return False


def _always(_: str) -> bool:
    return True


_MONTHS = (
    r"(?:jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?|oct(?:ober)?"
    r"|nov(?:ember)?|dec(?:ember)?)"
)
_LABELLED = r"\s*(?:no\.?|number|id|code|编号|号码|号)?\s*[:#：=_-]\s*(?P<value>[A-Z0-9][A-Z0-9./-]{2,}[A-Z0-9])"

_Rule = tuple[str, str, "re.Pattern[str]", Callable[[str], bool]]


def _rule(kind: str, letter: str, pattern: str, check: Callable[[str], bool] = _always) -> _Rule:
    return kind, letter, re.compile(pattern, re.IGNORECASE), check


_RULES: tuple[_Rule, ...] = (
    _rule("chinese_id", "R", r"(?<![0-9A-Z])[1-9]\d{16}[\dX](?![0-9A-Z])", valid_chinese_id),
    _rule("email", "F", r"(?<![\w.+-])[\w.+-]{1,64}@(?:[a-z0-9-]+\.)+[a-z]{2,}"),
    _rule("url", "N", r"\b(?:https?://|www\.)[^\s<>\"']{4,}"),
    _rule("ip_address", "O", r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])", _address),
    _rule("social_security_number", "G", r"(?<![\d-])(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\d-])"),
    _rule(
        "record_number",
        "H",
        r"(?:\b(?:mrn|medical record|patient|record|accession|chart|case|pid|hospital)"
        r"|病历|住院|门诊|病案|患者|就诊|检查)" + _LABELLED,
        lambda text: any(character.isdigit() for character in text),
    ),
    _rule(
        "insurance_number",
        "I",
        r"(?:\b(?:insurance|policy|beneficiary|health plan|nhs|medicare|medicaid)|医保|社保)" + _LABELLED,
        lambda text: any(character.isdigit() for character in text),
    ),
    _rule("account_number", "J", r"\b(?:account|iban)" + _LABELLED, lambda text: sum(c.isdigit() for c in text) > 3),
    _rule(
        "licence_number", "K", r"\b(?:licen[cs]e|certificate)" + _LABELLED, lambda text: sum(map(str.isdigit, text)) > 3
    ),
    _rule("serial_number", "M", r"\b(?:serial|s/n)" + _LABELLED, lambda text: any(c.isdigit() for c in text)),
    _rule("date", "C", r"(?<![\d.])\d{4}[-/.]\d{1,2}[-/.]\d{1,2}(?![\d.]*\d)", _numeric_date),
    _rule("date", "C", r"(?<![\d./-])\d{1,2}([-/.])\d{1,2}\1(?:\d{4}|\d{2})(?![\d/-]|\.\d)", _numeric_date),
    _rule("date", "C", rf"\b\d{{1,2}}(?:st|nd|rd|th)?\s+{_MONTHS}\.?,?\s+\d{{4}}\b"),
    _rule("date", "C", rf"\b{_MONTHS}\.?\s+\d{{1,2}}(?:st|nd|rd|th)?,?\s+\d{{4}}\b"),
    _rule("date", "C", r"\d{4}\s*年\s*\d{1,2}\s*月(?:\s*\d{1,2}\s*[日号])?"),
    _rule("date", "C", r"(?<![0-9A-Z])(?:19|20)\d{6}(?![0-9A-Z])", _compact_date),
    _rule("age_over_89", "C", r"\b(?:9\d|1[0-2]\d)[\s-]*(?:years?[\s-]*old|y/?o\b|yrs?\b)"),
    _rule("age_over_89", "C", r"(?<!\d)(?:9\d|1[0-2]\d)\s*(?:岁|周岁)"),
    _rule("phone", "D", r"(?<![\w+])\+\d{1,3}[\s().-]*(?:\d[\s().-]*){7,12}\d(?!\w)"),
    _rule("phone", "D", r"(?<![\w-])\(?[2-9]\d{2}\)?[\s.-]\s*[2-9]\d{2}[\s.-]\d{4}(?![\w-])"),
    _rule("phone", "D", r"(?<![0-9A-Z])1[3-9]\d(?:[\s-]?\d{4}){2}(?![0-9A-Z])"),
    _rule("phone", "D", r"(?<![\w-])0\d{2,3}-\d{7,8}(?![\w-])"),
    _rule(
        "phone", "D", r"(?:\b(?:tel|telephone|phone|mobile|fax)|电话|手机)\.?\s*[:：]\s*(?P<value>\+?[\d\s().-]{7,}\d)"
    ),
)


def identifiers_in(text: str) -> list[Identifier]:
    """Identifiers in a text, in the order of their place; one place is counted once, by the first rule that fits."""
    found: list[Identifier] = []
    taken: list[tuple[int, int]] = []
    for kind, letter, pattern, check in _RULES:
        for match in pattern.finditer(text):
            named = "value" in pattern.groupindex
            value = match["value"] if named else match[0]
            start, end = match.span("value") if named else match.span()
            if not check(value) or any(start < stop and end > begin for begin, stop in taken):
                continue
            taken.append((start, end))
            found.append(Identifier(kind=kind, letter=letter, text=value, start=start))
    return sorted(found, key=lambda one: (one.start, one.kind))


def folded(text: str) -> str:
    """Case, accents and width taken off, so that ``MÜLLER`` and ``Muller`` are one."""
    decomposed = unicodedata.normalize("NFKD", text).casefold()
    return "".join(character for character in decomposed if not unicodedata.combining(character))


class KnownWords:
    """Names or ids that must not occur, as the user's lists have them.

    Names of several words are found in the order given and reversed. Names in scripts without spaces are found
    anywhere. Entries under `shortest` characters are left out (and counted): they occur by chance.

    Args:
        entries: The list.
        kind: What a finding is called.
        letter: Its HIPAA row.
        shortest: Least characters of an entry.
    """

    def __init__(self, entries: Iterable[str], *, kind: str, letter: str, shortest: int = 2) -> None:
        self.kind, self.letter = kind, letter
        self._spaced: dict[tuple[str, ...], None] = {}
        self._unspaced: list[str] = []
        self.left_out = 0
        for entry in entries:
            words = tuple(part for part in re.split(r"[\s,;]+", folded(entry)) if part)
            joined = "".join(words)
            if not joined:
                continue
            if len(joined) < shortest:
                self.left_out += 1
            elif not joined.isascii() and any(unicodedata.category(one) == "Lo" for one in joined):
                self._unspaced.append(joined)
            else:
                self._spaced[words] = None
                self._spaced[words[::-1]] = None
        self._longest = max((len(words) for words in self._spaced), default=0)

    def __len__(self) -> int:
        return len({tuple(sorted(words)) for words in self._spaced}) + len(self._unspaced)

    def found_in(self, text: str) -> list[Identifier]:
        """Every listed entry that stands in `text`."""
        return list(self._find(folded(text)))

    def _find(self, text: str) -> Iterator[Identifier]:
        spans = [match.span() for match in re.finditer(r"[^\W_]+(?:[-'’.][^\W_]+)*", text)]
        words = [text[start:end] for start, end in spans]
        for first in range(len(words)):
            for count in range(1, min(self._longest, len(words) - first) + 1):
                if tuple(words[first : first + count]) in self._spaced:
                    start, end = spans[first][0], spans[first + count - 1][1]
                    yield Identifier(kind=self.kind, letter=self.letter, text=text[start:end], start=start)
        for entry in self._unspaced:
            at = text.find(entry)
            if at >= 0:
                yield Identifier(kind=self.kind, letter=self.letter, text=entry, start=at)


def all_identifiers(text: str, lists: Sequence[KnownWords] = ()) -> list[Identifier]:
    """What forms and lists find in a text."""
    return [*identifiers_in(text), *(one for known in lists for one in known.found_in(text))]
