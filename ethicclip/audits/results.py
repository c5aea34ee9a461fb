"""Turns the finished audit into files: the verdict, the flagged pairs, the scores, the pictures for a reader.

Everything but ``verdict.json`` shows or names patients. The folder is made readable to its owner only, and a note in it
says why. The verdict holds counts and rates, no file name of a real picture and no patient id.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ethicclip.audits import figures
from ethicclip.audits.aggregates import Aggregate
from ethicclip.audits.beside import AuditHistory
from ethicclip.audits.comparison import Pair
from ethicclip.audits.decision import Calibration, Conclusion, Findings, Pool, Scored, Verdict
from ethicclip.audits.describing import Described, Pictures
from ethicclip.audits.description.learned import LearnedDescriptor
from ethicclip.audits.description.local import LocalFeatures
from ethicclip.audits.gating import Gate, measures_of
from ethicclip.audits.likeness import LikenessSearch
from ethicclip.audits.naming import name_relation, name_transformation
from ethicclip.audits.power import KindPower
from ethicclip.audits.settings import AuditSettings
from ethicclip.audits.text import TextScan
from ethicclip.audits.text.writing import write_scan
from ethicclip.audits.verdict import verdict_document
from ethicclip.cohorts import Cohort
from ethicclip.errors import ExitCode
from ethicclip.files import PARTIAL_SUFFIX, require_empty_or_absent, storage_errors, write_json, write_text
from ethicclip.pairs import ImageSource
from ethicclip.policy import Policy, judge
from ethicclip.progress import Progress

_RESTRICTED = """RESTRICTED

This folder shows and names real patients: a flagged synthetic image is a picture of a patient's retina, and the files
beside this one name the reference pictures that it matches. Keep it where the reference itself may be kept, and delete
it when the decision is taken.

verdict.json alone holds counts and rates only, no name of a real picture and no patient id.
"""

_VERDICT = "verdict.json"
EMBEDDINGS = "embeddings"
PAIRS = "pairs"

FILES: dict[str, str] = {
    "RESTRICTED.txt": "why this folder is restricted",
    "flagged.csv": "flagged images with their reference pictures",
    "scores.csv": "every synthetic image with its score; higher is nearer a copy",
    "contact_sheet.png": "the strongest pairs side by side",
    PAIRS: "one page a flagged pair: pictures, alignment, vessels, matches",
    "scores.svg": "nearest scores to reference, to control, and of real eyes to other patients",
    "distances.svg": "nearest distances by a global descriptor, to reference and to control",
    "power.svg": "probability of silence against the number of planted copies",
    "identifiers.csv": "identifiers found in words and files",
    "burned_in.csv": "images with possible writing in their pixels",
    "overlaps.csv": "captions that overlap with real reports",
    EMBEDDINGS: "vectors of every picture, by descriptor and picture; reused by a later audit (--reuse)",
    _VERDICT: "verdict, counts, bound, power, attacks; shareable",
}
"""What an audit may write, and what it holds."""
_RULE_PIXELS, _RULE_GEOMETRY, _RULE_COMPETITION = "pixels", "geometry", "target-decoy"


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that an audit found, before it is written down."""

    settings: AuditSettings
    synthetic: ImageSource
    reference: Cohort
    control: Cohort | None
    control_dropped: int
    control_patients_dropped: int
    links: int
    artefacts: float
    pool: Pool
    pictures: Pictures
    files: tuple[Path, ...]
    results: Sequence[Sequence[Pair]]
    described: Described
    scored: Scored
    calibration: Calibration
    findings: Findings
    power: tuple[KindPower, ...]
    conclusion: Conclusion
    descriptors: tuple[LearnedDescriptor, ...]
    searches: tuple[LikenessSearch, ...]
    real_features: Sequence[LocalFeatures]
    aggregates: tuple[Aggregate, ...]
    space: str
    distances: tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]
    words: TextScan | None
    history: AuditHistory | None
    policy: Policy | None
    today: date | None
    ratio_below_one: int
    reference_distance: npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Flagged:
    """One flagged synthetic image with its reference picture."""

    image: int
    pair: Pair
    rule: str
    verified: bool


