"""The verdict document: what a policy, a report or a reviewer reads. Counts and rates; nobody's name."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ethicclip.audits.decision import Verdict
from ethicclip.audits.power import hardest_of
from ethicclip.audits.statistics import TailModel, wilson
from ethicclip.audits.verdict_schema import SCHEMA

if TYPE_CHECKING:
    from ethicclip.audits.results import Evidence, Flagged


_NOT_RUN = {
    "membership inference on the generator": "needs the generator, not its images",
}


def verdict_document(evidence: Evidence, flagged: Sequence[Flagged]) -> dict[str, Any]:
    """``verdict.json`` as a dictionary of JSON types."""
    findings, pool, settings = evidence.findings, evidence.pool, evidence.settings
    images = len(evidence.scored.score)
    patients = {int(pool.unit[one.pair.picture]) for one in flagged}
    return {
        "schema": SCHEMA,
        "verdict": str(evidence.conclusion.verdict),
        "reason": evidence.conclusion.reason,
        "counts": {
            "synthetic": images,
            "synthetic_undescribed": int(evidence.described.empty.sum()),
            "reference_images": len(evidence.reference),
            "reference_patients": pool.reference_patients,
            "control_images": 0 if evidence.control is None else len(evidence.control),
            "control_patients": pool.control_patients,
            "control_dropped": evidence.control_dropped,
            "control_patients_dropped": evidence.control_patients_dropped,
            "same_eye_links": evidence.links,
            "flagged_images": len(flagged),
            "flagged_patients": len(patients),
        },
        "flagged_share": wilson(len(flagged), images).to_json(),
        "target_decoy": {
            "ran": pool.has_control and pool.control_patients > 0,
            "alpha": settings.alpha,
            "rejected_patients": int(findings.competition.rejected.sum()),
            "estimated_fdr": findings.competition.estimated_fdr,
            "threshold": findings.competition.threshold,
            "floor": evidence.calibration.screen,
            "reference_wins": findings.competition.reference_wins,
            "control_wins": findings.competition.control_wins,
            "fewest_rejections": findings.competition.fewest,
            "counts_towards_verdict": not findings.fits_in_general,
        },
        "confirmed": {
            "images": int(findings.confirmed.sum()),
            "threshold": findings.confirmation_threshold,
            "expected_false": settings.expected_false_confirmations,
            "model_based": True,
            "impostor_tail": _tail(evidence.calibration.tail),
            "control_tail": None if findings.control_tail is None else _tail(findings.control_tail),
        },
        "far_half": None if findings.far_half is None else findings.far_half.to_json(),
        "reference_share": None if findings.everything is None else findings.everything.to_json(),
        "ratio_below_one": {"images": evidence.ratio_below_one, "n": images, "note": "for a reader; no error control"},
        "camera_artefacts": {"share_of_keypoints_dropped": evidence.artefacts},
        "descriptors": _descriptors(evidence),
        "aggregates": [one.to_json() for one in evidence.aggregates],
        "text": None if evidence.words is None else evidence.words.to_json(),
        "history": None if evidence.history is None else asdict(evidence.history),
        "power": [one.to_json() for one in evidence.power],
        "bound": _bound(evidence),
        "attacks": _attacks(evidence),
        "settings": settings.resolved(),
        "settings_sha256": settings.digest(),
        "patients_known": {
            "reference": evidence.reference.patient_ids is not None,
            "control": None if evidence.control is None else evidence.control.patient_ids is not None,
        },
        "caveats": _caveats(evidence),
    }


def _tail(tail: TailModel) -> dict[str, Any]:
    return {"fitted": tail.fitted, "start": tail.start, "share": tail.share, "scale": tail.scale, "n": tail.n}


def _bound(evidence: Evidence) -> dict[str, Any] | None:
    """The headline: the hardest required kind. Only a PASS carries a bound."""
    if evidence.conclusion.verdict is not Verdict.PASS:
        return None
    hardest = hardest_of(evidence.power)
    count, images = hardest.fewest_noticed, hardest.images
    return {
        "statement": f"Fewer than {count} copies of the kind {hardest.kind!r} (the hardest required) among {images} "
        "synthetic images, at 95 % confidence. Copies harder than every kind that was planted are not covered.",
        "kind": hardest.kind,
        "m": count,
        "n": images,
        "rate": hardest.rate,
    }


def _attacks(evidence: Evidence) -> list[dict[str, Any]]:
    families = {name.family for name in evidence.settings.descriptors}
    geometry, words = families != {"pixel"}, evidence.words
    linked = [one for one in evidence.aggregates if one.name.startswith("linkability") and one.ran]
    overlap = words is not None and words.overlap is not None
    competed = evidence.pool.control_patients > 0
    ran = [
        ("pixel likeness, upright and mirrored", True, "global descriptors exactly searched, worst tile"),
        (
            "votes of local features, upright and mirrored",
            "local" in families,
            "" if "local" in families else "local is not among the descriptors",
        ),
        (
            "geometric verification of candidates",
            geometry,
            "" if geometry else "descriptor is pixel",
        ),
        *(
            (f"global descriptor {search.name}", True, "exactly searched; evidence calibrated on other patients")
            for search in _public_searches(evidence)
        ),
        *([] if evidence.searches else [("learned copy descriptor", False, "add copy to the descriptors")]),
        ("target-decoy competition by patient", competed, "" if competed else "needs a control"),
        ("nearest-neighbour ratio", True, "for a reader, not part of the verdict"),
        (
            "identifiers in captions, file names, records and metadata",
            words is not None,
            "" if words is not None else "setting text is off",
        ),
        ("burned-in text in pixels", words is not None, "flags for a person" if words is not None else ""),
        (
            "captions against real reports",
            overlap,
            "" if overlap else "needs reports (setting report_column)",
        ),
        (
            "linkability of image and report",
            bool(linked),
            "risk against control, not part of the verdict" if linked else "needs reports and captions",
        ),
    ]
    return [{"name": name, "ran": done, "note": note} for name, done, note in ran] + [
        {"name": name, "ran": False, "note": note} for name, note in _NOT_RUN.items()
    ]


def _public_searches(evidence: Evidence) -> list[_Search]:
    """The learned descriptors under names without a path."""
    names = {str(name): name.public for name in evidence.settings.descriptors}
    return [
        _Search(name=names[search.name], tail=search.tail, digest=one.digest)
        for search, one in zip(evidence.searches, evidence.descriptors, strict=True)
    ]


@dataclass(frozen=True, kw_only=True)
class _Search:
    name: str
    tail: TailModel
    digest: str


def _descriptors(evidence: Evidence) -> list[dict[str, Any]]:
    plain = [name.family for name in evidence.settings.descriptors if not name.learned]
    return [
        *({"name": name, "sha256": None, "impostor_tail": None} for name in plain),
        *(
            {"name": one.name, "sha256": one.digest, "impostor_tail": _tail(one.tail)}
            for one in _public_searches(evidence)
        ),
    ]


def _history(evidence: Evidence) -> str:
    text = "An audit used again and again to filter a set itself leaks"
    if evidence.history is None:
        return f"{text}; no ledger counts how often this set was audited."
    return (
        f"{text}: the ledger holds {evidence.history.of_this_set} audits of this set and "
        f"{evidence.history.against_this_reference} against this reference, this one included."
    )


def _caveats(evidence: Evidence) -> list[str]:
    settings, pool = evidence.settings, evidence.pool
    caveats = [
        "A screen with a stated bound, not a proof that nobody can be recognised: similarity tests are known to miss "
        "membership leakage.",
        _history(evidence),
    ]
    if evidence.reference.patient_ids is None or (
        evidence.control is not None and evidence.control.patient_ids is None
    ):
        caveats.append(
            "Patients could not be told apart: each image counts as one patient, so intervals are too narrow."
        )
    if pool.has_control and settings.exchangeable is None:
        caveats.append(
            "It was not stated that control and reference are a random patient-level split of one pool "
            "(exchangeable); target-decoy rests on it."
        )
    if settings.exchangeable is False:
        caveats.append("Control and reference are stated not to be exchangeable; target-decoy does not hold then.")
    for cohort in (evidence.reference, evidence.control):
        if cohort is not None and cohort.simulated:
            caveats.append("Real eyes were stood in for by a simulated population; nothing follows for real patients.")
            break
    if not evidence.calibration.tail.fitted:
        caveats.append("Too few real pictures to calibrate confirmation; a fixed threshold was used.")
    if pool.has_control and pool.control_patients:
        per_side = _images_per_patient(evidence)
        if max(per_side) > 1.15 * min(per_side):
            caveats.append(
                f"Reference and control differ in images per patient ({per_side[0]:.2f} and {per_side[1]:.2f}); "
                "the nearest patient then falls to the richer side more often."
            )
    return caveats


def _images_per_patient(evidence: Evidence) -> tuple[float, float]:
    unit, sides = evidence.pool.unit, evidence.pool.in_reference
    used = unit[unit >= 0]
    counts = np.bincount(used, minlength=len(sides))
    return float(counts[sides].mean()), float(counts[~sides].mean())
