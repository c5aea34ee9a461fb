"""Compares query pictures with every real picture, the sides hidden: retrieve, verify, one score a pair.

Nothing in this module knows which real picture is of the reference and which of the control; `decision` reveals that
last. The same comparison serves the synthetic set, the impostor pairs that calibrate it, the deduplication of
the control and the planted copies that measure its power.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ethicclip.audits.describing import Described, in_order
from ethicclip.audits.description import pixel
from ethicclip.audits.description.local import LocalFeatures
from ethicclip.audits.retrieval import LocalIndex, VoteSettings
from ethicclip.audits.search import nearest
from ethicclip.audits.statistics import carlini_ratio
from ethicclip.audits.verification import NOTHING, Tolerances, Verification, verify_pair
from ethicclip.progress import Progress

Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_BATCH = 32
_PIXEL_CANDIDATES = 2
_PIXEL_REACH = 0.35
_PIXEL_WEIGHT = 30.0
_VOTE_WEIGHT = 200.0
_RATIO_NEIGHBOURS = 51


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One query against one real picture.

    Attributes:
        picture: Row of the real picture.
        flipped: Whether the query's mirror image was the better match.
        score: All evidence combined; higher is nearer a copy.
        votes: Share of its keypoints' votes.
        tile: Worst-tile pixel distance in the better of the two orientations.
        verification: The geometric evidence.
    """

    picture: int
    flipped: bool
    score: float
    votes: float
    tile: float
    verification: Verification


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is looked at.

    Attributes:
        candidates: Pictures with the most votes that are verified for each query.
        mirror: Whether the query's mirror image is asked too.
        least_votes: Only pictures with more votes than this are verified.
    """

    candidates: int = 10
    mirror: bool = True
    least_votes: float = 0.0


class CandidateProvider(Protocol):
    """Proposes real pictures beside the votes; geometry verifies them like any other candidate."""

    def propose(self, queries: Described, barred: Flags, *, mirror: bool) -> list[dict[int, float]]:
        """For each query the real pictures that it proposes, each with its evidence, a term of the pair's score.

        Args:
            queries: What is asked about.
            barred: Real pictures that a query must not be compared with, bool (queries, n).
            mirror: Whether the query's mirror image is asked too.
        """


class Comparer:
    """Every real picture, indexed once, ready for queries.

    Args:
        real: Reference and control together, in any fixed order.
        patients: Patient of each real picture, int64 (n,).
        use_local: False leaves out the votes of local features.
        use_geometry: False leaves only the pixel stage.
        votes: Settings of the retrieval.
        tolerances: Settings of the verification.
        providers: What proposes candidates beside the votes.
    """

    def __init__(
        self,
        real: Described,
        patients: Indices,
        *,
        use_local: bool = True,
        use_geometry: bool = True,
        votes: VoteSettings,
        tolerances: Tolerances,
        providers: Sequence[CandidateProvider] = (),
    ) -> None:
        self.real = real
        self.patients = patients
        self._tolerances = tolerances
        self._geometry = use_geometry
        self._providers = tuple(providers)
        self._index = LocalIndex(real.features, votes) if use_local else None
        self._globals = pixel.global_descriptors(real.thumbnails)

    def compare(
        self,
        queries: Described,
        effort: Effort,
        *,
        exclude: Indices | None = None,
        allowed: Flags | None = None,
        workers: int,
        progress: Progress,
        what: str,
    ) -> list[list[Pair]]:
        """For each query its verified candidates, best first.

        Args:
            queries: What is asked about.
            effort: How much is looked at.
            exclude: Patient whose pictures a query must not be compared with (its own), int64 (queries,).
            allowed: Real pictures that take part, bool (n,); all by default.
            workers: Threads; they change no result.
            progress: Where progress goes.
            what: What the queries are called in messages.
        """
        results: list[list[Pair]] = []
        with progress.task(f"comparing {what}", total=len(queries), unit="images") as task:
            for start in range(0, len(queries), _BATCH):
                rows = np.arange(start, min(start + _BATCH, len(queries)))
                batch = queries.rows(rows)
                barred = np.zeros((len(rows), len(self.real)), dtype=np.bool_)
                if exclude is not None:
                    barred |= self.patients[None, :] == exclude[rows][:, None]
                if allowed is not None:
                    barred |= ~allowed[None, :]
                barred |= self.real.empty[None, :]
                results.extend(self._batch(batch, barred, effort, workers))
                task.advance(len(rows))
        return results

    def ratios_below_one(self, queries: Described, allowed: Flags) -> int:
        """How many queries have a Carlini ratio under 1 by global pixel descriptors; for a reader, never a verdict."""
        rows = np.flatnonzero(allowed)
        shown = np.flatnonzero(~queries.empty)
        if not len(rows) or not len(shown):
            return 0
        wanted = pixel.global_descriptors(queries.thumbnails[shown])
        distances, found = nearest(wanted, self._globals[rows], _RATIO_NEIGHBOURS)
        patients = self.patients[rows[found]]
        return sum(carlini_ratio(*pair) < 1 for pair in zip(distances, patients, strict=True))

    def global_distances(self, queries: Described, among: Flags) -> Doubles:
        """Distance of each query to the nearest of some real pictures by global descriptors, float64 (queries,)."""
        rows = np.flatnonzero(among)
        if not len(rows):
            return np.full(len(queries), 2.0)
        distances, _ = nearest(pixel.global_descriptors(queries.thumbnails), self._globals[rows], 1)
        return distances[:, 0]

    def _batch(self, batch: Described, barred: Flags, effort: Effort, workers: int) -> list[list[Pair]]:
        turned = [one.mirrored() for one in batch.features] if effort.mirror else []
        sides = 2 if effort.mirror else 1
        votes = np.zeros((sides, len(batch), len(self.real)))
        if self._index is not None:
            votes[0] = self._index.votes(batch.features)
            if effort.mirror:
                votes[1] = self._index.votes(turned)
        votes[:, barred] = -1.0
        flipped = pixel.mirrored(batch.thumbnails)
        alike = self._pixel_candidates(batch.thumbnails, flipped, barred, sides)
        proposed = [provider.propose(batch, barred, mirror=effort.mirror) for provider in self._providers]

        def judge(row: int) -> list[Pair]:
            if batch.empty[row]:
                return []
            features = (batch.features[row], *([turned[row]] if effort.mirror else []))
            small = (batch.thumbnails[row], flipped[row])
            voted = self._voted(votes[:, row], effort)
            named = {picture for found in proposed for picture in found[row]}
            pairs = []
            for picture in sorted({*voted, *named, *alike[row]}):
                evidence = sum(found[row].get(picture, 0.0) for found in proposed)
                pair = self._pair(
                    features,
                    small,
                    picture,
                    votes[:, row, picture],
                    voted=picture in voted or picture in named,
                    evidence=evidence,
                )
                if pair is not None:
                    pairs.append(pair)
            return sorted(pairs, key=lambda pair: (-pair.score, pair.picture))

        return list(in_order(judge, len(batch), workers))

    def _pixel_candidates(
        self, plain: pixel.Thumbnail, flipped: pixel.Thumbnail, barred: Flags, sides: int
    ) -> list[list[int]]:
        found: list[list[int]] = [[] for _ in range(len(plain))]
        # As many more as can be barred for one query, so that the nearest allowed ones are always among them.
        reach = int(min(len(self.real), _PIXEL_CANDIDATES + barred.sum(axis=1).max(initial=0)))
        for small in (plain, flipped)[:sides]:
            _, rows = nearest(pixel.global_descriptors(small), self._globals, max(1, reach))
            for query in range(len(plain)):
                open_rows = rows[query][~barred[query, rows[query]]]
                found[query].extend(int(row) for row in open_rows[:_PIXEL_CANDIDATES])
        return found

    @staticmethod
    def _voted(votes: Doubles, effort: Effort) -> set[int]:
        best = votes.max(axis=0)
        order = np.lexsort((np.arange(len(best)), -best))[: effort.candidates]
        return {int(row) for row in order if best[row] > effort.least_votes}

    def _pair(
        self,
        features: Sequence[LocalFeatures],
        small: Sequence[pixel.Thumbnail],
        picture: int,
        votes: Doubles,
        *,
        voted: bool,
        evidence: float,
    ) -> Pair | None:
        tiles = [pixel.worst_tile(one, self.real.thumbnails[picture]) for one in small[: len(features)]]
        tile = min(tiles)
        if not voted and self._geometry and tile > _PIXEL_REACH:
            # Alike to a global descriptor only, as all eyes are.
            return None
        sides = [int(votes.argmax())] if votes.max() > 0 else [int(i) for i in np.argsort(tiles, kind="stable")]
        side, verification = sides[0], NOTHING
        for one in sides if self._geometry else ():
            found = verify_pair(features[one], self.real.features[picture], self._tolerances)
            if found.score > verification.score:
                side, verification = one, found
        support = max(0.0, float(votes[side]))
        return Pair(
            picture=picture,
            flipped=side == 1,
            score=combined_score(verification.score, support, tile) + evidence,
            votes=support,
            tile=tile,
            verification=verification,
        )


def combined_score(significance: float, votes: float, tile: float) -> float:
    """One continuous score of a pair from its geometry, its votes and its pixels.

    The weights only rank; what a score means is calibrated afterwards on pairs of other patients.
    """
    near = max(0.0, float(np.log(_PIXEL_REACH / max(tile, 1e-4))))
    # The last term keeps pictures without any other likeness in a definite order.
    return significance + _VOTE_WEIGHT * votes + _PIXEL_WEIGHT * near + 0.01 * (2.0 - min(tile, 2.0))
