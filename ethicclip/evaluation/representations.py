"""How alike two models see the same eyes: debiased CKA and the overlap of nearest neighbours, with references.

CKA compares which images two models hold alike, whatever the axes, scale or dimension of their spaces. The plain
estimate is biased upwards, to 1 as the dimension grows beyond the number of images; here the unbiased HSIC of Song et
al. (JMLR 2012, equation 5) stands in its place, as in Nguyen, Raghu and Kornblith (ICLR 2021). With linear kernels it
needs no matrix of images by images. Neighbour overlap asks the local question: of the k images nearest to an image,
how many are the same in both.

A number alone says little: both are therefore printed beside what unrelated representations give (patients permuted)
and what the labels alone give (patients permuted among those with the same labels).
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from ethicclip.errors import BadInputError
from ethicclip.evaluation.bootstrap import Estimate
from ethicclip.evaluation.metrics import Array, Indices

LEAST_IMAGES = 10
JACKKNIFE_GROUPS = 40
METHOD = f"delete-a-group jackknife over patients ({JACKKNIFE_GROUPS} groups at most), t interval on the Fisher z scale"
_CELLS = 8_000_000
"""Similarities held at a time."""


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a measure gives when the pairing of images between the two models is permuted.

    Attributes:
        mean: Over the permutations.
        upper: The 95th percentile.
        p_value: Share of permutations at least as large as the measure, itself counted: (1 + #) / (1 + permutations).
        moved: Share of images that a permutation moves on average; small where few patients have like labels.
    """

    mean: float
    upper: float
    p_value: float
    moved: float

    def to_json(self) -> dict[str, float]:
        """JSON types."""
        return {"mean": self.mean, "upper": self.upper, "p_value": self.p_value, "moved": self.moved}


