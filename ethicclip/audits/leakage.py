"""``audit_leakage``: which synthetic images are copies of reference patients, how many, and how sure are we.

The order of the work is the argument: pictures are described, artefacts masked, eyes under two names linked, and the
synthetic set compared with reference and control *together*; only then are the sides revealed, the rule applied, and
its power measured with planted copies that went the same way. It is a screen, not a proof that nobody can be
recognised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ethicclip.audits.artefacts import artefact_keypoints
from ethicclip.audits.beside import AuditHistory, aggregates_of, sides_of, sought_in, space_of, with_words
from ethicclip.audits.comparison import Comparer, Effort, Pair
from ethicclip.audits.decision import (
    Calibration,
    Findings,
    Pool,
    Scored,
    calibrate,
    conclude,
    find,
    reveal,
)
from ethicclip.audits.deduplication import impostor_pairs, merged_units, numbered, same_eye_links
from ethicclip.audits.describing import Described, Pictures, describe, joined
from ethicclip.audits.description.learned import LearnedDescriptor, load_descriptor
from ethicclip.audits.description.local import Recipe
from ethicclip.audits.embedding import EmbeddingCache, with_embeddings
from ethicclip.audits.ladder import KINDS, plant
from ethicclip.audits.likeness import LikenessSearch
from ethicclip.audits.power import Background, Copies, KindPower, measure
from ethicclip.audits.results import EMBEDDINGS, AuditResult, Evidence, prepare_folder, require_usable, write_audit
from ethicclip.audits.retrieval import VoteSettings
from ethicclip.audits.settings import AuditSettings
from ethicclip.audits.text import scan_set
from ethicclip.audits.verification import Tolerances
from ethicclip.cohorts import Cohort
from ethicclip.errors import BadInputError, UsageError
from ethicclip.imaging import Pixels
from ethicclip.pairs import ImageSource
from ethicclip.policy import Policy
from ethicclip.progress import SILENT, Progress

Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]


def audit_leakage(
    settings: AuditSettings,
    synthetic: ImageSource,
    reference: Cohort,
    control: Cohort | None,
    out: Path,
    *,
    policy: Policy | None = None,
    today: date | None = None,
    history: AuditHistory | None = None,
    reuse: Path | None = None,
    real: RealSide | None = None,
    workers: int = 2,
    progress: Progress = SILENT,
) -> AuditResult:
    """Audit a synthetic set for copies of reference patients.

    Args:
        settings: What decides the verdict.
        synthetic: The set under audit.
        reference: Patients that the generator saw.
        control: Other patients of the same pool, which it never saw; without it there is no PASS.
        out: The audit's folder: absent, empty, or left unfinished by an audit that was cut off. It shows patients and
            is made readable to its owner only.
        policy: Thresholds that the result is held to as well.
        today: Which of the policy's waivers have expired; needed with a policy.
        history: How often the ledger saw this audited, None without a ledger.
        reuse: Folder of an earlier audit whose embeddings are read, so that no picture is embedded twice.
        real: Both sides from `prepare_real`, for several audits of the same two cohorts; prepared here without it. It
            changes no verdict.
        workers: Threads; they change no result.
        progress: Where progress goes.

    Returns:
        The verdict with its evidence (also written to ``out/verdict.json``).

    Raises:
        BadInputError: Reference and control share a patient, pictures cannot be read, a set is empty, or `out` holds
            something else.
        UsageError: A required kind of planted copy does not exist, a policy came without a day, or `real` was prepared
            for other settings or cohorts.
    """
    require_usable(out)
    _check_inputs(settings, synthetic, reference, control)
    if policy is not None and today is None:
        raise UsageError("a policy needs the day that its waivers are judged on", next_step="Pass today=date.today().")
    if reuse is not None and not (reuse / EMBEDDINGS).is_dir():
        raise BadInputError(
            f"{reuse} holds no embeddings of an earlier audit",
            next_step="Name the folder of an audit that ran with a learned descriptor, or leave --reuse out.",
        )
    sought = sought_in(reference, control, settings.report_column)
    cache = EmbeddingCache(out / EMBEDDINGS, None if reuse is None else reuse / EMBEDDINGS)
    if real is not None and not real.serves(settings, reference, control):
        raise UsageError(
            "the real side was prepared for other settings or cohorts",
            next_step="Prepare it with the settings, reference and control of this audit.",
        )
    learned = real.learned if real is not None else _learned(settings)
    if learned:
        prepare_folder(out)
    if real is None:
        real = RealSide(settings, reference, control, learned, cache, workers=workers, progress=progress)
    described = with_embeddings(
        describe(synthetic, real.recipe, what="the synthetic set", workers=workers, progress=progress),
        synthetic,
        learned,
        hashes=[synthetic.sha256(i) for i in range(len(synthetic))] if learned else None,
        cache=cache,
        what="the synthetic set",
        workers=workers,
        progress=progress,
    )
    effort = Effort(candidates=settings.candidates)
    results = real.compare(described, effort, "the synthetic set")
    calibration = calibrate(real.impostor_scores(), settings)
    scored = reveal(results, real.pool)
    findings = find(scored, real.pool, calibration, settings)
    power = _measure_power(settings, real, effort, scored, findings, calibration, workers=workers, progress=progress)
    words = scan_set(synthetic, sought, workers=workers, progress=progress) if settings.text else None
    conclusion = conclude(
        findings,
        real.pool,
        power,
        settings,
        synthetic=len(synthetic),
        undescribed=int(described.empty.sum()),
    )
    space = space_of(described, real.comparer.real, real.searches)
    seen, unseen = sides_of(real.pool, real.allowed)
    evidence = Evidence(
        settings=settings,
        synthetic=synthetic,
        reference=reference,
        control=control,
        control_dropped=real.dropped_images,
        control_patients_dropped=real.dropped_patients,
        links=len(real.links),
        artefacts=real.artefact_share,
        pool=real.pool,
        pictures=real.pictures,
        files=real.pictures.files,
        results=results,
        described=described,
        scored=scored,
        calibration=calibration,
        findings=findings,
        power=power,
        conclusion=with_words(conclusion, words),
        descriptors=tuple(learned),
        searches=tuple(real.searches),
        real_features=real.comparer.real.features,
        aggregates=tuple(
            aggregates_of(
                space,
                real.pool,
                real.allowed,
                synthetic,
                real.reports,
                findings.everything,
                seed=settings.seed,
            )
        ),
        space=space.name,
        distances=(space.distances(seen), space.distances(unseen)),
        words=words,
        history=history,
        policy=policy,
        today=today,
        ratio_below_one=real.comparer.ratios_below_one(described, real.allowed),
        reference_distance=real.reference_distances(described),
    )
    return write_audit(evidence, out, progress=progress)


def prepare_real(
    settings: AuditSettings,
    reference: Cohort,
    control: Cohort | None,
    *,
    cache: EmbeddingCache | None = None,
    workers: int = 2,
    progress: Progress = SILENT,
) -> RealSide:
    """Describe, clean, link and index reference and control: the part of an audit that no synthetic image enters.

    Args:
        settings: Of the audits to come.
        reference: Patients that the generator saw.
        control: Other patients, or None.
        cache: Where embeddings are kept and found; None keeps none on disk.
        workers: Threads; they change no result.
        progress: Where progress goes.

    Raises:
        BadInputError: Pictures cannot be read.
    """
    return RealSide(settings, reference, control, _learned(settings), cache, workers=workers, progress=progress)


def _learned(settings: AuditSettings) -> tuple[LearnedDescriptor, ...]:
    return tuple(load_descriptor(name, side=settings.torchscript_side) for name in settings.descriptors if name.learned)


class RealSide:
    """Reference and control together: described, cleaned, linked, indexed. The sides rest in `pool`."""

    def __init__(
        self,
        settings: AuditSettings,
        reference: Cohort,
        control: Cohort | None,
        learned: Sequence[LearnedDescriptor],
        cache: EmbeddingCache | None,
        *,
        workers: int,
        progress: Progress,
    ) -> None:
        self.settings, self._workers, self._progress = settings, workers, progress
        self._cohorts = (reference, control)
        self.recipe = Recipe(side=settings.side, keypoints=settings.keypoints)
        cohorts = [reference] if control is None else [reference, control]
        names = ["the reference", "the control"]
        described = joined(
            [
                with_embeddings(
                    describe(cohort, self.recipe, what=name, workers=workers, progress=progress),
                    cohort,
                    learned,
                    hashes=cohort.content_hashes(),
                    cache=cache,
                    what=name,
                    workers=workers,
                    progress=progress,
                )
                for cohort, name in zip(cohorts, names, strict=False)
            ]
        )
        # Ordered by content: not even a sample or a cluster can then depend on which side a picture came from.
        hashes = [digest for cohort in cohorts for digest in cohort.content_hashes()]
        order = np.array(sorted(range(len(hashes)), key=hashes.__getitem__), dtype=np.int64)
        self.pictures = _Several(cohorts, order)
        described = described.rows(order)
        patient_names = [name for side, cohort in enumerate(cohorts) for name in _names(cohort, side)]
        patients = numbered([patient_names[i] for i in order])
        in_reference = order < len(reference)
        self.reports = _reports(cohorts, order, settings.report_column)
        described, self.artefact_share = _without_artefacts(described, patients)
        self.searches = [LikenessSearch(one.name, described, patients, seed=settings.seed) for one in learned]
        families = {name.family for name in settings.descriptors}
        self.comparer = Comparer(
            described,
            patients,
            use_local="local" in families,
            use_geometry=families != {"pixel"},
            votes=VoteSettings(queries=settings.voting_keypoints, seed=settings.seed),
            tolerances=Tolerances(),
            providers=self.searches,
        )
        self.learned = tuple(learned)
        self.impostors = impostor_pairs(
            self.comparer,
            Effort(candidates=settings.candidates),
            count=settings.impostor_pictures,
            seed=settings.seed,
            workers=workers,
            progress=progress,
        )
        self.links = same_eye_links(self.comparer, self.impostors, workers=workers, progress=progress)
        unit = merged_units(patients, self.links)
        self.patients = patients
        self._linked_unit = unit
        seen = np.zeros(int(unit.max(initial=-1)) + 1, dtype=np.bool_)
        seen[unit[in_reference]] = True
        # A control patient whose eye is also in the reference was seen by the generator: all of its pictures go.
        dropped = ~in_reference & seen[unit]
        self.dropped_images = int(dropped.sum())
        self.dropped_patients = len(np.unique(patients[dropped]))
        self.allowed: Flags = ~dropped & ~described.empty
        used, renumbered = np.unique(unit[~dropped], return_inverse=True)
        final = np.full(len(unit), -1, dtype=np.int64)
        final[~dropped] = renumbered
        self.pool = Pool(unit=final, in_reference=seen[used], has_control=control is not None)

    def serves(self, settings: AuditSettings, reference: Cohort, control: Cohort | None) -> bool:
        """Whether it was prepared for these."""
        mine = self._cohorts
        return settings == self.settings and reference is mine[0] and control is mine[1]

    def compare(self, queries: Described, effort: Effort, what: str) -> list[list[Pair]]:
        """Compare queries with every picture that takes part."""
        return self.comparer.compare(
            queries,
            effort,
            allowed=self.allowed,
            workers=self._workers,
            progress=self._progress,
            what=what,
        )

    def impostor_scores(self) -> npt.NDArray[np.float64]:
        """Best scores of real pictures with other patients, found exactly as those of synthetic images are."""
        return self.impostors.scores(self._linked_unit) if len(self.pool.in_reference) > 1 else np.zeros(0)

    def reference_distances(self, described: Described) -> npt.NDArray[np.float64]:
        """Distance to the nearest reference picture by global descriptors: orders images without any verified pair."""
        among = self.allowed.copy()
        among[among] = self.pool.in_reference[self.pool.unit[among]]
        return self.comparer.global_distances(described, among)


class _Several:
    """Pictures of several cohorts in one order."""

    def __init__(self, cohorts: Sequence[Cohort], order: Indices) -> None:
        where = [(cohort, row) for cohort in cohorts for row in range(len(cohort))]
        self._where = [where[i] for i in order]
        self.files = tuple(cohort.files[row] for cohort, row in self._where)

    def __len__(self) -> int:
        return len(self._where)

    def image(self, i: int, /, max_side: int | None = None) -> Pixels:
        cohort, row = self._where[i]
        pixels: Pixels = cohort.image(row, max_side=max_side)
        return pixels


def _reports(cohorts: Sequence[Cohort], order: Indices, column: str | None) -> list[str] | None:
    """Report of each real picture in their common order, None where no column was named."""
    if column is None:
        return None
    texts = [text for cohort in cohorts for text in cohort.column(column)]
    return [texts[row] for row in order]


def _names(cohort: Cohort, side: int) -> list[str]:
    # Without patient ids the names are row numbers, which mean something else on each side.
    prefix = f"{side}:" if cohort.patient_ids is None else "id:"
    return [prefix + name for name in cohort.patients()]


def _without_artefacts(described: Described, patients: Indices) -> tuple[Described, float]:
    artefacts = artefact_keypoints(described.features, patients)
    total = sum(len(one) for one in described.features)
    kept = tuple(one.kept(~bad) for one, bad in zip(described.features, artefacts, strict=True))
    return replace(described, features=kept), sum(int(bad.sum()) for bad in artefacts) / max(1, total)


def _check_inputs(settings: AuditSettings, synthetic: ImageSource, reference: Cohort, control: Cohort | None) -> None:
    unknown = [kind for kind in settings.required_kinds if kind not in KINDS]
    if unknown:
        raise UsageError(
            f"required_kinds names {', '.join(unknown)}, which are no kinds of planted copies",
            next_step=f"Choose among: {', '.join(sorted(KINDS))}.",
        )
    if len(synthetic) == 0:
        raise BadInputError("the synthetic set is empty", next_step="Give a set with at least one image.")
    if control is None:
        return
    if reference.patient_ids is not None and control.patient_ids is not None:
        shared = set(reference.patient_ids) & set(control.patient_ids)
        if shared:
            raise BadInputError(
                f"reference and control share {len(shared)} patients "
                f"(of {len(set(reference.patient_ids))} and {len(set(control.patient_ids))})",
                next_step="Divide one pool by patient with `ethicclip split`.",
            )
    files = set(reference.files) & set(control.files)
    if files:
        raise BadInputError(
            f"reference and control share {len(files)} files (of {len(reference)} and {len(control)})",
            next_step="Divide one pool by patient with `ethicclip split`.",
        )


@dataclass(frozen=True, kw_only=True)
class _Planted:
    """Reference pictures of distinct patients, one a planted copy."""

    pictures: Pictures
    rows: Indices

    def __len__(self) -> int:
        return len(self.rows)

    def image(self, i: int, /, max_side: int | None = None) -> Pixels:
        return self.pictures.image(int(self.rows[i]), max_side=max_side)


def _measure_power(
    settings: AuditSettings,
    real: RealSide,
    effort: Effort,
    scored: Scored,
    findings: Findings,
    calibration: Calibration,
    *,
    workers: int,
    progress: Progress,
) -> tuple[KindPower, ...]:
    pool = real.pool
    open_rows = np.flatnonzero(real.allowed)
    sources = open_rows[pool.in_reference[pool.unit[open_rows]]]
    if not settings.required_kinds or settings.power_copies == 0 or not len(sources):
        return ()
    background = _background(settings, pool, scored, findings, calibration.screen)
    chosen: list[tuple[str, Indices, Indices]] = []
    for number, kind in enumerate(settings.required_kinds):
        rng = np.random.default_rng([settings.seed, 23, number])
        shuffled = rng.permutation(sources)
        _, first = np.unique(pool.unit[shuffled], return_index=True)
        rows = shuffled[np.sort(first)][: settings.power_copies]
        chosen.append((kind, rows, rng.choice(open_rows, size=len(rows))))
    rows = np.concatenate([part for _, part, _ in chosen])
    others = np.concatenate([part for _, _, part in chosen])
    kinds = [kind for kind, part, _ in chosen for _ in part]

    def change(i: int, image: Pixels) -> Pixels:
        rng = np.random.default_rng([settings.seed, 29, i])
        return plant(kinds[i], image, rng, other=real.pictures.image(int(others[i]), max_side=4 * settings.side))

    copies_of = _Planted(pictures=real.pictures, rows=rows)
    described = with_embeddings(
        describe(copies_of, real.recipe, what="planted copies", workers=workers, progress=progress, change=change),
        copies_of,
        real.learned,
        what="planted copies",
        workers=workers,
        progress=progress,
        change=change,
    )
    outcome = reveal(real.compare(described, effort, "planted copies"), pool)
    confirmed = outcome.confirmable & (outcome.reference_score > findings.confirmation_threshold)
    power = []
    for number, kind in enumerate(settings.required_kinds):
        mine = np.array([one == kind for one in kinds])
        here = outcome.unit[mine]
        copies = Copies(
            scores=outcome.score[mine],
            in_reference=np.where(here >= 0, pool.in_reference[np.maximum(here, 0)], False),
            confirmed=confirmed[mine],
            found=confirmed[mine] & (here == pool.unit[rows[mine]]),
        )
        rng = np.random.default_rng([settings.seed, 31, number])
        power.append(measure(kind, copies, background, repetitions=settings.power_repetitions, rng=rng))
    return tuple(power)


def _background(settings: AuditSettings, pool: Pool, scored: Scored, findings: Findings, floor: float) -> Background:
    clean = findings.rows[~(findings.confirmed | findings.by_competition)[findings.rows]]
    return Background(
        scores=scored.score[clean],
        in_reference=pool.in_reference[scored.unit[clean]],
        reference_patients=pool.reference_patients,
        control_patients=pool.control_patients,
        alpha=settings.alpha,
        floor=floor,
        images=len(scored.score),
        competes=pool.has_control and pool.control_patients > 0 and not findings.fits_in_general,
    )
