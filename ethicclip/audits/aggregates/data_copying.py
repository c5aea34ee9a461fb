"""C_T of Meehan, Chaudhuri and Dasgupta (2020): are generated images nearer to the training set than held-out ones?"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from scipy.cluster.vq import kmeans2
from scipy.stats import rankdata

from ethicclip.audits.aggregates.value import Aggregate, cluster_draws
from ethicclip.audits.search import nearest

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

ALARM = -3.0
_CELLS = 3
_LEAST_IN_CELL = 20
_BOOTSTRAP = 200


def z_of_u(generated: Doubles, held_out: Doubles) -> float:
    """Mann-Whitney's U of generated over held-out distances, standardised: Z = (U - (nm/2 - 1/2)) / sd.

    sd = sqrt(nm(n + m + 1) / 12), as in Meehan et al. 2020 and their code; far below 0 is data copying, far above
    underfitting. Equal distances count half.
    """
    m, n = len(generated), len(held_out)
    ranks = rankdata(np.concatenate([generated, held_out]))
    u = float(ranks[:m].sum()) - m * (m + 1) / 2
    return (u - (n * m / 2 - 0.5)) / float(np.sqrt(n * m * (n + m + 1) / 12))


def c_t(generated: Doubles, generated_cells: Indices, held_out: Doubles, held_out_cells: Indices) -> float | None:
    """Mean of the cells' Z, weighted by the held-out mass; cells with too few images are left out as in the paper."""
    total = weight = 0.0
    for cell in np.unique(held_out_cells):
        ours, theirs = generated[generated_cells == cell], held_out[held_out_cells == cell]
        if len(ours) >= _LEAST_IN_CELL and len(theirs) >= 2:
            total += len(theirs) * z_of_u(ours, theirs)
            weight += len(theirs)
    return total / weight if weight else None


def data_copying(
    synthetic: Floats,
    reference: tuple[Floats, Indices],
    control: tuple[Floats, Indices],
    *,
    rng: np.random.Generator,
) -> Aggregate:
    """C_T with the reference as training set and the control as held-out set.

    The interval resamples whole patients: control patients, and synthetic images by their nearest reference patient.
    The control value is C_T of one half of the control's patients against the other, where nothing was copied.
    """
    name, source = "C_T", "Meehan et al. 2020"
    real, patients = reference
    unseen, owners = control
    cells_of = _partition(real, rng)
    distances, found = nearest(synthetic, real, 1)
    far_s, rows = distances[:, 0], found[:, 0]
    far_c = nearest(unseen, real, 1)[0][:, 0]
    cells_s, cells_c = cells_of(synthetic), cells_of(unseen)
    value = c_t(far_s, cells_s, far_c, cells_c)
    if value is None:
        return Aggregate(
            name=name, source=source, note=f"not run: no cell holds {_LEAST_IN_CELL} synthetic and 2 control images"
        )
    draws = []
    ours = cluster_draws(patients[rows], rng=rng, repetitions=_BOOTSTRAP)
    theirs = cluster_draws(owners, rng=rng, repetitions=_BOOTSTRAP)
    for a, b in zip(ours, theirs, strict=True):
        drawn = c_t(far_s[a], cells_s[a], far_c[b], cells_c[b])
        if drawn is not None:
            draws.append(drawn)
    low, high = (float(one) for one in np.quantile(draws, [0.025, 0.975])) if draws else (-np.inf, np.inf)
    names = np.unique(owners)
    first = np.isin(owners, rng.permutation(names)[: len(names) // 2])
    beside = c_t(far_c[first], cells_c[first], far_c[~first], cells_c[~first])
    return Aggregate(
        name=name,
        source=source,
        estimate=value,
        low=low,
        high=high,
        n=len(names),
        unit="control patients",
        control=beside,
        control_means="" if beside is None else "one half of the control's patients against the other",
        method="percentile bootstrap by patient",
        note=f"Below {ALARM:g} is its alarm for copying; far above 0 for pictures unlike the real ones. It does not "
        "see a few copies among many images.",
    )


def _partition(real: Floats, rng: np.random.Generator) -> Callable[[Floats], Indices]:
    """Cells of k-means over the training set, as in the paper's experiments; returns a labelling function."""
    count = min(_CELLS, len(real))
    centres, _ = kmeans2(real.astype(np.float64), count, minit="++", rng=rng, iter=20)

    def label(points: Floats) -> Indices:
        squared = (centres**2).sum(axis=1)[None, :] - 2 * points.astype(np.float64) @ centres.T
        return np.asarray(squared.argmin(axis=1), dtype=np.int64)

    return label
