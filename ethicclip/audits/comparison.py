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

from ethicclip.audits.agreement import NO_AGREEMENT, Agreement, agreement, dense_evidence
from ethicclip.audits.describing import Described, in_order
from ethicclip.audits.description import pixel
from ethicclip.audits.description.local import LocalFeatures
from ethicclip.audits.description.plane import Plane
from ethicclip.audits.retrieval import Ballot, LocalIndex, VoteSettings
from ethicclip.audits.search import nearest
from ethicclip.audits.statistics import carlini_ratio
from ethicclip.audits.verification import IDENTITY, NOTHING, Tolerances, Verification, verify_pair
from ethicclip.progress import Progress

Doubles = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

_BATCH = 32
_PIXEL_CANDIDATES = 2
_PIXEL_REACH = 0.35
_IN_PLACE = 1.0
"""Worst-tile distance under which two pictures are also laid on one another as they are."""
_LEAST_INLIERS = 6
"""Agreeing places from which two pictures are laid on one another; of strangers' pairs one in eight has them."""
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
        agreement: What lies between the keypoints, under the map of the geometry or, without one, in place.
    """

    picture: int
    flipped: bool
    score: float
    votes: float
    tile: float
    verification: Verification
    agreement: Agreement = NO_AGREEMENT


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How much is looked at.

    Attributes:
        candidates: Pictures with the most votes that are verified for each query.
        mirror: Whether the query's mirror image is asked too.
        least_votes: Only pictures with more votes than this are verified.
        voters: Keypoints of a query that vote; as many as the index is set to by default.
    """

    candidates: int = 4
    mirror: bool = True
    least_votes: float = 0.0
    voters: int | None = None


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
        sides = 2 if effort.mirror else 1
        features = [batch.features, tuple(one.mirrored() for one in batch.features)][:sides]
        small = [batch.thumbnails, pixel.mirrored(batch.thumbnails)][:sides]
        planes = [batch.planes, np.ascontiguousarray(batch.planes[..., ::-1])][:sides]
        ballots = (
            [] if self._index is None else [self._index.ballots(one, barred, voters=effort.voters) for one in features]
        )
        alike = self._pixel_candidates(small, barred)
        proposed = [provider.propose(batch, barred, mirror=effort.mirror) for provider in self._providers]

        def judge(row: int) -> list[Pair]:
            if batch.empty[row]:
                return []
            voted = _elected([one[row] for one in ballots], effort)
            named = {picture for found in proposed for picture in found[row]}
            pictures = np.array(sorted({*voted, *named, *alike[row]}), dtype=np.int64)
            tiles = np.stack([pixel.worst_tiles(one[row], self.real.thumbnails[pictures]) for one in small])
            pairs = []
            for column, picture in enumerate(pictures.tolist()):
                called = picture in voted or picture in named
                if not called and self._geometry and tiles[:, column].min() > _IN_PLACE:
                    # Alike to a global descriptor only, as all eyes are.
                    continue
                first, votes = voted.get(picture, (int(tiles[:, column].argmin()), 0.0))
                # Votes know the orientation; a proposal does not.
                turns = [first] if picture in voted or picture not in named else list(range(sides))
                pairs.append(
                    self._pair(
                        [(turn == 1, features[turn][row], planes[turn][row]) for turn in turns],
                        picture,
                        votes,
                        float(tiles[:, column].min()),
                        sum(found[row].get(picture, 0.0) for found in proposed),
                        screened=not called,
                    )
                )
            return sorted(pairs, key=lambda pair: (-pair.score, pair.picture))

        return list(in_order(judge, len(batch), workers))

    def _pixel_candidates(self, small: Sequence[pixel.Thumbnail], barred: Flags) -> list[list[int]]:
        found: list[list[int]] = [[] for _ in range(len(barred))]
        # As many more as can be barred for one query, so that the nearest allowed ones are always among them.
        reach = int(min(len(self.real), _PIXEL_CANDIDATES + barred.sum(axis=1).max(initial=0)))
        for thumbnails in small:
            _, rows = nearest(pixel.global_descriptors(thumbnails), self._globals, max(1, reach))
            for query in range(len(barred)):
                open_rows = rows[query][~barred[query, rows[query]]]
                found[query].extend(int(row) for row in open_rows[:_PIXEL_CANDIDATES])
        return found

    def _pair(
        self,
        turns: Sequence[tuple[bool, LocalFeatures, Plane]],
        picture: int,
        votes: float,
        tile: float,
        evidence: float,
        *,
        screened: bool,
    ) -> Pair:
        """The best of the query's orientations (mirrored or not, keypoints, plane) against a real picture.

        A screened pair, which only pixels propose, is looked at further when it also agrees between its pixels.
        """
        candidates = []
        for flipped, query, plane in turns:
            verification, dense = NOTHING, NO_AGREEMENT
            if self._geometry:
                if tile < _IN_PLACE:
                    dense = agreement(plane, self.real.planes[picture], IDENTITY)
                if not screened or dense_evidence(dense) > 0:
                    verification = verify_pair(query, self.real.features[picture], self._tolerances)
                if verification.inliers >= _LEAST_INLIERS:
                    laid = agreement(plane, self.real.planes[picture], verification.affine)
                    dense = max(laid, dense, key=dense_evidence)
            score = combined_score(verification.score, dense, votes, tile) + evidence
            candidates.append(
                Pair(
                    picture=picture,
                    flipped=flipped,
                    score=score,
                    votes=votes,
                    tile=tile,
                    verification=verification,
                    agreement=dense,
                )
            )
        return max(candidates, key=lambda pair: pair.score)


def _elected(ballots: Sequence[Ballot], effort: Effort) -> dict[int, tuple[int, float]]:
    """The pictures with the most votes in either orientation: picture to (orientation, votes)."""
    best: dict[int, tuple[int, float]] = {}
    for side, ballot in enumerate(ballots):
        head = slice(0, effort.candidates)
        for picture, votes in zip(ballot.pictures[head].tolist(), ballot.votes[head].tolist(), strict=True):
            if votes > max(effort.least_votes, best.get(picture, (0, 0.0))[1]):
                best[picture] = (side, votes)
    ranked = sorted(best.items(), key=lambda item: (-item[1][1], item[0]))
    return dict(ranked[: effort.candidates])


def combined_score(significance: float, dense: Agreement, votes: float, tile: float) -> float:
    """One continuous score of a pair from its geometry, what lies between, its votes and its pixels.

    The weights only rank; what a score means is calibrated afterwards on pairs of other patients.
    """
    near = max(0.0, float(np.log(_PIXEL_REACH / max(tile, 1e-4))))
    # The last term keeps pictures without any other likeness in a definite order.
    return (
        significance
        + dense_evidence(dense)
        + _VOTE_WEIGHT * votes
        + _PIXEL_WEIGHT * near
        + 0.01 * (2.0 - min(tile, 2.0))
    )
