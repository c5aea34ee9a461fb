"""The network and its noise schedule, both diffusers' own classes, and the loss they are trained by."""

from __future__ import annotations

from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DModel
from torch import Tensor

from ethicclip.generation.diffusion.conditions import NAMES
from ethicclip.generation.diffusion.settings import FitSettings

TRAIN_TIMESTEPS = 1000
CONDITION_SCALE = 3.0
"""A condition's value in the network's time embedding, to stand out from the time's own, which are about 1."""

_ATTENDING = 2


def build_network(settings: FitSettings, seed: int, *, channels: int = 3, side: int | None = None) -> UNet2DModel:
    """A UNet with fresh weights of `seed`; conditions are added to its time embedding (`class_labels`).

    Args:
        settings: Its shape.
        seed: Of its weights.
        channels: Of what it denoises: 3 colours, or those of a latent space.
        side: Of what it denoises; None takes the picture's.
    """
    levels = len(settings.multipliers)
    attends = [level >= levels - _ATTENDING and level > 0 for level in range(levels)]
    widths = tuple(settings.channels * factor for factor in settings.multipliers)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed % 2**63)
        return UNet2DModel(
            sample_size=settings.size if side is None else side,
            in_channels=channels,
            out_channels=channels,
            layers_per_block=settings.layers,
            block_out_channels=widths,
            down_block_types=tuple("AttnDownBlock2D" if one else "DownBlock2D" for one in attends),
            up_block_types=tuple("AttnUpBlock2D" if one else "UpBlock2D" for one in reversed(attends)),
            norm_num_groups=8,
            attention_head_dim=min(32, settings.channels),
            class_embed_type="identity",
        )


def build_schedule() -> DDPMScheduler:
    """The cosine schedule (Nichol & Dhariwal 2021), predicting v (Salimans & Ho 2022)."""
    return DDPMScheduler(
        num_train_timesteps=TRAIN_TIMESTEPS, beta_schedule="squaredcos_cap_v2", prediction_type="v_prediction"
    )


def class_labels(conditions: Tensor, network: Any) -> Tensor:
    """Condition vectors (n, `NAMES`) as the network takes them: scaled, filled up with zeros to its time embedding."""
    wide = 4 * int(network.config.block_out_channels[0])
    filled = conditions.new_zeros(len(conditions), wide)
    filled[:, : len(NAMES)] = CONDITION_SCALE * conditions
    return filled


def denoising_losses(
    network: Any,
    schedule: DDPMScheduler,
    pictures: Tensor,
    conditions: Tensor,
    times: Tensor,
    noise: Tensor,
    gamma: float,
) -> Tensor:
    """One loss a picture, (n,): the squared error of v under min-SNR weights.

    For v-prediction the weight min(SNR, gamma) of the picture's error becomes min(SNR, gamma) / (SNR + 1) (Hang et al.
    2023, 2303.09556, section 3.4).

    Args:
        network: The UNet.
        schedule: Its noise.
        pictures: -1 to 1, (n, 3, size, size).
        conditions: (n, `NAMES`).
        times: int64 (n,).
        noise: As `pictures`.
        gamma: Largest signal-to-noise ratio that counts.
    """
    alphas = schedule.alphas_cumprod.to(pictures.device)[times]
    signal, spread = alphas.sqrt().view(-1, 1, 1, 1), (1 - alphas).sqrt().view(-1, 1, 1, 1)
    target = signal * noise - spread * pictures
    predicted = network(
        signal * pictures + spread * noise, times, class_labels=class_labels(conditions, network)
    ).sample
    ratio = alphas / (1 - alphas)
    weights = ratio.clamp(max=gamma) / (ratio + 1)
    losses: Tensor = weights * (predicted.float() - target).square().flatten(1).mean(1)
    return losses
