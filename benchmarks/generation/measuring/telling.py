"""A small network is asked to tell drawn pictures from photographs; where it looks is the way to what is wrong.

The nearer its cross-validated AUROC is to 0.5, the fewer tells the drawings have at this resolution.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ethicclip.evaluation.metrics import auroc

SIDE = 96
FOLDS = 4
_EPOCHS = 10
_PATCH, _STEP, _OCCLUDED = 16, 8, 40

Images = npt.NDArray[np.float32]
"""Shape (n, SIDE, SIDE, 3), about zero to one."""


@dataclass(frozen=True, kw_only=True)
class Telling:
    """How well drawn and real pictures are told apart.

    Attributes:
        estimate, low, high: AUROC over pictures held out by patient, interval by bootstrap of patients.
        gaze: (SIDE, SIDE), how much the score moves when a patch there is blurred away, of unit mean.
        n: Pictures of both kinds.
    """

    estimate: float
    low: float
    high: float
    gaze: npt.NDArray[np.float32]
    n: int


def _network() -> nn.Module:
    def block(inside: int, outside: int) -> list[nn.Module]:
        return [nn.Conv2d(inside, outside, 3, 2, 1, bias=False), nn.BatchNorm2d(outside), nn.ReLU()]

    return nn.Sequential(
        *block(3, 16), *block(16, 32), *block(32, 48), *block(48, 64), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Dropout(0.3), nn.Linear(64, 1),
    )  # fmt: skip


def _tensor(images: Images) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))


def _train(images: Images, drawn: npt.NDArray[np.bool_], seed: int) -> nn.Module:
    torch.manual_seed(seed)
    network, pictures = _network(), _tensor(images)
    wanted = torch.from_numpy(drawn.astype(np.float32))
    steps = _EPOCHS * -(-len(images) // 32)
    optimiser = torch.optim.AdamW(network.parameters(), lr=2e-3, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for _ in range(_EPOCHS):
        for batch in torch.randperm(len(images)).split(32):
            loss = nn.functional.binary_cross_entropy_with_logits(network(pictures[batch])[:, 0], wanted[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return network.eval()


def _occlusion(network: nn.Module, images: Images) -> npt.NDArray[np.float64]:
    """Mean change of the score when a patch is replaced by its own blurred light, by place of the patch."""
    plain = np.stack([cv2.GaussianBlur(image, (0, 0), 10) for image in images])
    before = network(_tensor(images))[:, 0]
    total, count = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))
    for top in range(0, SIDE - _PATCH + 1, _STEP):
        for left in range(0, SIDE - _PATCH + 1, _STEP):
            window = (slice(top, top + _PATCH), slice(left, left + _PATCH))
            hidden = images.copy()
            hidden[:, *window] = plain[:, *window]
            change = float((network(_tensor(hidden))[:, 0] - before).abs().mean())
            total[window] += change
            count[window] += 1
    return np.asarray(total / count)


def tell_apart(images: Images, drawn: npt.NDArray[np.bool_], patients: list[str], *, seed: int = 0) -> Telling:
    """Cross-validate by patient; a drawn picture is a patient of its own.

    Args:
        images: Pictures, already blurred and of one size.
        drawn: True for phantoms.
        patients: Whose eye a picture shows.
        seed: Of folds, weights and bootstrap.
    """
    random = np.random.default_rng(seed)
    names, group = np.unique(np.array(patients), return_inverse=True)
    # Folds are drawn apart for drawn and real patients, so that both are in each.
    fold = np.zeros(len(names), dtype=int)
    for kind in (False, True):
        own = np.unique(group[drawn == kind])
        fold[own] = random.permutation(len(own)) % FOLDS
    scores = np.zeros(len(images))
    gaze = np.zeros((SIDE, SIDE))
    for part in range(FOLDS):
        held = fold[group] == part
        network = _train(images[~held], drawn[~held], seed + part)
        with torch.inference_mode():
            values = network(_tensor(images[held]))[:, 0].numpy()
            gaze += _occlusion(network, images[held][:_OCCLUDED])
        # Folds have networks of their own: their scores are brought to one scale by rank.
        scores[held] = values.argsort().argsort() / max(1, len(values) - 1)
    estimate = float(auroc(drawn, scores))
    members = [np.flatnonzero(group == number) for number in range(len(names))]
    draws = []
    for _ in range(400):
        chosen = np.concatenate([members[number] for number in random.integers(0, len(members), len(members))])
        if drawn[chosen].any() and not drawn[chosen].all():
            draws.append(float(auroc(drawn[chosen], scores[chosen])))
    low, high = np.percentile(draws, [2.5, 97.5])
    return Telling(
        estimate=estimate,
        low=float(low),
        high=float(high),
        gaze=(gaze / gaze.mean()).astype(np.float32),
        n=len(images),
    )


def gaze_picture(gaze: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """The map enlarged and coloured (BGR): dark where the network does not look, bright where it does."""
    shown = np.clip(gaze / np.percentile(gaze, 99.5), 0, 1)
    large = cv2.resize(shown, (4 * SIDE, 4 * SIDE), interpolation=cv2.INTER_CUBIC)
    return np.asarray(cv2.applyColorMap((np.clip(large, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_INFERNO), np.uint8)
