"""A small world for learned generators: pictures of discs, and settings of a network that fits a test."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from ethicclip.generation.diffusion import FitSettings, fit
from ethicclip.generation.diffusion.trainer import Trainer
from ethicclip.generation.learning import Known, LearningSet
from ethicclip.pairs import Origin
from ethicclip.terms import Condition

SMALL = {
    "size": 32,
    "channels": 16,
    "layers": 1,
    "multipliers": (1, 2),
    "pretrain_steps": 2,
    "pretrain_phantoms": 2,
    "steps": 4,
    "batch_size": 4,
    "checkpoint_steps": 2,
    "sheet_steps": 100,
    "watch_steps": 100,
    "watch_samples": 8,
    "deduplicate": False,
}


def settings(**changed: object) -> FitSettings:
    """Settings of a run of seconds."""
    return FitSettings.build({**SMALL, **changed})


def picture(number: int) -> np.ndarray:
    """An orange disc with vessels of its own: uint8 (96, 96, 3)."""
    random = np.random.default_rng(number)
    image = np.zeros((96, 96, 3), np.uint8)
    cv2.circle(image, (48, 48), 44, (200, 110, 50), -1)
    for _ in range(14):
        ends = random.integers(14, 82, 4)
        cv2.line(image, (int(ends[0]), int(ends[1])), (int(ends[2]), int(ends[3])), (130, 40, 20), 2)
    return image


def learning(count: int = 6, *, repeats: int = 0) -> LearningSet:
    """Pictures of `count` patients; the last `repeats` show the first ones once more, a little brighter."""

    def fetch(i: int, side: int | None) -> np.ndarray:
        again = i >= count - repeats
        shown = picture(i - (count - repeats) if again else i)
        return cv2.add(shown, np.where(shown > 0, 6, 0).astype(np.uint8)) if again else shown

    return LearningSet(
        alias="discs",
        known=tuple(Known(conditions=(list(Condition)[i % 3],), eye="left") for i in range(count)),
        patient_ids=tuple(f"p{i}" for i in range(count)),
        origin=Origin.REAL,
        licence="clinic only",
        hashes=tuple(f"{i:064x}" for i in range(count)),
        fetch=fetch,
    )


def cut_off(asked: FitSettings, out: Path, *, before: int) -> None:
    """A fit that dies in its step number `before`."""
    advance, calls = Trainer.advance, []

    def cut(self: Trainer, shelf: object) -> float:
        calls.append(1)
        if len(calls) == before:
            raise RuntimeError("killed")
        return advance(self, shelf)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "advance", cut)
        with pytest.raises(RuntimeError, match="killed"):
            fit(asked, learning(), out)


def make_autoencoder(folder: Path, channels: int = 3) -> Path:
    """An AutoencoderKL of two levels with fresh weights: it halves a side once."""
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    AutoencoderKL(
        in_channels=channels, out_channels=channels, block_out_channels=(8, 8), norm_num_groups=4, latent_channels=4,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2, sample_size=32,
        scaling_factor=0.5,
    ).save_pretrained(folder)  # fmt: skip
    return folder
