"""Deals units (patients, or joined patients) to parts so that shares come out as closely as units allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

LEFT_OUT = ""
"""The part of what no named part takes, when the shares sum to less than 1."""

_NO_REST = 1e-9


def assign(counts: npt.NDArray[np.float64], shares: Mapping[str, float], rng: np.random.Generator) -> list[str]:
    """The part of every unit.

    Units come in random order, then heavier ones first (a stable sort, so that among equals only chance decides
    who goes where and the parts stay exchangeable); each goes where it lowers the sum over parts and quantities of
    (have - target)^2 / (target x total) most. Ties between parts are broken by a random order of the parts.

    Args:
        counts: What each unit weighs, float64 of shape (units, quantities): images, patients, images of a stratum.
        shares: Of each part; each over 0, together at most 1.
        rng: Decides the order.

    Returns:
        A part name a unit, or `LEFT_OUT`.
    """
    fractions = {name: shares[name] for name in sorted(shares)}
    rest = 1.0 - sum(fractions.values())
    if rest > _NO_REST:
        fractions[LEFT_OUT] = rest
    names = list(fractions)
    names = [names[i] for i in rng.permutation(len(names))]
    totals = counts.sum(axis=0)
    used = totals > 0
    weights = counts[:, used] / totals[used]
    share = np.array([fractions[name] for name in names])[:, None]
    order = rng.permutation(len(weights))
    order = order[np.argsort(-weights[order].sum(axis=1), kind="stable")]
    have = np.zeros((len(names), weights.shape[1]))
    parts = [LEFT_OUT] * len(weights)
    for unit in order:
        weight = weights[unit]
        cost = ((2 * (have - share) * weight + weight * weight) / share).sum(axis=1)
        chosen = int(np.argmin(np.round(cost, 15)))
        have[chosen] += weight
        parts[int(unit)] = names[chosen]
    return parts


def quantities(
    units: Sequence[Sequence[int]], patients: Sequence[str], strata: Sequence[str] | None
) -> npt.NDArray[np.float64]:
    """What each unit weighs: images, patients, and images of each stratum (in sorted order); float64 (units, q)."""
    values = sorted(set(strata)) if strata is not None else []
    column = {value: 2 + i for i, value in enumerate(values)}
    table = np.zeros((len(units), 2 + len(values)))
    for i, rows in enumerate(units):
        table[i, 0] = len(rows)
        table[i, 1] = len({patients[row] for row in rows})
        if strata is not None:
            for row in rows:
                table[i, column[strata[row]]] += 1
    return table
