"""What a model says of each pair, as one number: how well it knows that this caption belongs to this picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ethicclip.audits.models.membership import Scores
from ethicclip.clip import ClipModel
from ethicclip.progress import SILENT, Progress
from ethicclip.terms import Condition, name_prompts, prompts

if TYPE_CHECKING:
    from ethicclip.pairs import PairSource
    from ethicclip.pairs.canaries import CanarySource

_THUMBNAIL = 8


@dataclass(frozen=True, kw_only=True)
class Side:
    """One set, read once.

    Attributes:
        source: The pairs.
        units: The patient (or pair) behind each pair.
        patients: Whether patients were known.
    """

    source: PairSource
    units: list[str]
    patients: bool

    @property
    def names(self) -> list[str]:
        """The units, each once, in the order of their first pair."""
        return list(dict.fromkeys(self.units))

    def by_unit(self, values: Scores) -> Scores:
        """The mean over a unit's pairs: (pairs, ...) to (units, ...)."""
        number = {name: index for index, name in enumerate(self.names)}
        owner = np.array([number[unit] for unit in self.units])
        total = np.zeros((len(number), *values.shape[1:]))
        np.add.at(total, owner, values)
        counts = np.bincount(owner, minlength=len(number)).astype(np.float64)
        return np.asarray(total / counts.reshape(-1, *([1] * (values.ndim - 1))))


def side_of(source: PairSource) -> Side:
    """Read who is behind each pair; pairs stand for themselves where patients are not known."""
    ask = getattr(source, "patient_id", None)
    known = [None if ask is None else ask(index) for index in range(len(source))]
    patients = all(patient is not None for patient in known) and bool(known)
    units = [str(patient) if patients else f"pair {index}" for index, patient in enumerate(known)]
    return Side(source=source, units=units, patients=patients)


def caption_of(source: PairSource, index: int) -> str:
    """The English caption, without reading the picture where the source can."""
    ask = getattr(source, "caption", None)
    return str((ask(index) if ask is not None else source.read(index).caption) or "")


def caption_pool(sources: Sequence[PairSource], size: int, seed: int) -> list[str]:
    """Captions from all sources alike, each once, at most `size`, drawn with the sides hidden."""
    texts = sorted({caption_of(source, index) for source in sources for index in range(len(source))})
    chosen = np.random.default_rng([seed, 0x9001]).permutation(len(texts))[:size]
    return [texts[index] for index in sorted(chosen)]


def pair_scores(model: ClipModel, source: PairSource, pool: Sequence[str], *, progress: Progress = SILENT) -> Scores:
    """Log-likelihood of each pair's caption against the pool, in nats: the contrastive loss with its sign turned.

    Args:
        model: Under audit.
        source: The pairs.
        pool: Captions to compete with.
        progress: Where to report.

    Returns:
        float64 (pairs,).
    """
    images = model.encode_images(
        (source.image(index) for index in range(len(source))), progress=progress, total=len(source)
    ).astype(np.float64)
    own = model.encode_texts([caption_of(source, index) for index in range(len(source))]).astype(np.float64)
    against = model.encode_texts(list(pool)).astype(np.float64)
    scale = model.logit_scale
    matched = scale * (images * own).sum(1)
    rivals = scale * images @ against.T
    top = np.maximum(matched, rivals.max(1))
    return np.asarray(matched - top - np.log(np.exp(matched - top) + np.exp(rivals - top[:, None]).sum(1)))


def label_scores(model: ClipModel, source: CanarySource) -> Scores:
    """Log-likelihood of each canary's label against all conditions, by their public prompts; float64 (pairs,)."""
    conditions = list(Condition)
    phrases = [[*prompts(condition), *name_prompts(condition)] for condition in conditions]
    embedded = model.encode_texts([text for texts in phrases for text in texts]).astype(np.float64)
    parts = np.split(embedded, np.cumsum([len(texts) for texts in phrases])[:-1])
    classes = np.stack([part.mean(0) for part in parts])
    classes /= np.linalg.norm(classes, axis=1, keepdims=True)
    images = model.encode_images(source.image(index) for index in range(len(source))).astype(np.float64)
    logits = model.logit_scale * images @ classes.T
    logits -= logits.max(1, keepdims=True)
    likely = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    column = {str(condition): index for index, condition in enumerate(conditions)}
    own = [column[source.label(index)] for index in range(len(source))]
    return np.asarray(likely[np.arange(len(own)), own])


def plain_features(source: PairSource) -> Scores:
    """What a picture shows without a model: an 8 x 8 thumbnail and the spread of each colour; float64 (pairs, 195)."""
    rows = []
    for index in range(len(source)):
        picture = source.image(index)
        small = cv2.resize(picture, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA).astype(np.float64)
        rows.append(np.concatenate([small.ravel(), picture.reshape(-1, 3).std(0)]))
    return np.stack(rows)
