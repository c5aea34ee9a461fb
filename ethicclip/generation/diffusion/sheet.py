"""A sheet of samples while a generator learns: a row for each condition, to be looked at; it can show patients."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch

from ethicclip.generation.diffusion.drawing import LANE, drawn_pictures
from ethicclip.generation.diffusion.latent import Autoencoder
from ethicclip.generation.diffusion.settings import FitSettings
from ethicclip.generation.learning import Known
from ethicclip.generation.marking import TRAINED, encode_marked
from ethicclip.terms import Condition

_ROWS = (
    Known(conditions=(Condition.NORMAL,), grade=0, eye="right"),
    Known(conditions=(Condition.DIABETIC_RETINOPATHY,), grade=3, eye="left"),
    Known(conditions=(Condition.GLAUCOMA,), eye="right"),
    Known(conditions=(Condition.CATARACT,), eye="left"),
)
_STEPS, _GUIDANCE = 10, 2.0
_LEAST_SIDE = 96


def sample_sheet(
    network: Any, schedule: Any, autoencoder: Autoencoder | None, settings: FitSettings, device: torch.device
) -> bytes:
    """A PNG of four rows: normal, retinopathy, glaucoma, cataract; always from the same noise."""
    each = LANE // len(_ROWS)
    asked = [known for known in _ROWS for _ in range(each)]
    keys = [(settings.seed, number) for number in range(LANE)]
    pictures = drawn_pictures(
        network, schedule, autoencoder, asked, keys, device=device, steps=_STEPS, guidance=_GUIDANCE
    )
    rows = [np.concatenate(list(pictures[start : start + each]), axis=1) for start in range(0, LANE, each)]
    sheet = np.concatenate(rows)
    scale = max(1, -(-_LEAST_SIDE // settings.size))
    grown = cv2.resize(sheet, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    return encode_marked(np.asarray(grown, dtype=np.uint8), "png", quality=100, source=TRAINED)
