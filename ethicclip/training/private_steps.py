"""One private step: sampled units in, a noised gradient out. No file and no account is touched here.

Both mechanisms read pairs in chunks, so that memory is bounded by a chunk (prompt-bank) or by a group (grouped),
whatever the size of the logical batch.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Protocol

import torch
from torch.nn.functional import normalize

from ethicclip.clip import ClipModel
from ethicclip.privacy.clipping import ClippedSum
from ethicclip.privacy.per_unit import PerUnitGradients
from ethicclip.privacy.units import Entropy, PoissonSampler
from ethicclip.training.bank import PromptBank, bank_losses, class_embeddings, log_prior
from ethicclip.training.frozen import Features, KeptFeatures, before_and_after
from ethicclip.training.loading import Batch
from ethicclip.training.objectives import contrastive_loss, label_similarity
from ethicclip.training.settings import PrivateSettings, TrainSettings

CHUNK_PAIRS = 64
"""Pairs in memory at a time under prompt-bank."""

Reader = Callable[[Sequence[Sequence[int]]], Iterator[Batch]]
"""Reads chunks of pairs by number, one `Batch` each, in order."""


@dataclass(kw_only=True)
class StepRecord:
    """What happened in a step: private, for the restricted folder only."""

    units: int = 0
    pairs: int = 0
    loss: float = 0.0
    norms: list[float] = field(default_factory=list)

    def row(self, accounted: int, max_norm: float) -> dict[str, float]:
        """The row of the restricted log."""
        finite = [norm for norm in self.norms if norm < float("inf")]
        return {
            "accounted_step": accounted,
            "units": self.units,
            "pairs": self.pairs,
            "loss": self.loss,
            "median_norm": median(finite) if finite else 0.0,
            "clipped_share": sum(norm > max_norm for norm in finite) / max(1, len(finite)),
            "not_finite": len(self.norms) - len(finite),
        }


class Contributions(Protocol):
    """Adds the clipped contributions of the sampled units to a sum."""

    def add(self, units: Sequence[Sequence[int]], read: Reader, into: ClippedSum) -> StepRecord:
        """Read the units' pairs, differentiate, clip and add."""


class PromptBankContributions:
    """Each unit adds one vector: the gradient of its pairs' losses against the bank, summed, then clipped.

    Args:
        model: Its image tower is trained.
        bank: The public classes.
        parameters: What is trained.
        device: Where.
        prior: How common the classes are believed to be, from public sources.
        head_only: The parameters are the image tower's last projection: what comes before runs frozen.
        kept: With `head_only`, where pictures are not augmented: computes each picture's features once.
        chunk_pairs: Pairs in memory at a time.
    """

    def __init__(
        self,
        model: ClipModel,
        bank: PromptBank,
        parameters: Sequence[torch.nn.Parameter],
        device: torch.device,
        *,
        prior: Mapping[str, float] | None = None,
        head_only: bool = False,
        kept: KeptFeatures | None = None,
        chunk_pairs: int = CHUNK_PAIRS,
    ) -> None:
        self._model = model
        self._bank = bank
        self._classes = class_embeddings(model, bank).to(device)
        self._prior = log_prior(bank, prior).to(device)
        self._scale = _towers(model).logit_scale.detach().exp().to(device)
        self._engine = PerUnitGradients(parameters)
        self._device = device
        self._chunk_pairs = chunk_pairs
        self._frozen: Features | None = None
        self._embed: Features = _towers(model).encode_image
        if head_only:
            self._frozen, self._embed = before_and_after(model)
        self._kept = kept

    def add(self, units: Sequence[Sequence[int]], read: Reader, into: ClippedSum) -> StepRecord:
        """See `Contributions`."""
        record = StepRecord(units=len(units), pairs=sum(len(unit) for unit in units))
        chunks = _alike(units, self._chunk_pairs)
        for chunk, (inputs, labels) in zip(chunks, self._inputs(chunks, read), strict=True):
            targets = self._bank.targets(labels).to(self._device)
            seen: list[torch.Tensor] = []

            def losses(inputs: torch.Tensor = inputs, targets: torch.Tensor = targets, seen: list[Any] = seen) -> Any:
                image = self._embed(inputs)
                rows = bank_losses(image, self._classes, self._scale, targets, self._prior)
                seen.append(rows.detach())
                return rows

            norms = self._engine.add(losses, units=len(chunk), into=into)
            record.norms += norms.tolist()
            record.loss += float(seen[0].sum()) / max(1, record.pairs)
        return record

    def _inputs(
        self, chunks: Sequence[Sequence[Sequence[int]]], read: Reader
    ) -> Iterator[tuple[torch.Tensor, list[frozenset[str]]]]:
        """What `self._embed` reads of each chunk, and its labels."""
        numbers = [[pair for unit in chunk for pair in unit] for chunk in chunks]
        if self._kept is None or self._frozen is None:
            for batch in read(numbers):
                pixels = self._pixels(batch)
                yield (pixels if self._frozen is None else self._frozen(pixels)), batch.labels
            return
        missing = self._kept.missing([pair for pairs in numbers for pair in pairs])
        new = [missing[start : start + self._chunk_pairs] for start in range(0, len(missing), self._chunk_pairs)]
        for pairs, batch in zip(new, read(new), strict=True):
            self._kept.learn(pairs, self._frozen(self._pixels(batch)), batch.labels)
        yield from (self._kept.of(pairs) for pairs in numbers)

    def _pixels(self, batch: Batch) -> torch.Tensor:
        return _pixels(self._model, batch, self._device)


