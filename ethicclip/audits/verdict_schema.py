"""The published form of ``verdict.json``; ``docs/schemas/verdict.schema.json`` is generated from these classes.

Readers have to ignore fields that they do not know: a later release adds some without another schema number. What is
named here stays, with its meaning.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = "ethicclip/verdict/1"


class Part(BaseModel):
    """Base of all parts: further fields are allowed."""

    model_config = ConfigDict(frozen=True, extra="allow", allow_inf_nan=False, populate_by_name=True)


class Interval(Part):
    """A share or rate with its interval and the number of units behind it."""

    estimate: float
    low: float
    high: float
    n: int
    level: float
    method: str


class Counts(Part):
    """How many there were of everything."""

    synthetic: int
    synthetic_undescribed: int
    reference_images: int
    reference_patients: int
    control_images: int
    control_patients: int
    control_dropped: int
    control_patients_dropped: int
    same_eye_links: int
    flagged_images: int
    flagged_patients: int


class TargetDecoy(Part):
    """The test with error control, by patient."""

    ran: bool
    alpha: float
    rejected_patients: int
    estimated_fdr: float | None
    fewest_rejections: int
    counts_towards_verdict: bool


class Confirmed(Part):
    """Pairs that stand alone, and how many false ones are expected by the tail model."""

    images: int
    threshold: float
    expected_false: float
    model_based: Literal[True]


class KindPower(Part):
    """Power against one kind of planted copies: `m` copies among `n` images are noticed."""

    kind: str
    m: int | None
    n: int
    rate: float | None
    recall: Interval


class Bound(Part):
    """What a PASS states."""

    statement: str
    kind: str
    m: int
    n: int
    rate: float | None


class Attack(Part):
    """An attack, and whether it ran."""

    name: str
    ran: bool
    note: str


class Descriptor(Part):
    """What described the pictures; `sha256` names weights and preprocessing."""

    name: str
    sha256: str | None


class Aggregate(Part):
    """A figure of the literature beside its control value; never part of the verdict. Null where it did not run."""

    name: str
    source: str
    estimate: float | None
    low: float | None
    high: float | None
    n: int
    unit: str
    control: float | None
    control_means: str
    level: float
    method: str
    note: str


class TextCounts(Part):
    """Counts of the scan of words and files."""

    images: int
    captions: int
    identifiers: int
    direct_identifiers: int
    files_with_identifiers: int
    burned_in: int
    unread: int


class SafeHarborRow(Part):
    """One of the 18 identifiers of 45 CFR 164.514(b)(2)(i)."""

    letter: str
    identifier: str
    state: Literal["scanned", "not scanned", "needs a person"]
    how: str
    found: int


class Text(Part):
    """The scan of captions, file names, metadata and pixels: counts only."""

    verdict: Literal["PASS", "LEAK", "INCONCLUSIVE"]
    reason: str
    counts: TextCounts
    safe_harbor: tuple[SafeHarborRow, ...] = Field(min_length=18, max_length=18)


class History(Part):
    """How often the ledger saw this audited, the present audit included."""

    of_this_set: int = Field(ge=1)
    against_this_reference: int = Field(ge=1)


class PolicyRule(Part):
    """One rule of the policy, and what became of it."""

    metric: str
    statistic: Literal["estimate", "low", "high"]
    maximum: float | None
    minimum: float | None
    value: float | None
    judgement: Literal["kept", "missed", "waived", "not measured"]
    rationale: str
    owner: str
    note: str


class AppliedPolicy(Part):
    """The policy that the result was held to; `sha256` is of its resolved content."""

    name: str
    owner: str
    sha256: str
    day: str
    state: Literal["kept", "missed", "open"]
    rules: tuple[PolicyRule, ...]


class Gate(Part):
    """Verdict and policy together, and the exit code that they mean."""

    state: Literal["passed", "failed", "open"]
    exit_code: Literal[0, 10, 11]
    policy: AppliedPolicy | None


class File(Part):
    """A file of the audit's folder."""

    name: str
    holds: str
    restricted: bool


class VerdictDocument(Part):
    """``verdict.json``: counts, rates and reasons; no name of a real picture and no patient id."""

    schema_: Literal["ethicclip/verdict/1"] = Field(alias="schema")
    verdict: Literal["PASS", "LEAK", "INCONCLUSIVE"]
    reason: str
    counts: Counts
    flagged_share: Interval
    target_decoy: TargetDecoy
    confirmed: Confirmed
    far_half: Interval | None
    reference_share: Interval | None
    power: tuple[KindPower, ...]
    bound: Bound | None
    attacks: tuple[Attack, ...]
    descriptors: tuple[Descriptor, ...]
    aggregates: tuple[Aggregate, ...]
    text: Text | None
    history: History | None
    gate: Gate
    files: tuple[File, ...]
    settings: dict[str, Any]
    settings_sha256: str
    caveats: tuple[str, ...]


def schema() -> dict[str, Any]:
    """The JSON Schema of ``verdict.json``."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": SCHEMA,
        **VerdictDocument.model_json_schema(by_alias=True),
    }
