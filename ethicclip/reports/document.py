"""The report as data: what ``report.json`` holds, and all that the page is made from.

The published schema, ``report.schema.json``, is generated from these classes.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

SCHEMA = "ethicclip/report/1"


class Part(BaseModel):
    """Base of all parts: frozen, and nothing unnamed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, populate_by_name=True)


class State(StrEnum):
    """What the evidence says to a requirement."""

    EVIDENCED = "evidenced"
    FAILED = "failed"
    NOT_RUN = "not run"
    NEEDS_A_PERSON = "needs a person"


class Fact(Part):
    """A name and what is known under it."""

    name: str
    text: str


class Score(Part):
    """A measured value with its interval and sample size; `estimate` null means that it could not be computed."""

    name: str
    estimate: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    unit: str | None = None
    note: str = ""


class Check(Part):
    """Something that was tested, or was not."""

    name: str
    text: str
    refs: tuple[str, ...] = ()


class Ledger(Part):
    """The ledger that the report was made from, and whether its chain held then."""

    id: str
    status: Literal["intact", "broken"]
    findings: tuple[str, ...]
    notes: tuple[str, ...]
    events: int
    runs: int
    artifacts: int
    head: str | None
    head_seq: int | None
    head_signed: str | None
    public_key: str | None


class FirstPage(Part):
    """What a reader in a hurry must not miss."""

    subject: str
    subject_id: str | None
    released: str
    released_to: str
    purpose: str
    attacker: str
    verdict: Literal["PASS", "LEAK", "INCONCLUSIVE", "NOT RUN"]
    verdict_means: str
    reason: str
    bound: str
    audited: str | None
    audits_of_subject: int
    look_again: str
    look_again_sooner: tuple[str, ...]
    privacy: str = ""
    stale: tuple[str, ...]
    tested: tuple[Check, ...]
    not_tested: tuple[Check, ...]
    eyes: str


class CohortPart(Part):
    """A collection of eyes, by alias and commitment."""

    alias: str
    id: str
    origin: str
    facts: tuple[Fact, ...]
    used_by: tuple[str, ...]


class SplitPart(Part):
    """How a cohort was divided."""

    run_id: str
    cohort: str
    parts: tuple[Fact, ...]
    disjoint: str


class Picture(Part):
    """A picture shown in the page."""

    key: str
    sha256: str
    alt: str


class SetPart(Part):
    """A synthetic set, how it was made and what is in it."""

    alias: str
    id: str
    origin: str
    is_subject: bool
    run_id: str | None
    paper: str
    facts: tuple[Fact, ...]
    labels: tuple[Fact, ...]
    notes: tuple[str, ...]
    settings: tuple[Fact, ...]
    pictures: tuple[Picture, ...]
    pictures_note: str


class PowerRow(Part):
    """What the audit would have seen of planted copies of one kind."""

    kind: str
    words: str
    m: int | None
    n: int | None
    recall: Score
    curve: tuple[tuple[int, int, int], ...] = ()
    """Triples of copies planted, runs of the whole rule, and runs in which the rule stayed silent."""


class AuditPart(Part):
    """One leakage audit."""

    run_id: str
    time: str
    set_alias: str
    is_subject: bool
    positive_control: str
    paper: str
    verdict: str
    reason: str
    bound: str
    reference: str
    control: str
    counts: tuple[Fact, ...]
    target_decoy: tuple[Fact, ...]
    confirmed: tuple[Fact, ...]
    far_half: tuple[Fact, ...]
    beside: tuple[Fact, ...]
    patients: tuple[Fact, ...]
    power: tuple[PowerRow, ...]
    attacks: tuple[Check, ...]
    attacks_not_run: tuple[Check, ...]
    caveats: tuple[str, ...]
    settings: tuple[Fact, ...]
    flagged: tuple[tuple[str, ...], ...] = ()
    sheet: Picture | None = None
    figures: tuple[Picture, ...] = ()


class TrainingPart(Part):
    """One model's training and what may be said of its privacy."""

    run_id: str
    time: str
    paper: str
    privacy: str
    privacy_facts: tuple[Fact, ...]
    privacy_caveats: tuple[str, ...]
    data: tuple[str, ...]
    facts: tuple[Fact, ...]
    settings: tuple[Fact, ...]
    loss: tuple[tuple[float, float], ...]


