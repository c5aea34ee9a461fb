"""Computes every aggregate that the sets allow, each with its control value; the others say why they did not run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ethicclip.audits.aggregates.data_copying import data_copying
from ethicclip.audits.aggregates.likelihood import likelihood_divergence
from ethicclip.audits.aggregates.linkability import SOURCE as LINKABILITY
from ethicclip.audits.aggregates.linkability import linkability
from ethicclip.audits.aggregates.nearest_ratios import authenticity, distance_ratio
from ethicclip.audits.aggregates.text_neighbours import nearest_texts
from ethicclip.audits.aggregates.value import Aggregate
from ethicclip.audits.search import nearest
from ethicclip.audits.statistics import Share

Floats = npt.NDArray[np.float32]
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

FEWEST_IMAGES = 20
FEWEST_PATIENTS = 10
_LINK_NEIGHBOURS = 10


@dataclass(frozen=True, kw_only=True)
class Side:
    """One side of the pool in the space of a global descriptor.

    Attributes:
        vectors: float32 (m, d).
        patients: int64 (m,).
        texts: Report of each picture, None where reports are not known.
    """

    vectors: Floats
    patients: Indices
    texts: Sequence[str] | None = None

    @property
    def enough(self) -> bool:
        """Whether there are patients enough to speak of a distribution."""
        return len(np.unique(self.patients)) >= FEWEST_PATIENTS


def all_aggregates(
    synthetic: Floats,
    captions: Sequence[str] | None,
    reference: Side,
    control: Side | None,
    share: Share | None,
    *,
    seed: int,
) -> list[Aggregate]:
    """The aggregates of audit.md, in a fixed order.

    Args:
        synthetic: Global descriptors of the synthetic images that show something, float32 (n, d).
        captions: Their captions, None where there are none.
        reference: Patients that the generator saw.
        control: Other patients, None without a control.
        share: Share nearer to the reference, as the audit's own scores have it, None without a control.
        seed: Source of bootstrap and partitions.
    """
    found = [_share(share)]
    too_few = f"not run: needs {FEWEST_IMAGES} described images and {FEWEST_PATIENTS} patients a side"
    if len(synthetic) < FEWEST_IMAGES or not reference.enough:
        names = [("C_T", "Meehan et al. 2020"), ("authenticity", "Alaa et al. 2022")]
        names += [("nearest-neighbour distance ratio, 5th percentile", "Zhao et al. 2021")]
        names += [("feature likelihood divergence", "Jiralerspong et al. 2023")]
        return [
            *found,
            *(Aggregate(name=name, source=source, note=too_few) for name, source in names),
            _linkability(synthetic, captions, reference, control, seed),
        ]
    seen = (reference.vectors, reference.patients)
    unseen = None if control is None or not control.enough else (control.vectors, control.patients)
    if unseen is None:
        needs = "not run: needs a control" if control is None else too_few
        found.append(Aggregate(name="C_T", source="Meehan et al. 2020", note=needs))
    else:
        found.append(data_copying(synthetic, seen, unseen, rng=np.random.default_rng([seed, 61])))
    found.append(authenticity(synthetic, seen, unseen, rng=np.random.default_rng([seed, 65])))
    found.append(distance_ratio(synthetic, seen, unseen, rng=np.random.default_rng([seed, 62])))
    if unseen is None:
        found.append(Aggregate(name="feature likelihood divergence", source="Jiralerspong et al. 2023", note=needs))
    else:
        found.extend(likelihood_divergence(synthetic, seen, unseen, rng=np.random.default_rng([seed, 63])))
    found.append(_linkability(synthetic, captions, reference, control, seed))
    return found


def _share(share: Share | None) -> Aggregate:
    name, source = "share nearer to the reference", "permutation of patient labels"
    if share is None:
        return Aggregate(name=name, source=source, note="not run: needs a control")
    return Aggregate(
        name=name,
        source=source,
        estimate=share.share.estimate,
        low=share.share.low,
        high=share.share.high,
        n=share.share.n,
        unit="synthetic images, sides permuted by patient",
        control=share.expected,
        control_means="what chance gives patients of one pool",
        level=share.share.level,
        method=share.share.method,
        note="A binomial interval would be too narrow: images share neighbours.",
    )


def _linkability(
    synthetic: Floats, captions: Sequence[str] | None, reference: Side, control: Side | None, seed: int
) -> Aggregate:
    name = f"linkability risk against control ({_LINK_NEIGHBOURS} neighbours)"
    if control is None or reference.texts is None or control.texts is None:
        note = "not run: needs reports of reference and control (setting report_column)"
        return Aggregate(name=name, source=LINKABILITY, note=note)
    if captions is None or not len(synthetic):
        return Aggregate(name=name, source=LINKABILITY, note="not run: the synthetic set has no captions")
    rng = np.random.default_rng([seed, 64])
    neighbours = []
    for side in (reference, control):
        rows = _one_a_patient(side.patients, rng)
        texts = [side.texts[row] for row in rows] if side.texts is not None else []
        by_image = nearest(side.vectors[rows], synthetic, _LINK_NEIGHBOURS)[1]
        neighbours.append((by_image, nearest_texts(texts, captions, _LINK_NEIGHBOURS)))
    return linkability(neighbours[0], neighbours[1], synthetic=len(synthetic))


def _one_a_patient(patients: Indices, rng: np.random.Generator) -> Indices:
    shuffled = rng.permutation(len(patients))
    _, first = np.unique(patients[shuffled], return_index=True)
    return np.sort(shuffled[first]).astype(np.int64)