@dataclass(frozen=True, kw_only=True)
class AuditResult:
    """The verdict of an audit and where its evidence lies.

    Attributes:
        verdict: PASS, LEAK or INCONCLUSIVE.
        reason: One sentence.
        out: The restricted folder.
        document: What ``verdict.json`` holds.
        files: The files written, in the order of writing.
        gate: Verdict and policy together: the words that end `lines` and the exit code.
    """

    verdict: Verdict
    reason: str
    out: Path
    document: dict[str, Any]
    files: tuple[Path, ...]
    gate: Gate

    @property
    def exit_code(self) -> ExitCode:
        """With what the command line ends; the same that ``verdict.json`` and `lines` say."""
        return self.gate.exit_code

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints: the verdict document and the folder."""
        return {**self.document, "out": str(self.out)}

    def lines(self) -> list[str]:
        """A few lines for a person."""
        counts, bound = self.document["counts"], self.document["bound"]
        lines = [
            f"{self.verdict}: {self.reason}",
            f"{counts['synthetic']} synthetic images against {counts['reference_images']} reference images "
            f"({counts['reference_patients']} patients) and {counts['control_images']} control images "
            f"({counts['control_patients']} patients)",
            f"flagged: {counts['flagged_images']} images near {counts['flagged_patients']} reference patients",
        ]
        if bound is not None:
            lines.append(str(bound["statement"]))
        text = self.document["text"]
        if text is not None:
            lines.append(f"words and files: {text['verdict']}: {text['reason']}")
        history = self.document["history"]
        if history is not None:
            lines.append(
                f"audits in the ledger: {history['of_this_set']} of this set, "
                f"{history['against_this_reference']} against this reference"
            )
        return [*lines, *self.gate.lines()]


def require_usable(out: Path) -> None:
    """Refuse a folder that holds a finished audit or anything that is not an audit's.

    Raises:
        BadInputError: See above. What an audit that was cut off left behind (it has no verdict yet) is written anew.
    """
    if out.is_dir() and not (out / _VERDICT).exists():
        names = {entry.name for entry in out.iterdir() if not entry.name.endswith(PARTIAL_SUFFIX)}
        if names <= set(FILES):
            return
    require_empty_or_absent(out)


def prepare_folder(out: Path) -> None:
    """Make the audit's folder, readable to its owner only."""
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        out.chmod(0o700)


def write_audit(evidence: Evidence, out: Path, *, progress: Progress) -> AuditResult:
    """Write the audit's folder; the verdict is written last, so a folder without one is unfinished."""
    prepare_folder(out)
    flagged = flagged_images(evidence)
    written: list[Path] = []
    with progress.task("writing evidence", total=None, unit="files") as task:

        def done(path: Path) -> None:
            written.append(path)
            task.advance()

        write_text(out / "RESTRICTED.txt", _RESTRICTED)
        done(out / "RESTRICTED.txt")
        write_text(out / "flagged.csv", _flagged_table(evidence, flagged))
        done(out / "flagged.csv")
        if evidence.settings.scores:
            write_text(out / "scores.csv", _scores_table(evidence))
            (out / "scores.csv").chmod(0o600)
            done(out / "scores.csv")
        if evidence.words is not None:
            for table in write_scan(evidence.words, evidence.synthetic, out):
                done(table)
        pairs = _sheet_pairs(evidence, flagged)
        if pairs:
            figures.contact_sheet(out / "contact_sheet.png", pairs, evidence.synthetic, evidence.pictures)
            done(out / "contact_sheet.png")
        for page in _pair_pages(evidence, pairs, out / PAIRS):
            done(page)
        figures.score_densities(
            out / "scores.svg",
            reference=evidence.scored.reference_score,
            control=evidence.scored.control_score if evidence.pool.has_control else None,
            impostors=evidence.calibration.impostors,
            threshold=evidence.findings.confirmation_threshold,
        )
        done(out / "scores.svg")
        figures.distance_densities(
            out / "distances.svg",
            reference=evidence.distances[0],
            control=evidence.distances[1],
            space=evidence.space,
        )
        done(out / "distances.svg")
        if evidence.power:
            figures.power_curves(out / "power.svg", evidence.power)
            done(out / "power.svg")
        document = verdict_document(evidence, flagged)
        document["files"] = _files_table(out)
        gate = _gate(evidence, document)
        document["gate"] = gate.to_json()
        write_json(out / _VERDICT, document)
        done(out / _VERDICT)
    return AuditResult(
        verdict=evidence.conclusion.verdict,
        reason=evidence.conclusion.reason,
        out=out,
        document=document,
        files=tuple(written),
        gate=gate,
    )


