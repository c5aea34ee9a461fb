"""What stands beside the verdict: aggregates, words and files, how often a set was audited."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from ethicclip.audits.aggregates import Aggregate, Side, all_aggregates
from ethicclip.audits.decision import Conclusion, Pool, Verdict
from ethicclip.audits.describing import Described
from ethicclip.audits.description import pixel
from ethicclip.audits.likeness import LikenessSearch
from ethicclip.audits.search import nearest
from ethicclip.audits.statistics import Share
from ethicclip.audits.text import Sought, TextScan
from ethicclip.cohorts import Cohort
from ethicclip.pairs import ImageSource

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class AuditHistory:
    """How often this was done, the present audit included: an audit used as a filter, again and again, itself leaks.

    Attributes:
        of_this_set: Finished audits of exactly this set that the ledger holds.
        against_this_reference: Finished audits of any set against this reference: filtering makes a new set each time.
    """

    of_this_set: int
    against_this_reference: int


@dataclass(frozen=True, kw_only=True)
class Space:
    """The synthetic and the real pictures as points of one global descriptor.

    Attributes:
        name: The descriptor.
        synthetic: float32 (s, d), pictures that show nothing left out.
        rows: Which synthetic images these are, int64 (s,).
        real: float32 (n, d), one row a real picture.
    """

    name: str
    synthetic: Floats
    rows: npt.NDArray[np.int64]
    real: Floats

    def distances(self, among: Flags) -> Doubles:
        """Distance of each synthetic image to the nearest of some real pictures, float64 (s,)."""
        if not among.any() or not len(self.synthetic):
            return np.zeros(0)
        return nearest(self.synthetic, self.real[among], 1)[0][:, 0]


def space_of(synthetic: Described, real: Described, searches: Sequence[LikenessSearch]) -> Space:
    """The first learned descriptor's space, or that of pixels where there is none."""
    rows = np.flatnonzero(~synthetic.empty)
    if searches:
        name, centred = searches[0].name, searches[0].centred
        return Space(
            name=name,
            synthetic=centred(synthetic.embeddings[name][rows, 0]),
            rows=rows,
            real=centred(real.embeddings[name][:, 0]),
        )
    return Space(
        name="pixel",
        synthetic=pixel.global_descriptors(synthetic.thumbnails[rows]),
        rows=rows,
        real=pixel.global_descriptors(real.thumbnails),
    )


def sides_of(pool: Pool, allowed: Flags) -> tuple[Flags, Flags]:
    """Real pictures that take part, of the reference and of the control, bool (n,) each."""
    seen = np.zeros(len(allowed), dtype=np.bool_)
    seen[allowed] = pool.in_reference[pool.unit[allowed]]
    return seen, allowed & ~seen


def aggregates_of(
    space: Space,
    pool: Pool,
    allowed: Flags,
    synthetic: ImageSource,
    reports: Sequence[str] | None,
    share: Share | None,
    *,
    seed: int,
) -> list[Aggregate]:
    """Every aggregate that these sets allow; `reports` has one text a real picture."""
    seen, unseen = sides_of(pool, allowed)

    def side(among: Flags) -> Side:
        texts = None if reports is None else [reports[int(row)] for row in np.flatnonzero(among)]
        return Side(vectors=space.real[among], patients=pool.unit[among], texts=texts)

    captions = [synthetic.caption(int(row)) for row in space.rows]
    known = [caption for caption in captions if caption is not None]
    return all_aggregates(
        space.synthetic,
        known if known and len(known) == len(captions) else None,
        side(seen),
        side(unseen) if pool.has_control and unseen.any() else None,
        share,
        seed=seed,
    )


def sought_in(reference: Cohort, control: Cohort | None, report_column: str | None) -> Sought:
    """What the scan of words looks for, from the cohorts' own tables."""
    return Sought(
        patient_ids=reference.patient_ids or (),
        control_ids=None if control is None else (control.patient_ids or ()),
        reports=None if report_column is None else reference.column(report_column),
        control_reports=None if report_column is None or control is None else control.column(report_column),
    )


def with_words(conclusion: Conclusion, scan: TextScan | None) -> Conclusion:
    """A PASS does not stand while words or files name somebody; a scan never makes a LEAK of the pictures' verdict."""
    if conclusion.verdict is not Verdict.PASS or scan is None or scan.verdict is not Verdict.LEAK:
        return conclusion
    return replace(
        conclusion,
        verdict=Verdict.INCONCLUSIVE,
        reason=f"no copy was found in the pictures, but in words and files {scan.reason}",
    )
