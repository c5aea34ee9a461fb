"""From a ledger to the report's document and the pictures that go with it."""

from __future__ import annotations

from ethicclip import __version__
from ethicclip.reports.audit_section import audit_part
from ethicclip.reports.comparison_section import comparison_part
from ethicclip.reports.data_sections import cohort_parts, set_part, split_parts
from ethicclip.reports.document import Ledger, Report
from ethicclip.reports.evidence import Evidence
from ethicclip.reports.figures import recorded_figures
from ethicclip.reports.first_page import banners, first_page
from ethicclip.reports.lineage_part import lineage_part
from ethicclip.reports.mappings import fill
from ethicclip.reports.model_sections import evaluation_part, training_part
from ethicclip.reports.other_sections import caption_part, membership_part
from ethicclip.reports.pictures import Shown, contact_sheet, nothing, samples
from ethicclip.reports.run_section import run_parts
from ethicclip.reports.settings import ReportSettings
from ethicclip.reports.wording import clean


def build(evidence: Evidence, settings: ReportSettings, written: str) -> tuple[Report, dict[str, str]]:
    """The document, and the data of its pictures by sha256."""
    restricted = settings.audience == "restricted"
    pictures: dict[str, str] = {}
    subject_id = evidence.subject.id if evidence.subject is not None else None
    sets = []
    # Real pair sets are no synthetic sets; the released set stands first.
    for record in sorted(evidence.sets, key=lambda record: record.id != subject_id):
        other = "No picture is shown: this is not the released set."
        shown = samples(evidence, record, settings.pictures) if record.id == subject_id else nothing(other)
        pictures |= shown.data
        sets.append(set_part(evidence, record, shown))
    audits = []
    for audit in reversed(evidence.audits):
        sheet: Shown = contact_sheet(audit) if restricted else nothing("")
        pictures |= sheet.data
        picture = sheet.pictures[0] if sheet.pictures else None
        # How near single images come to real eyes is for the restricted form.
        drawn = recorded_figures(evidence, audit.run, ("scores",)) if restricted else nothing("")
        pictures |= drawn.data
        audits.append(audit_part(evidence, audit, restricted=restricted, sheet=picture, figures=drawn.pictures))
    deciding = evidence.deciding
    deciding_part = next((a for a in audits if deciding is not None and a.run_id == deciding.run.run_id), None)
    evaluations = []
    for entry in reversed(evidence.evaluations):
        drawn = recorded_figures(evidence, entry.run, ("roc", "reliability", "subgroups"))
        pictures |= drawn.data
        evaluations.append(evaluation_part(evidence, entry, drawn.pictures))
    comparisons = []
    for entry in reversed(evidence.comparisons):
        drawn = recorded_figures(evidence, entry.run, ("differences", "likeness"))
        pictures |= drawn.data
        comparisons.append(comparison_part(evidence, entry, drawn.pictures))
    runs, environments = run_parts(evidence)
    report = Report(
        title=clean(settings.title, 300),
        audience=settings.audience,
        written=written,
        version=__version__,
        simulated=evidence.simulated,
        banners=banners(evidence, settings),
        first_page=first_page(evidence, settings, next((s for s in sets if s.is_subject), None), deciding_part),
        cohorts=cohort_parts(evidence),
        splits=split_parts(evidence),
        sets=tuple(sets),
        # What decides stands first, then the other audits of the set, then those of other sets; newest first.
        audits=tuple(sorted(audits, key=lambda a: (a is not deciding_part, not a.is_subject))),
        trainings=tuple(training_part(evidence, entry) for entry in reversed(evidence.trainings)),
        captions=caption_part(evidence, deciding_part),
        evaluations=tuple(evaluations),
        comparisons=tuple(comparisons),
        memberships=tuple(
            membership_part(evidence, entry, restricted=restricted) for entry in reversed(evidence.memberships)
        ),
        frameworks=fill(evidence),
        lineage=lineage_part(evidence),
        runs=runs,
        environments=environments,
        ledger=_ledger(evidence),
    )
    return report, pictures


def _ledger(evidence: Evidence) -> Ledger:
    snapshot, checked = evidence.snapshot, evidence.checked
    head = snapshot.heads[-1] if snapshot.heads else None
    return Ledger(
        id=snapshot.ledger_id,
        status="intact" if checked.ok else "broken",
        findings=tuple(clean(finding.line(), 300) for finding in checked.findings),
        notes=tuple(clean(note, 300) for note in checked.notes),
        events=checked.checked.get("events", 0),
        runs=len(snapshot.runs),
        artifacts=len(snapshot.by_artifact),
        head=head.hash if head is not None else None,
        head_seq=head.seq if head is not None else None,
        head_signed=head.time if head is not None else None,
        public_key=head.public_key if head is not None else None,
    )
