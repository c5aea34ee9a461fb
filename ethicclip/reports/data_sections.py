"""Sections on cohorts, splits and synthetic sets."""

from __future__ import annotations

from ethicclip.provenance import ArtifactRecord
from ethicclip.reports.document import CohortPart, SetPart, SplitPart
from ethicclip.reports.evidence import Evidence
from ethicclip.reports.pictures import Shown
from ethicclip.reports.reading_json import as_facts, fields, items, settings_facts
from ethicclip.reports.wording import clean, clean_all, label, number


def cohort_parts(evidence: Evidence) -> tuple[CohortPart, ...]:
    """Every cohort by alias and commitment, with the counts that a split recorded."""
    parts = []
    for record in evidence.cohorts:
        uses = [edge for edge in evidence.snapshot.edges if edge.artifact == record.id]
        known = evidence.snapshot.by_run
        verbs = [f"{known[edge.run_id].verb} ({edge.role})" for edge in uses if edge.run_id in known]
        parts.append(
            CohortPart(
                alias=clean(record.alias or "(no alias)", 120),
                id=record.id,
                origin=record.origin,
                facts=as_facts(_split_counts(evidence, record)),
                used_by=tuple(dict.fromkeys(clean(verb, 80) for verb in verbs)),
            )
        )
    return tuple(parts)


def split_parts(evidence: Evidence) -> tuple[SplitPart, ...]:
    """How cohorts were divided."""
    parts = []
    for run in evidence.splits:
        whole = [r for r in evidence.snapshot.artifacts_of(run.run_id, "used") if r.kind == "cohort"]
        metrics = evidence.snapshot.metrics_of(run.run_id)
        parts.append(
            SplitPart(
                run_id=run.run_id,
                cohort=clean(whole[0].alias or "(no alias)", 120) if whole else "(not recorded)",
                parts=as_facts((label(clean(m.name, 80)), number(m.estimate)) for m in metrics),
                disjoint="Patients, and images found to be near-duplicates, were kept together in one part. Patients "
                "can be kept apart only as far as the table names them.",
            )
        )
    return tuple(parts)


def set_part(evidence: Evidence, record: ArtifactRecord, shown: Shown) -> SetPart:
    """One synthetic set from its manifest."""
    paper = evidence.manifests[record.id]
    content = clean_all(paper.content)
    counts = fields(content, "counts")
    labels = fields(counts, "labels")
    maker = next((e.run_id for e in evidence.snapshot.edges if e.artifact == record.id and e.role == "generated"), None)
    facts: list[tuple[str, str]] = [("Recorded origin", record.origin)]
    facts += [(label(name), number(value)) for name, value in counts.items() if not isinstance(value, dict | list)]
    for name in ("licence", "marking"):
        if isinstance(content.get(name), str):
            facts.append((label(name), content[name]))
    run = evidence.snapshot.by_run.get(maker or "")
    return SetPart(
        alias=clean(record.alias or "(no alias)", 120),
        id=record.id,
        origin=record.origin,
        is_subject=evidence.subject is not None and record.id == evidence.subject.id,
        run_id=maker,
        paper=paper.says(),
        facts=as_facts(facts),
        labels=as_facts((label(name), number(value)) for name, value in labels.items()),
        notes=tuple(str(note) for note in items(content, "notes")),
        settings=settings_facts(run.settings) if run is not None else (),
        pictures=shown.pictures,
        pictures_note=shown.note,
    )


def _split_counts(evidence: Evidence, record: ArtifactRecord) -> list[tuple[str, str]]:
    part = (record.alias or "").rpartition("/")[2]
    for edge in evidence.snapshot.edges:
        if edge.artifact == record.id and edge.role == "generated":
            return [
                (label(metric.name.partition("/")[0]), number(metric.estimate))
                for metric in evidence.snapshot.metrics_of(edge.run_id)
                if metric.name.partition("/")[2] == part
            ]
    return []
