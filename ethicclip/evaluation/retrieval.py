"""Image-text retrieval on a pair set: recall@k in both directions, with intervals by patient.

Captions repeat ("no disease, left eye"), so a caption's every picture counts as right and equal captions are one
candidate: what cannot be told apart is not counted as a miss. A candidate that scores as high as the right one stands
before it, so that a model that gives one answer to everything retrieves nothing. Intervals resample the queries'
patients; the gallery stays as it is, since recall depends on its size. What chance gives stands beside each figure.
"""

from __future__ import annotations

import functools
import platform
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import special

from ethicclip import __version__
from ethicclip.errors import BadInputError
from ethicclip.evaluation.bootstrap import METHOD, Estimate, Resampler, Score, Statistic, patient_indices
from ethicclip.evaluation.metrics import Array, Indices, Weights
from ethicclip.evaluation.scoring import ScorePath, nested, to_json
from ethicclip.evaluation.settings import RetrievalSettings
from ethicclip.evaluation.writing import Written, files_of, whole_folder
from ethicclip.evaluation.zero_shot import ZeroShotModel
from ethicclip.files import require_empty_or_absent, write_json
from ethicclip.imaging import Pixels
from ethicclip.progress import SILENT, Progress

if TYPE_CHECKING:
    from ethicclip.pairs import PairSet

SCHEMA = "ethicclip/retrieval/1"
DIRECTIONS = ("image_to_text", "text_to_image")
_BLOCK = 512


class RetrievalResult(Written):
    """What retrieval found and wrote; the document is retrieval.json."""

    def lines(self) -> list[str]:
        """A few lines for a person."""
        found = self.document
        counts = found["counts"]
        lines = [
            f"{counts['pairs']} pairs, {counts['captions']} different captions, {counts['units']} {found['unit']}s"
        ]
        for direction in DIRECTIONS:
            for rank, value in found["recall"][direction].items():
                shown = Estimate(**{name: value[name] for name in ("estimate", "low", "high")})
                chance = found["chance"][direction][rank]
                lines.append(f"{direction.replace('_', ' ')}, recall@{rank}: {shown}; by chance {chance:.3f}")
        return lines + [f"note: {caveat}" for caveat in found["caveats"]]


def retrieve(
    settings: RetrievalSettings, model: ZeroShotModel, pairs: PairSet, out: Path, *, progress: Progress = SILENT
) -> RetrievalResult:
    """Retrieve captions by pictures and pictures by captions, and write retrieval.json into `out`.

    Args:
        settings: Gallery, ranks, language.
        model: See `ZeroShotModel`.
        pairs: A pair set; of a foreign one the caption is what there is.
        out: A folder that is absent or empty.
        progress: Where to report.

    Raises:
        BadInputError: Fewer than two different captions, no caption in the language, broken pictures, a folder in use.
    """
    require_empty_or_absent(out)
    chosen = np.arange(len(pairs))
    if len(pairs) > settings.gallery:
        chosen = np.sort(np.random.default_rng(settings.seed).choice(len(pairs), settings.gallery, replace=False))
    captions, units, kind = _words_and_units(pairs, chosen, settings.language)
    texts = list(dict.fromkeys(captions))
    if len(texts) < 2:
        raise BadInputError(
            f"the {len(captions)} pairs of {pairs.path} share one caption: there is nothing to retrieve",
            next_step="Name a pair set with different captions.",
        )
    place = {text: number for number, text in enumerate(texts)}
    owner = np.array([place[text] for text in captions], dtype=np.int64)
    with progress.task("read and embed pairs", total=len(chosen), unit="pair") as task:

        def pictures() -> Iterator[Pixels]:
            for number in chosen:
                yield pairs.image(int(number), max_side=settings.max_side)
                task.advance()

        images = model.encode_images(pictures(), batch_size=settings.batch_size).astype(np.float64)
    words = np.asarray(model.encode_texts(texts), dtype=np.float64)
    if not (np.isfinite(images).all() and np.isfinite(words).all()):
        # Nothing is larger than a NaN: every answer would stand first.
        raise BadInputError(
            "the model gives values that are not finite",
            next_step="The model did not train well (look at its loss); use another checkpoint.",
        )
    ranks = dict(zip(DIRECTIONS, retrieval_ranks(images, words, owner), strict=True))
    groups = patient_indices(units)
    resampler = Resampler(groups=groups, resamples=settings.bootstrap, seed=settings.seed, level=settings.confidence)
    document = {
        "schema": SCHEMA,
        "pairs": pairs.path.name,
        "origin": str(pairs.origin),
        "model": {"name": model.name, "logit_scale": model.logit_scale},
        "counts": {"pairs": len(chosen), "of": len(pairs), "captions": len(texts), "units": int(groups.max()) + 1},
        "unit": kind,
        "recall": to_json(_recalls(ranks, resampler, settings.ranks)),
        "chance": _chance(owner, len(texts), settings.ranks),
        "median_rank": {direction: float(np.median(found)) for direction, found in ranks.items()},
        "bootstrap": {
            "method": METHOD,
            "resamples": settings.bootstrap,
            "seed": settings.seed,
            "confidence": settings.confidence,
        },
        "settings": settings.resolved(),
        "settings_sha256": settings.digest(),
        "versions": {"ethicclip": __version__, "numpy": np.__version__, "python": platform.python_version()},
        "caveats": _caveats(pairs, chosen, kind),
    }
    with whole_folder(out, last="retrieval.json") as folder:
        write_json(folder / "retrieval.json", document)
    return RetrievalResult(out=out, document=document, files=files_of(out, first="retrieval.json"))