def _gate(evidence: Evidence, document: dict[str, Any]) -> Gate:
    decision = None
    if evidence.policy is not None and evidence.today is not None:
        decision = judge(evidence.policy, measures_of(document), day=evidence.today)
    return Gate(verdict=evidence.conclusion.verdict, decision=decision)


def _files_table(out: Path) -> list[dict[str, Any]]:
    """What lies in the folder, what it holds, and that everything but the verdict is restricted."""
    return [
        {"name": name, "holds": holds, "restricted": name != _VERDICT}
        for name, holds in FILES.items()
        if name == _VERDICT or (out / name).exists()
    ]


def _pair_pages(evidence: Evidence, pairs: Sequence[figures.SheetPair], folder: Path) -> Iterator[Path]:
    """A page for each flagged pair of the contact sheet, under the number that it has there."""
    for number, one in enumerate(pairs, start=1):
        if one.rule == "not flagged":
            continue
        path = folder / f"{number:04d}.png"
        features = (evidence.described.features[one.image], evidence.real_features[one.pair.picture])
        figures.pair_page(path, number, one, evidence.synthetic, evidence.pictures, features)
        yield path


def best_reference_pair(evidence: Evidence, image: int) -> Pair | None:
    """The best verified pair of a synthetic image with a *reference* picture."""
    for pair in evidence.results[image]:
        if evidence.pool.in_reference[evidence.pool.unit[pair.picture]]:
            return pair
    return None


def flagged_images(evidence: Evidence) -> list[Flagged]:
    """Flagged synthetic images, highest score first."""
    findings = evidence.findings
    flagged = []
    for image in np.flatnonzero(findings.flagged):
        pair = best_reference_pair(evidence, int(image))
        if pair is None:
            continue
        rules = []
        if findings.confirmed[image]:
            by_geometry = pair.verification.inliers >= 8 and pair.verification.score > 0.5 * pair.score
            rules.append(_RULE_GEOMETRY if by_geometry else _RULE_PIXELS)
        if findings.by_competition[image] and not findings.fits_in_general:
            rules.append(_RULE_COMPETITION)
        flagged.append(
            Flagged(image=int(image), pair=pair, rule="+".join(rules), verified=bool(findings.confirmed[image]))
        )
    return sorted(flagged, key=lambda one: (-one.pair.score, one.image))


def _flagged_table(evidence: Evidence, flagged: Sequence[Flagged]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["file", "reference_file", "score", "rule", "inliers", "transformation", "verified", "relation"])
    for one in flagged:
        writer.writerow(
            [
                evidence.synthetic.name(one.image),
                str(evidence.files[one.pair.picture]),
                f"{one.pair.score:.6f}",
                one.rule,
                one.pair.verification.inliers,
                name_transformation(one.pair),
                "yes" if one.verified else "no",
                name_relation(one.pair),
            ]
        )
    return stream.getvalue()


def _scores_table(evidence: Evidence) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["file", "score"])
    for image, score in enumerate(evidence.scored.reference_score):
        # An image without a verified reference pair ranks below all others, by its global distance.
        ranked = score if score > 0 else -evidence.reference_distance[image]
        writer.writerow([evidence.synthetic.name(image), f"{ranked:.12g}"])
    return stream.getvalue()


def _sheet_pairs(evidence: Evidence, flagged: Sequence[Flagged]) -> list[figures.SheetPair]:
    """Flagged pairs first, then the nearest others, so that a reader sees where the flags end."""
    pairs = [
        figures.SheetPair(image=one.image, pair=one.pair, rule=one.rule, confirmed=one.verified) for one in flagged
    ]
    shown = {one.image for one in pairs}
    for image in np.lexsort((np.arange(len(evidence.scored.score)), -evidence.scored.reference_score)):
        if len(pairs) >= evidence.settings.sheet_pairs:
            break
        pair = best_reference_pair(evidence, int(image))
        if int(image) not in shown and pair is not None:
            pairs.append(figures.SheetPair(image=int(image), pair=pair, rule="not flagged", confirmed=False))
    return pairs[: evidence.settings.sheet_pairs]
