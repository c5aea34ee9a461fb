"""Candidates and evidence from a global descriptor, calibrated on pairs of other patients of the user's own data.

Distances to strangers follow a power law near zero, whose exponent is the dimension that the data really has (Levina
and Bickel 2004). On the scale ``-10 ln(1 - cosine)`` that is an exponential tail, so the evidence of a pair is minus
the decimal logarithm of how often a stranger comes as near. No threshold is taken from natural images.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from ethicclip.audits.describing import Described
from ethicclip.audits.search import nearest
from ethicclip.audits.statistics import TailModel, fit_tail

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

CANDIDATES = 3
"""Pictures proposed for each orientation of a query."""
_SAMPLE = 400
_LEAST_DISTANCE = 1e-3
"""Of 1 - cosine: what rounding to half precision leaves of the distance of equal pictures."""
_MOST_EVIDENCE = 12.0


class LikenessSearch:
    """A global descriptor of every real picture, exactly searched; blind to the sides.

    Args:
        name: The descriptor's key in `Described.embeddings`.
        real: Reference and control together.
        patients: Patient of each real picture, int64 (n,).
        seed: Source of the sample that calibrates it.
    """

    def __init__(self, name: str, real: Described, patients: Indices, *, seed: int) -> None:
        self.name = name
        vectors = real.embeddings[name]
        shown = np.flatnonzero(~real.empty)
        self._centre: Doubles = (
            vectors[shown, 0].mean(axis=0, dtype=np.float64) if len(shown) else np.zeros(vectors.shape[2])
        )
        self._real = self.centred(vectors[:, 0])
        sample = np.sort(np.random.default_rng([seed, 13]).permutation(shown)[:_SAMPLE])
        self.tail = self._calibrated(self.centred(vectors[sample, 0]), patients[sample], patients, shown)

    def centred(self, vectors: Floats) -> Floats:
        """Vectors less the mean of the real ones, of length 1, float32 (n, d)."""
        moved = vectors.astype(np.float64) - self._centre
        lengths = np.linalg.norm(moved, axis=1, keepdims=True)
        return np.asarray(moved / np.maximum(lengths, 1e-12), dtype=np.float32)

    def propose(self, queries: Described, barred: Flags, *, mirror: bool) -> list[dict[int, float]]:
        """See `comparison.CandidateProvider`."""
        vectors = queries.embeddings[self.name]
        sides = vectors.shape[1] if mirror else 1
        reach = int(min(len(self._real), CANDIDATES + barred.sum(axis=1).max(initial=0)))
        found: list[dict[int, float]] = [{} for _ in range(len(queries))]
        for side in range(sides):
            distances, rows = nearest(self.centred(vectors[:, side]), self._real, max(1, reach))
            for query in np.flatnonzero(~queries.empty):
                open_places = np.flatnonzero(~barred[query, rows[query]])[:CANDIDATES]
                for place in open_places:
                    row, worth = int(rows[query, place]), self.evidence(float(distances[query, place]))
                    found[query][row] = max(worth, found[query].get(row, 0.0))
        return found

    def evidence(self, distance: float) -> float:
        """What a distance between centred unit vectors is worth, in decimal orders of rarity among strangers."""
        if not self.tail.fitted:
            return 0.0
        likeness = float(_likeness(np.array([distance]))[0])
        if likeness <= self.tail.start:
            return 0.0
        rarity = self.tail.share * np.exp(-(likeness - self.tail.start) / self.tail.scale)
        return float(min(_MOST_EVIDENCE, -np.log10(max(rarity, 1e-300))))

    def _calibrated(self, queries: Floats, own: Indices, patients: Indices, shown: Indices) -> TailModel:
        """Tail of the likeness of a real picture's nearest picture of another patient."""
        most = int(np.bincount(patients[shown]).max(initial=0)) + 1 if len(shown) else 1
        if not len(queries):
            return fit_tail(np.zeros(0))
        distances, rows = nearest(queries, self._real[shown], most)
        strangers = np.where(patients[shown][rows] != own[:, None], distances, np.inf).min(axis=1)
        return fit_tail(_likeness(strangers[np.isfinite(strangers)]))


def _likeness(distances: Doubles) -> Doubles:
    """-10 ln(1 - cosine) of distances between unit vectors."""
    return np.asarray(-10 * np.log(np.maximum(distances**2 / 2, _LEAST_DISTANCE)))