def retrieval_ranks(images: Array, texts: Array, owner: Indices) -> tuple[Indices, Indices]:
    """The rank of the right answer for each pair, from picture to caption and from caption to picture.

    Args:
        images: Embeddings, (n, d).
        texts: Embeddings of the different captions, (m, d).
        owner: Which caption each picture has, int64 (n,).

    Returns:
        Two int64 (n,), 1 for the best; of several right pictures the best counts, and ties go to the wrong ones.
    """
    own = (images * texts[owner]).sum(axis=1)
    best = np.full(len(texts), -np.inf)
    np.maximum.at(best, owner, own)
    forward = np.zeros(len(images), dtype=np.int64)
    before = np.zeros(len(texts), dtype=np.int64)
    for start in range(0, len(images), _BLOCK):
        block = slice(start, start + _BLOCK)
        likeness = images[block] @ texts.T
        wrong = np.arange(len(texts))[None, :] != owner[block, None]
        # The product of a block and the sum of one pair round differently by a bit: equal is not less.
        close = 1e-9 * (1 + np.abs(likeness))
        forward[block] = 1 + ((likeness >= own[block, None] - close) & wrong).sum(axis=1)
        before += ((likeness >= best[None, :] - close) & wrong).sum(axis=0)
    return forward, 1 + before[owner]


def _words_and_units(pairs: PairSet, chosen: Indices, language: str) -> tuple[list[str], list[str], str]:
    captions, patients, eyes = [], [], []
    for number in chosen:
        record = pairs.read(int(number)).record
        spoken = record.get("captions")
        texts = spoken.get(language) if isinstance(spoken, dict) else None
        caption = texts[0] if texts else (pairs.caption(int(number)) if language == "en" else None)
        if not caption:
            raise BadInputError(
                f"pair {pairs.key(int(number))} of {pairs.path} has no caption in {language!r}",
                next_step="Choose the other language with --set language=en or zh.",
            )
        captions.append(str(caption))
        patients.append(pairs.patient_id(int(number)))
        eyes.append(record.get("eye_number"))
    if all(patient is not None for patient in patients):
        return captions, [str(patient) for patient in patients], "patient"
    if all(eye is not None for eye in eyes):
        return captions, [str(eye) for eye in eyes], "drawn eye"
    return captions, [str(number) for number in chosen], "pair"


def _recalls(ranks: dict[str, Indices], resampler: Resampler, wanted: tuple[int, ...]) -> dict[str, Any]:
    statistics: dict[str, Statistic] = {}
    scores: dict[ScorePath, Score] = {}
    for direction, found in ranks.items():
        hits = (found[:, None] <= np.array(wanted)).astype(np.float64)
        statistics[direction] = _mean(hits)
        for index, most in enumerate(wanted):
            scores[direction, str(most)] = Score(
                statistic=direction,
                value=functools.partial(_column, index=index),
                rows=np.ones(len(found), dtype=np.bool_),
                rarest=int(resampler.groups.max()) + 1,
            )
    return nested(resampler.estimates(statistics, scores))


def _mean(hits: Array) -> Statistic:
    def compute(weights: Weights) -> Array:
        return np.asarray((weights @ hits) / weights.sum(axis=1, keepdims=True))

    return compute


def _column(table: Array, *, index: int) -> Array:
    return table[:, index]


def _chance(owner: Indices, captions: int, wanted: tuple[int, ...]) -> dict[str, dict[str, float]]:
    """Recall of a random order: k of m captions; and 1 - C(n - c, k) / C(n, k) for a caption of c among n pictures."""
    n = len(owner)
    of_caption = np.bincount(owner, minlength=captions)[owner].astype(np.float64)

    def missed(k: int) -> Array:
        if k >= n:
            return np.zeros(n)
        wrong = n - of_caption
        logs = special.gammaln(wrong + 1) - special.gammaln(np.maximum(wrong - k, 0) + 1)
        logs -= special.gammaln(n + 1) - special.gammaln(n - k + 1)
        return np.asarray(np.where(wrong >= k, np.exp(logs), 0.0))

    return {
        "image_to_text": {str(k): min(1.0, k / captions) for k in wanted},
        "text_to_image": {str(k): float(1 - missed(k).mean()) for k in wanted},
    }


def _caveats(pairs: PairSet, chosen: Indices, kind: str) -> list[str]:
    caveats = []
    if str(pairs.origin) == "synthetic":
        caveats.append("the pictures of this set are synthetic: no figure here speaks of real eyes")
    if kind == "pair":
        caveats.append("nobody says which pairs belong together: each counts alone, so intervals may be too narrow")
    if len(chosen) < len(pairs):
        caveats.append(f"{len(chosen)} of {len(pairs)} pairs, drawn at random; recall falls as the gallery grows")
    return caveats