class EvaluationPart(Part):
    """Zero-shot scores of one model on one cohort."""

    run_id: str
    time: str
    paper: str
    cohort: str
    unit: str
    scores: tuple[Score, ...]
    by_class: tuple[Score, ...]
    baselines: tuple[Score, ...]
    subgroups: tuple[Score, ...]
    classes: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    facts: tuple[Fact, ...]
    skipped: tuple[Fact, ...]
    caveats: tuple[str, ...]
    figures: tuple[Picture, ...] = ()


class PairedScores(Part):
    """A table: a score of the first, of the second, and of the second less the first on the same resampled patients."""

    title: str
    columns: tuple[str, str]
    rows: tuple[tuple[Score, Score, Score], ...]


class ComparisonPart(Part):
    """Two models on the same eyes, and each asked in two languages.

    `recorded` holds the ledger's metrics where the comparison's file is gone.
    """

    run_id: str
    time: str
    paper: str
    cohort: str
    unit: str
    scores: PairedScores
    languages: tuple[PairedScores, ...]
    likeness: tuple[Score, ...]
    recorded: tuple[Score, ...]
    facts: tuple[Fact, ...]
    caveats: tuple[str, ...]
    figures: tuple[Picture, ...] = ()


class Identifier(Part):
    """One of the 18 identifiers of 45 CFR 164.514(b)(2)(i): whether it was scanned for, how, and findings."""

    letter: str
    name: str
    state: str
    how: str
    found: int | None


class CaptionPart(Part):
    """What is known of the captions, file names and metadata of the released set."""

    facts: tuple[Fact, ...]
    tested: tuple[Check, ...]
    not_tested: tuple[Check, ...]
    results: tuple[Fact, ...]
    identifiers: tuple[Identifier, ...] = ()


class MembershipPart(Part):
    """Audits of a model: can anyone tell whose eyes it was trained on?"""

    run_id: str
    time: str
    paper: str
    model: str
    verdict: str
    reason: str
    attacks: tuple[str, ...] = ()
    attacks_not_run: tuple[Check, ...] = ()
    scores: tuple[Score, ...]
    facts: tuple[Fact, ...]


class Requirement(Part):
    """One requirement of a framework and its state."""

    section: str
    text: str
    state: State
    evidence: str
    refs: tuple[str, ...]


class Framework(Part):
    """A framework as its dated data file gives it, filled from the ledger."""

    id: str
    name: str
    source: str
    dated: str
    mapping_dated: str
    requirements: tuple[Requirement, ...]


class LineageNode(Part):
    """A run or an artifact in the picture of lineage."""

    id: str
    text: str
    kind: Literal["artifact", "run"]
    origin: str = "none"
    stale: bool = False


class LineagePart(Part):
    """Where the set and the model come from."""

    nodes: tuple[LineageNode, ...]
    edges: tuple[tuple[str, str], ...]
    left_out: int


class RunPart(Part):
    """One run of the ledger."""

    run_id: str
    verb: str
    started: str
    seconds: float | None
    status: str
    exit_code: int | None
    verdict: str | None
    seed: int | None
    settings: tuple[Fact, ...]
    settings_sha256: str
    environment: int


class Report(Part):
    """The whole report."""

    schema_: Literal["ethicclip/report/1"] = Field(default="ethicclip/report/1", alias="schema")
    title: str
    audience: Literal["shareable", "restricted"]
    written: str
    version: str
    simulated: bool
    banners: tuple[str, ...]
    first_page: FirstPage
    cohorts: tuple[CohortPart, ...]
    splits: tuple[SplitPart, ...]
    sets: tuple[SetPart, ...]
    audits: tuple[AuditPart, ...]
    captions: CaptionPart
    trainings: tuple[TrainingPart, ...]
    evaluations: tuple[EvaluationPart, ...]
    comparisons: tuple[ComparisonPart, ...]
    memberships: tuple[MembershipPart, ...]
    frameworks: tuple[Framework, ...]
    lineage: LineagePart
    runs: tuple[RunPart, ...]
    environments: tuple[tuple[Fact, ...], ...]
    ledger: Ledger

    def to_json(self) -> dict[str, Any]:
        """JSON types, under the names of the published schema."""
        return self.model_dump(mode="json", by_alias=True)


def schema() -> dict[str, Any]:
    """The JSON Schema of ``report.json``."""
    made = Report.model_json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA, **made}