class GroupedContributions:
    """Each group adds one vector: the gradient of a contrastive loss inside it, clipped.

    Args:
        settings: Objective and its weights.
        private: Number of groups and their largest size.
        model: Its towers are trained.
        parameters: What is trained.
        device: Where.
        sampler: Gives each unit its group.
    """

    def __init__(
        self,
        settings: TrainSettings,
        private: PrivateSettings,
        model: ClipModel,
        parameters: Sequence[torch.nn.Parameter],
        device: torch.device,
        sampler: PoissonSampler,
    ) -> None:
        self._settings = settings
        self._private = private
        self._model = model
        self._parameters = list(parameters)
        self._device = device
        self._sampler = sampler

    def add(self, units: Sequence[Sequence[int]], read: Reader, into: ClippedSum) -> StepRecord:
        """See `Contributions`."""
        record = StepRecord(units=len(units), pairs=sum(len(unit) for unit in units))
        labels = self._sampler.labels(len(units), self._private.groups)
        groups: dict[int, list[int]] = {}
        for unit, label in zip(units, labels, strict=True):
            groups.setdefault(int(label), []).extend(unit)
        # Overflow stays out of its own group: moved to another, it would change two.
        kept = [pairs[: self._private.max_group_pairs] for pairs in groups.values() if len(pairs) > 1]
        for batch in read(kept):
            loss = self.loss(batch)
            record.norms.append(into.add(torch.autograd.grad(loss, self._parameters, allow_unused=True)))
            record.loss += float(loss.detach()) / max(1, len(kept))
        return record

    def loss(self, batch: Batch) -> torch.Tensor:
        """The contrastive loss inside one group."""
        towers = _towers(self._model)
        image = towers.encode_image(_pixels(self._model, batch, self._device))
        text = towers.encode_text(self._model.tokenizer(batch.captions).to(self._device))
        return contrastive_loss(
            normalize(image.float(), dim=-1),
            normalize(text.float(), dim=-1),
            towers.logit_scale.detach().exp(),
            getattr(towers, "logit_bias", None),
            label_similarity(batch.labels).to(self._device),
            objective=self._settings.objective,
            soft_weight=self._settings.soft_weight,
            within_weight=self._settings.within_weight,
        )


def private_gradient(
    contributions: Contributions,
    units: Sequence[Sequence[int]],
    read: Reader,
    parameters: Sequence[torch.nn.Parameter],
    *,
    max_grad_norm: float,
    noise_std: float,
    normaliser: float,
    entropy: Entropy = os.urandom,
) -> tuple[list[torch.Tensor], StepRecord]:
    """The noised sum over the sampled units, divided by a constant; with no unit it is noise alone.

    Args:
        contributions: The mechanism.
        units: Pair numbers of each sampled unit.
        read: Reads them.
        parameters: What is trained.
        max_grad_norm: C.
        noise_std: Standard deviation of the noise on the sum: sigma times sensitivity.
        normaliser: A configured constant, never the realised number.
        entropy: Seeds the noise.

    Returns:
        One gradient a parameter, which may be released; and the record, which may not.
    """
    total = ClippedSum(parameters, max_grad_norm)
    record = contributions.add(units, read, total) if units else StepRecord()
    return [noised / normaliser for noised in total.release(noise_std, entropy)], record


def _alike(units: Sequence[Sequence[int]], most: int) -> list[list[Sequence[int]]]:
    """Chunks of units with equally many pairs, of at most `most` pairs; the order of a sum's parts does not matter."""
    by_size: dict[int, list[Sequence[int]]] = {}
    for unit in units:
        by_size.setdefault(len(unit), []).append(unit)
    chunks = []
    for size, alike in sorted(by_size.items()):
        each = max(1, most // size)
        chunks += [alike[start : start + each] for start in range(0, len(alike), each)]
    return chunks


def _pixels(model: ClipModel, batch: Batch, device: torch.device) -> torch.Tensor:
    return model.preprocess.tensor(batch.pixels).to(device).contiguous(memory_format=torch.channels_last)


def _towers(model: ClipModel) -> Any:
    return model.model