def cka(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> float:
    """Debiased linear CKA of two representations of the same images.

    Args:
        first: (n, d1), any real dtype.
        second: (n, d2).

    Returns:
        At most 1; around 0 for unrelated representations (it can be negative); NaN when one is constant.

    Raises:
        BadInputError: Unequal numbers of images, or fewer than four.

    Example:
        >>> points = np.random.default_rng(0).normal(size=(50, 3))
        >>> round(cka(points, points[:, ::-1] * 2 + 1), 6)
        1.0
    """
    if len(first) != len(second) or len(first) < 4:
        raise BadInputError(f"CKA needs the same four or more images, not {len(first)} and {len(second)}")
    return _cka(_centred(first), _centred(second))


def neighbours(vectors: npt.NDArray[Any], groups: Indices, count: int) -> Indices:
    """The `count` nearest images of other patients by cosine, int64 (n, count), nearest first; ties by row.

    Args:
        vectors: (n, d); scaled to length 1 here.
        groups: Patient index of each image: the other eye of a patient is a neighbour of its own accord.
        count: Fewer than the images of other patients.
    """
    unit = vectors.astype(np.float64)
    unit /= np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    rows, step = [], max(1, _CELLS // max(1, len(unit)))
    for start in range(0, len(unit), step):
        block = slice(start, start + step)
        likeness = unit[block] @ unit.T
        likeness[groups[block, None] == groups[None, :]] = -np.inf
        rows.append(np.argsort(-likeness, axis=1, kind="stable")[:, :count])
    return np.concatenate(rows).astype(np.int64)


def overlaps(first: Indices, second: Indices) -> Array:
    """Share of each image's neighbours that both lists hold, (n,)."""
    size = len(first)
    base = np.arange(size)[:, None] * size
    return np.asarray(np.isin((base + second).ravel(), (base + first).ravel()).reshape(second.shape).mean(axis=1))


def patient_permutation(groups: Indices, keys: Sequence[Hashable], rng: np.random.Generator) -> Indices:
    """A permutation of images that keeps each patient's images together, int64 (n,).

    Patients are exchanged only with patients whose images have the same multiset of `keys`; an image goes to one
    of the same key.
    """
    images: dict[int, list[int]] = {}
    for row, group in enumerate(groups):
        images.setdefault(int(group), []).append(row)
    alike: dict[tuple[str, ...], list[list[int]]] = {}
    for rows in images.values():
        rows.sort(key=lambda row: (str(keys[row]), row))
        alike.setdefault(tuple(str(keys[row]) for row in rows), []).append(rows)
    target = np.arange(len(groups), dtype=np.int64)
    for patients in alike.values():
        for place, other in enumerate(rng.permutation(len(patients))):
            target[patients[place]] = patients[int(other)]
    return target


def compare_representations(
    first: npt.NDArray[Any],
    second: npt.NDArray[Any],
    groups: Indices,
    labels: Indices,
    *,
    count: int,
    permutations: int,
    seed: int,
    level: float,
) -> dict[str, Any]:
    """CKA and neighbour overlap, each with its interval and its two references.

    Args:
        first: Embeddings by one model, (n, d1).
        second: By the other, (n, d2).
        groups: Patient index of each image, int64 (n,).
        labels: Class index of each image, int64 (n,).
        count: Neighbours an image.
        permutations: Of each reference.
        seed: Of permutations and jackknife groups.
        level: Of the intervals.

    Returns:
        {"cka": ..., "neighbour_overlap": ...}: each {"value": Estimate, "unrelated": Reference | None, "same_label":
        Reference | None}; or {"reason"} where there are too few images.
    """
    others = len(groups) - int(np.bincount(groups).max())
    if len(groups) < LEAST_IMAGES or others < 2:
        return {"reason": f"{len(groups)} images are too few: at least {LEAST_IMAGES} of several patients are needed"}
    near = min(count, others - 1)
    x, y = _centred(first), _centred(second)
    of_first, of_second = neighbours(first, groups, near), neighbours(second, groups, near)
    shared = overlaps(of_first, of_second)
    everyone = [0] * len(groups)

    def cka_of(kept: npt.NDArray[np.bool_]) -> float:
        return _cka(_centred(first[kept]), _centred(second[kept]))

    def permuted_cka(target: Indices) -> float:
        return _cka(x, y[target])

    def permuted_overlap(target: Indices) -> float:
        back = np.argsort(target)
        return float(overlaps(of_first, back[of_second[target]]).mean())

    result: dict[str, Any] = {}
    for name, value, on_subset, permuted in (
        ("cka", _cka(x, y), cka_of, permuted_cka),
        ("neighbour_overlap", float(shared.mean()), lambda kept: float(shared[kept].mean()), permuted_overlap),
    ):
        result[name] = {
            "value": _jackknifed(value, on_subset, groups, seed=seed, level=level),
            "unrelated": _reference(value, permuted, groups, everyone, permutations, seed),
            "same_label": _reference(value, permuted, groups, [int(label) for label in labels], permutations, seed + 1),
        }
    result["neighbour_overlap"] |= {"neighbours": near, "by_chance": near / (len(groups) - 1)}
    return result


def _centred(values: npt.NDArray[Any]) -> Array:
    # HSIC is blind to a shift of all images; taking the mean off only keeps the sums small.
    wide = values.astype(np.float64)
    return np.asarray(wide - wide.mean(axis=0))


def _cka(x: Array, y: Array) -> float:
    across, within_x, within_y = _hsic(x, y), _hsic(x, x), _hsic(y, y)
    if not within_x > 0 or not within_y > 0:
        return float("nan")
    return float(across / np.sqrt(within_x * within_y))


def _hsic(x: Array, y: Array) -> float:
    """Song et al. 2012, equation 5, for linear kernels K = x x' and L = y y' with their diagonals set to 0.

    [tr(KL) + 1'K1 1'L1 / ((n-1)(n-2)) - 2 1'KL1 / (n-2)] / (n (n-3)), from (n, d) features in O(n d1 d2).
    """
    n = len(x)
    own_x, own_y = (x * x).sum(axis=1), (y * y).sum(axis=1)
    trace = ((x.T @ y) ** 2).sum() - own_x @ own_y
    row_x, row_y = x @ x.sum(axis=0) - own_x, y @ y.sum(axis=0) - own_y
    whole = row_x.sum() * row_y.sum() / ((n - 1) * (n - 2))
    return float((trace + whole - 2 * (row_x @ row_y) / (n - 2)) / (n * (n - 3)))


def _jackknifed(
    value: float,
    on_subset: Callable[[npt.NDArray[np.bool_]], float],
    groups: Indices,
    *,
    seed: int,
    level: float,
) -> Estimate:
    """Drawing patients again would put copies of an image beside it, which look like agreement; leaving out cannot."""
    patients = int(groups.max()) + 1
    size: dict[str, Any] = {"n": len(groups), "patients": patients}
    if np.isnan(value):
        return Estimate(estimate=None, reason="a representation is the same for all images", **size)
    parts = min(JACKKNIFE_GROUPS, patients)
    part = np.random.default_rng(seed).permutation(patients)[groups] % parts
    left = np.array([on_subset(part != number) for number in range(parts)])
    left = left[np.isfinite(left)]
    if len(left) < max(2, parts // 2):
        return Estimate(estimate=value, reason="too few patients to leave any out", **size)
    error = float(np.sqrt((len(left) - 1) / len(left) * ((left - left.mean()) ** 2).sum()))
    if error < 1e-9:
        return Estimate(
            estimate=value, low=value, high=value, method=METHOD, reason="the same without any part", **size
        )
    # Where the value is at its end the scale is infinite; a hair inside it is not.
    inner = float(np.clip(value, -1 + 1e-9, 1 - 1e-9))
    reach = float(special.stdtrit(len(left) - 1, (1 + level) / 2)) * error / (1 - inner**2)
    low, high = (float(np.tanh(np.arctanh(inner) + side * reach)) for side in (-1, 1))
    return Estimate(estimate=value, low=low, high=high, method=METHOD, **size)


def _reference(
    value: float,
    permuted: Callable[[Indices], float],
    groups: Indices,
    keys: Sequence[Hashable],
    permutations: int,
    seed: int,
) -> Reference | None:
    if np.isnan(value):
        return None
    rng = np.random.default_rng(seed)
    found, moved = [], []
    for _ in range(permutations):
        target = patient_permutation(groups, keys, rng)
        found.append(permuted(target))
        moved.append(float((target != np.arange(len(target))).mean()))
    values = np.array(found)
    # Rounding must not make an equal permutation look smaller.
    beyond = int((values >= value - 1e-12).sum())
    return Reference(
        mean=float(values.mean()),
        upper=float(np.quantile(values, 0.95)),
        p_value=(1 + beyond) / (1 + permutations),
        moved=float(np.mean(moved)),
    )
