"""The public bank that pictures are contrasted with: every condition and grade, in words.

The prompt-bank mechanism has nothing else; a plain run has it beside the contrast within a batch.

Nothing here comes from private data: the phrases are the project's own, all classes weigh the same, and the text tower
learns from the phrases alone before it is frozen. A picture's loss then depends on that picture only, which is what
makes its gradient a thing that can be clipped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate, normalize

from ethicclip.clip import ClipModel
from ethicclip.errors import UsageError
from ethicclip.terms import Condition, dr_grade_name, dr_grade_prompts, name_prompts, prompts
from ethicclip.terms.conditions import DR_GRADES, Language, filled_name
from ethicclip.training.draws import generator_for
from ethicclip.training.objectives import label_similarity, within_modality
from ethicclip.training.starting import centre_projections

_TEXT_BATCH = 64
_TEXT_RATE = 1e-3
_PATTERNS = 32
_DRAWN = 2


@dataclass(frozen=True, kw_only=True)
class PromptBank:
    """Classes and their phrases.

    Attributes:
        classes: A condition's id, or "grade_1" ... "grade_4", as `label_tokens` names them.
        phrases: For each class, all its prompts in all languages.
    """

    classes: tuple[str, ...]
    phrases: tuple[tuple[str, ...], ...]

    @property
    def texts(self) -> list[str]:
        """All phrases in a row."""
        return [phrase for phrases in self.phrases for phrase in phrases]

    def targets(self, labels: Sequence[frozenset[str]]) -> torch.Tensor:
        """Soft targets, float32 (n, classes): even over the classes a picture has; zero where it has none of them."""
        column = {name: index for index, name in enumerate(self.classes)}
        target = torch.zeros(len(labels), len(self.classes))
        for row, tokens in enumerate(labels):
            known = [column[token] for token in tokens if token in column]
            if known:
                target[row, known] = 1.0 / len(known)
        return target


_RARE = 0.1
"""What a class without a stated prior weighs against the least common one that has one."""


def log_prior(bank: PromptBank, stated: Mapping[str, float] | None) -> torch.Tensor:
    """What to add to the classes' logits while training, float32 (classes,); zero without a prior.

    Raises:
        UsageError: A class that the bank does not have.
    """
    if not stated:
        return torch.zeros(len(bank.classes))
    unknown = sorted(set(stated) - set(bank.classes))
    if unknown:
        raise UsageError(
            f"the class prior names {', '.join(unknown)}, which the bank does not have",
            next_step=f"Its classes are {', '.join(bank.classes)}.",
        )
    rare = _RARE * min(stated.values())
    shares = torch.tensor([stated.get(name, rare) for name in bank.classes])
    return (shares / shares.sum()).log()


def public_bank(languages: Sequence[Language]) -> PromptBank:
    """Every condition and every grade of retinopathy from 1, with all their phrases."""
    classes = [str(condition) for condition in Condition]
    phrases = [
        tuple(
            text
            for language in languages
            for text in (*prompts(condition, language), *name_prompts(condition, language))
        )
        for condition in Condition
    ]
    for grade in DR_GRADES[1:]:
        classes.append(f"grade_{grade}")
        phrases.append(
            tuple(
                text
                for language in languages
                for text in (*dr_grade_prompts(grade, language), *filled_name(dr_grade_name(grade, language), language))
            )
        )
    return PromptBank(classes=tuple(classes), phrases=tuple(phrases))


@dataclass(frozen=True, kw_only=True)
class BankDraw:
    """Some phrases of every class, for one step.

    Attributes:
        tokens: int64 (classes x phrases a class, context length).
        each: Phrases a class.
    """

    tokens: torch.Tensor
    each: int

    def classes(self, texts: torch.Tensor) -> torch.Tensor:
        """Unit vectors of the classes, (classes, d), from the embeddings of the drawn phrases."""
        return normalize(texts.view(-1, self.each, texts.shape[-1]).mean(1), dim=-1)


class LiveBank:
    """The bank while the text tower learns too: a few phrases of each class a step.

    All of them in every step would cost more than the pictures.

    Args:
        bank: Classes and phrases.
        model: Its tokenizer is used.
        seed: Of the draws.
    """

    def __init__(self, bank: PromptBank, model: ClipModel, *, seed: int) -> None:
        self._bank, self._model, self._seed = bank, model, seed
        self.targets = bank.targets

    def draw(self, step: int) -> BankDraw:
        """The phrases of one step: a function of seed and step."""
        generator = generator_for(self._seed, "live bank", step)
        texts = [
            phrases[int(number)]
            for phrases in self._bank.phrases
            for number in generator.choice(len(phrases), size=_DRAWN, replace=len(phrases) < _DRAWN)
        ]
        return BankDraw(tokens=self._model.tokenizer(texts), each=_DRAWN)


def prepare_fresh_towers(model: ClipModel, bank: PromptBank, *, text_steps: int, seed: int) -> None:
    """Give fresh towers a start from public things alone: centred projections, and text that tells classes apart.

    Args:
        model: Fresh weights; changed in place.
        bank: The phrases.
        text_steps: Steps of contrast between phrases of like and unlike classes.
        seed: Of patterns and batches.
    """
    towers: Any = model.model
    tokens = model.tokenizer(bank.texts)
    coarse = torch.from_numpy(generator_for(seed, "patterns").normal(size=(_PATTERNS, 3, 8, 8)).astype(np.float32))
    side = model.preprocess.size
    centre_projections(towers, interpolate(coarse, size=(side, side), mode="bicubic"), tokens[::4])
    owners = [frozenset({name}) for name, phrases in zip(bank.classes, bank.phrases, strict=True) for _ in phrases]
    weights = [weight for name, weight in towers.named_parameters() if _of_text(name)]
    optimizer = torch.optim.AdamW(weights, lr=_TEXT_RATE, weight_decay=0.0)
    scale = towers.logit_scale.detach().exp()
    towers.train()
    for step in range(text_steps):
        chosen = generator_for(seed, "bank", step).choice(
            len(owners), size=min(_TEXT_BATCH, len(owners)), replace=False
        )
        optimizer.zero_grad(set_to_none=True)
        features = normalize(towers.encode_text(tokens[torch.from_numpy(chosen)]).float(), dim=-1)
        loss = within_modality(features, scale, label_similarity([owners[index] for index in chosen]))
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    towers.eval()


@torch.no_grad()
def class_embeddings(model: ClipModel, bank: PromptBank) -> torch.Tensor:
    """Unit vectors of the classes, float32 (classes, d): the mean over a class's phrases, as zero-shot prompts are."""
    embedded = torch.from_numpy(model.encode_texts(bank.texts))
    parts = torch.split(embedded, [len(phrases) for phrases in bank.phrases])
    return normalize(torch.stack([part.mean(0) for part in parts]), dim=-1)


def bank_losses(
    image: torch.Tensor,
    classes: torch.Tensor,
    logit_scale: torch.Tensor,
    targets: torch.Tensor,
    prior: torch.Tensor | float = 0.0,
) -> torch.Tensor:
    """Each picture's cross-entropy against the bank: float32 (n,), a function of that picture alone.

    Args:
        image: The image tower's output, (n, d); normalised here.
        classes: From `class_embeddings`.
        logit_scale: Fixed factor on cosines.
        targets: From `PromptBank.targets`.
        prior: From `log_prior`; 0 counts every class alike.
    """
    logits = logit_scale * normalize(image.float(), dim=-1) @ classes.T + prior
    return -(targets * logits.log_softmax(1)).sum(1)


def _of_text(name: str) -> bool:
    return not name.startswith(("visual.", "logit_"))
