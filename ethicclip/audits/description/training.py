"""Trains the `copy` descriptor on phantoms alone: no eye of a patient takes part.

    ethicclip generate --count 4000 --size 224 --seed 20261125 --out phantoms
    python -m ethicclip.audits.description.training phantoms --out copy.safetensors

Self-supervised: two changed views of one phantom have to find each other among the views of all others (InfoNCE, van
den Oord et al. 2018), while the entropy regulariser of SSCD (Pizzi et al. 2022; KoLeo of Sablayrolles et al. 2019)
pushes each descriptor away from its nearest neighbour, so that distances mean the same everywhere. Each phantom is
changed `VIEWS` times beforehand; flips and small turns are drawn anew at every step. The same phantoms, seed and
thread give the same weights on one machine.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ethicclip.audits.description.augmenting import mild_change, strong_change
from ethicclip.audits.description.copy_input import SIDE, STEPS, copy_planes
from ethicclip.audits.description.copy_network import CopyNetwork, save_copy_network
from ethicclip.files import atomic_path, sha256_file
from ethicclip.imaging import Pixels
from ethicclip.pairs import ImageSource, open_images

VIEWS = 8
"""Changed views of each phantom; the first is mild, as the pictures of a reference are."""

BATCH = 128
TEMPERATURE = 0.07
SPREADING = 0.3
"""Weight of the entropy regulariser."""
RATE = 2e-3
_WORKING_SIDE = 192


def make_views(source: ImageSource, *, seed: int) -> npt.NDArray[np.int8]:
    """Every view of every picture, int8 (pictures, `VIEWS`, 2, side, side)."""
    views = np.empty((len(source), VIEWS, 2, SIDE, SIDE), dtype=np.int8)
    other = _square(source.image(len(source) - 1, max_side=_WORKING_SIDE))
    for row in range(len(source)):
        image = _square(source.image(row, max_side=_WORKING_SIDE))
        rng = np.random.default_rng([seed, 71, row])
        for view in range(VIEWS):
            changed = mild_change(image, rng) if view == 0 else strong_change(image, other, rng)
            views[row, view] = copy_planes(changed)
        other = image
    return views


def _square(image: Pixels) -> Pixels:
    return cv2.resize(image, (_WORKING_SIDE, _WORKING_SIDE), interpolation=cv2.INTER_AREA).astype(np.uint8)


def loss_of(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Symmetric InfoNCE of matching rows plus the entropy regulariser over both.

    Args:
        first: L2-normalised descriptors, float32 (n, d).
        second: The same; row i of both shows one picture.
    """
    likeness = first @ second.T / TEMPERATURE
    target = torch.arange(len(first))
    contrast = (nn.functional.cross_entropy(likeness, target) + nn.functional.cross_entropy(likeness.T, target)) / 2
    among = first @ first.T - 2 * torch.eye(len(first))
    # Minus the logarithm of the distance to the nearest *other* picture.
    spread = -0.5 * torch.log((2 - 2 * among.max(dim=1).values).clamp(min=1e-6)).mean()
    return contrast + SPREADING * spread


def train(
    views: npt.NDArray[np.int8], *, steps: int, seed: int, report: int = 50, mixed: bool = True
) -> tuple[CopyNetwork, list[float]]:
    """Train a network on views; returns it with the loss at every step.

    Args:
        views: See `make_views`; at least `BATCH` pictures.
        steps: Of the optimiser.
        seed: Source of weights, order and turns.
        report: Print the mean loss after so many steps.
        mixed: Compute the convolutions in bfloat16.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng([seed, 72])
    network = CopyNetwork().to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=RATE, total_steps=steps, pct_start=0.15)
    losses: list[float] = []
    order = np.zeros(0, dtype=np.int64)
    started = time.process_time()
    for step in range(steps):
        if len(order) < BATCH:
            order = rng.permutation(len(views))
        rows, order = order[:BATCH], order[BATCH:]
        one = np.where(rng.uniform(size=BATCH) < 0.5, 0, rng.integers(0, VIEWS, size=BATCH))
        two = (one + rng.integers(1, VIEWS, size=BATCH)) % VIEWS
        planes = torch.from_numpy(np.concatenate([views[rows, one], views[rows, two]])).float() / STEPS
        planes = _turned(planes, rng).contiguous(memory_format=torch.channels_last)
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
            found = network(planes)
        loss = loss_of(found[:BATCH].float(), found[BATCH:].float())
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if (step + 1) % report == 0:
            seconds = time.process_time() - started
            sys.stderr.write(f"step {step + 1}/{steps}: loss {np.mean(losses[-report:]):.4f}, {seconds:.0f} s of CPU\n")
    return network.eval(), losses


def _turned(planes: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    """Each picture flipped at random and turned by up to 15 degrees more."""
    angles = np.deg2rad(rng.uniform(-15, 15, size=len(planes)))
    flips = rng.choice([-1.0, 1.0], size=len(planes))
    matrix = np.stack(
        [
            np.stack([flips * np.cos(angles), -np.sin(angles), np.zeros_like(angles)], axis=1),
            np.stack([flips * np.sin(angles), np.cos(angles), np.zeros_like(angles)], axis=1),
        ],
        axis=1,
    )
    grid = nn.functional.affine_grid(torch.from_numpy(matrix).float(), list(planes.shape), align_corners=False)
    return nn.functional.grid_sample(planes, grid, align_corners=False)


def main(argv: Sequence[str] | None = None) -> int:
    """Read phantoms, train, write the weights, print their hash."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("phantoms", type=Path, help="a pair set of phantoms (ethicclip generate)")
    parser.add_argument("--out", type=Path, required=True, help="safetensors file to write")
    parser.add_argument("--steps", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    started = time.process_time()
    views = make_views(open_images(arguments.phantoms), seed=arguments.seed)
    sys.stderr.write(f"{len(views)} phantoms, {VIEWS} views each, {time.process_time() - started:.0f} s of CPU\n")
    network, losses = train(views, steps=arguments.steps, seed=arguments.seed)
    with atomic_path(arguments.out) as partial:
        save_copy_network(network, partial)
    total = time.process_time() - started
    sys.stdout.write(
        f"loss {np.mean(losses[:50]):.3f} to {np.mean(losses[-50:]):.3f}; {total:.0f} s of CPU; "
        f"{arguments.out.stat().st_size / 1e6:.2f} MB; sha256 {sha256_file(arguments.out)}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
