"""The section on one leakage audit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ethicclip.reports.beside_verdict import beside_facts
from ethicclip.reports.document import AuditPart, Check, Picture, PowerRow
from ethicclip.reports.evidence import AuditEvidence, Evidence, PaperState
from ethicclip.reports.pictures import SHOWN_FLAGS, flagged_rows
from ethicclip.reports.reading_json import alias_of, as_facts, as_integer, as_score, fields, items, settings_facts
from ethicclip.reports.wording import clean, clean_all, facts_of, label, number, sentence

_COUNTS = (
    "synthetic",
    "flagged_images",
    "flagged_patients",
    "reference_images",
    "reference_patients",
    "control_images",
    "control_patients",
    "control_dropped",
)
_BESIDE = ("flagged_share", "reference_share", "ratio_below_one", "camera_artefacts")


KINDS = {
    "exact": "the photograph itself",
    "jpeg30": "strong JPEG compression",
    "flip": "mirrored",
    "rotation15": "turned by up to 15 degrees",
    "crop70": "cropped to 70 %",
    "blur": "blurred",
    "noise": "heavy noise",
    "colour": "other colours",
    "resize128": "shrunk to 128 pixels",
    "combination": "several of these at once",
}
"""Kinds of planted copies in words; a kind that is not here shows by its name."""


def audit_part(
    evidence: Evidence,
    audit: AuditEvidence,
    *,
    restricted: bool,
    sheet: Picture | None,
    figures: tuple[Picture, ...] = (),
) -> AuditPart:
    """One audit from its verdict file, or from the ledger's metrics where the file is gone."""
    content = clean_all(audit.verdict.content)
    counts = facts_of(_ordered(fields(content, "counts")))
    if audit.verdict.state != PaperState.READ:
        recorded = evidence.snapshot.metrics_of(audit.run.run_id)
        counts = [
            (label(clean(m.name.removeprefix("audit/"), 80)), number(m.estimate))
            for m in recorded
            if "recall" not in m.name
        ]
    bound = content.get("bound")
    attacks = [item for item in items(content, "attacks") if isinstance(item, dict)]
    subject = evidence.subject
    return AuditPart(
        run_id=audit.run.run_id,
        time=audit.run.ended or audit.run.started,
        set_alias=alias_of(audit.audited),
        is_subject=subject is not None and audit.audited is not None and audit.audited.id == subject.id,
        positive_control=clean(audit.positive_control),
        paper=audit.verdict.says(),
        verdict=audit.outcome,
        reason=sentence(str(content.get("reason") or "No reason is recorded beside the verdict.")),
        bound=str(bound.get("statement", "")) if isinstance(bound, dict) else "",
        reference=alias_of(audit.reference),
        control=alias_of(audit.control) if audit.control is not None else "none",
        counts=as_facts(counts),
        target_decoy=as_facts(facts_of(content.get("target_decoy"))),
        confirmed=as_facts(facts_of(content.get("confirmed"), skip=("impostor_tail", "control_tail"))),
        far_half=as_facts(facts_of(content.get("far_half"))),
        beside=as_facts([*facts_of({n: content[n] for n in _BESIDE if n in content}), *beside_facts(content)]),
        patients=as_facts(facts_of({"patients_known": content.get("patients_known")} if content else {})),
        power=tuple(_power(row) for row in items(content, "power") if isinstance(row, dict)),
        attacks=tuple(_check(item) for item in attacks if item.get("ran") is True),
        attacks_not_run=tuple(_check(item) for item in attacks if item.get("ran") is not True),
        caveats=tuple(str(text) for text in items(content, "caveats")),
        settings=settings_facts(audit.run.settings),
        flagged=_flagged(audit) if restricted else (),
        sheet=sheet,
        figures=figures,
    )


def _ordered(counts: Mapping[str, Any]) -> dict[str, Any]:
    """Counts in the order in which a reader asks for them; those of other names follow."""
    names = [name for name in _COUNTS if name in counts]
    return {name: counts[name] for name in [*names, *(name for name in counts if name not in names)]}


def _check(item: Mapping[str, Any]) -> Check:
    return Check(name=label(str(item.get("name", ""))), text=sentence(str(item.get("note") or "")))


def _power(row: Mapping[str, Any]) -> PowerRow:
    kind = str(row.get("kind", ""))
    curve = [
        tuple(as_integer(point.get(name)) for name in ("m", "repetitions", "silent"))
        for point in items(row, "curve")
        if isinstance(point, dict)
    ]
    return PowerRow(
        kind=kind,
        words=KINDS.get(kind, label(kind).lower()),
        curve=tuple((m, n, silent) for m, n, silent in curve if m is not None and n and silent is not None),
        m=as_integer(row.get("m")),
        n=as_integer(row.get("n")),
        recall=as_score(str(row.get("kind", "")), row.get("recall"), None),
    )


def _flagged(audit: AuditEvidence) -> tuple[tuple[str, ...], ...]:
    rows = flagged_rows(audit)[:SHOWN_FLAGS]
    if not rows:
        return ()
    names = list(rows[0])
    return (
        tuple(clean(name, 60) for name in names),
        *(tuple(clean(row.get(n, ""), 120) for n in names) for row in rows),
    )
