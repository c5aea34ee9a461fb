"""Draws pictures from an opened generator: a function of seed and number, whatever else is drawn beside them.

Pictures are computed in lanes: `LANE` neighbours by number, always together and always all of them. The last bits of a
batched product depend on what else is in the batch; fixed lanes make a picture the same whether one or a million are
drawn, by one process or by many. On a CPU each process computes in one thread, for the same reason.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from diffusers import DPMSolverMultistepScheduler
from torch import Tensor

from ethicclip.generation.diffusion.conditions import vector
from ethicclip.generation.diffusion.memory import memory_advice
from ethicclip.generation.diffusion.network import class_labels
from ethicclip.generation.learning import Known
from ethicclip.generation.streams import GENERATED, Stream, stream
from ethicclip.imaging import Pixels

if TYPE_CHECKING:
    from ethicclip.generation.diffusion.latent import Autoencoder

LANE = 16
_FIRST_SIGNAL = 0.1
"""Signal-to-noise ratio of a whole picture at the first step: its mean colour is still open there, and nothing else."""
_LAST_RATIO = 1e3
"""Signal-to-noise ratio of a pixel at the last step: what is left is four of 255 levels, and that step takes it."""

Floats = npt.NDArray[np.float32]


class DiffusionSource(Protocol):
    """An opened generator.

    Attributes:
        name: What records call it.
        digest: A sha256 (hex) that names its weights and settings.
        side: Pixels a side of what it draws.
        conditional: Whether it can be asked for conditions.
    """

    name: str
    digest: str
    side: int
    conditional: bool

    def askable(self, known: Known) -> Known:
        """What of `known` the generator can be asked for; the rest must not be claimed of the picture."""

    def draw(self, asked: Sequence[Known], keys: Sequence[tuple[int, int]], *, steps: int, guidance: float) -> Any:
        """Pictures as uint8 (n, side, side, 3), one for each (seed, number)."""


def solver_for(config: Any) -> DPMSolverMultistepScheduler:
    """DPM-Solver++ (2M) on a pipeline's own noise schedule."""
    return DPMSolverMultistepScheduler.from_config(config, algorithm_type="dpmsolver++", solver_order=2)


def pixel_solver(config: Any) -> DPMSolverMultistepScheduler:
    """As `solver_for`, for pixels: what is predicted is kept within -1 to 1 (static thresholding)."""
    return DPMSolverMultistepScheduler.from_config(
        config, algorithm_type="dpmsolver++", solver_order=2, thresholding=True, sample_max_value=1.0
    )


def solver_times(schedule: Any, steps: int, side: int) -> list[int]:
    """When the solver calls the network: evenly spaced in the logarithm of the signal-to-noise ratio.

    Evenly spaced in time, as is the custom, few steps leap over the noise at which colours are decided, and all
    pictures get the mean one (docs/decisions/0086). Even steps in the logarithm are those of Lu et al. (2022,
    2206.00927, section 3.4); they begin where the mean of side x side pixels shows through the noise.

    Args:
        schedule: The scheduler that the network was trained with.
        steps: Of the solver; where times would repeat there are fewer.
        side: Of what the network denoises.

    Returns:
        Decreasing times of training.
    """
    alphas = schedule.alphas_cumprod.double()
    ratio = alphas / (1 - alphas)
    ends = [int((ratio >= one).nonzero().max()) for one in (_FIRST_SIGNAL / side**2, _LAST_RATIO)]
    logs = ratio.log()
    wanted = torch.linspace(float(logs[ends[0]]), float(logs[ends[1]]), steps, dtype=torch.float64)
    nearest = (logs[None] - wanted[:, None]).abs().argmin(1)
    return sorted({int(one) for one in nearest}, reverse=True)


def first_noise(keys: Sequence[tuple[int, int]], side: int, channels: int = 3) -> Tensor:
    """The noise that each picture begins with, float32 (n, channels, side, side)."""
    drawn = [
        stream(GENERATED, seed, number, Stream.LATENT).standard_normal((channels, side, side), dtype=np.float32)
        for seed, number in keys
    ]
    return torch.from_numpy(np.stack(drawn))


def denoise(
    network: Any,
    schedule: Any,
    noise: Tensor,
    conditions: Tensor,
    *,
    times: Sequence[int],
    guidance: float,
    pixels: bool = True,
) -> Tensor:
    """From noise to pictures of -1 to 1, or to latents, deterministically (an ODE solver draws no further noise).

    Args:
        network: Our UNet.
        schedule: The scheduler it was trained with.
        noise: (n, channels, side, side).
        conditions: (n, `NAMES`).
        times: When the solver calls the network; see `solver_times`.
        guidance: Scale w of classifier-free guidance: u + w (c - u); 1 takes c alone.
        pixels: Whether what is predicted is kept within -1 to 1, as pixels are and latents are not.
    """
    solver = (pixel_solver if pixels else solver_for)(schedule.config)
    solver.set_timesteps(timesteps=list(times), device=noise.device)
    labels = class_labels(conditions, network)
    if guidance > 1:
        labels = torch.cat([torch.zeros_like(labels), labels])
    sample = (noise * solver.init_noise_sigma).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        for time in solver.timesteps:
            given = torch.cat([sample, sample]) if guidance > 1 else sample
            predicted = network(solver.scale_model_input(given, time), time, class_labels=labels).sample
            if guidance > 1:
                without, wanted = predicted.chunk(2)
                predicted = without + guidance * (wanted - without)
            sample = solver.step(predicted, time, sample).prev_sample
    result: Tensor = sample
    return result


def as_pixels(pictures: Tensor) -> Pixels:
    """Pictures of -1 to 1, (n, 3, side, side), as uint8 (n, side, side, 3)."""
    levels = pictures.float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)
    return np.ascontiguousarray(levels.cpu().numpy().transpose(0, 2, 3, 1))


def drawn_pictures(
    network: Any,
    schedule: Any,
    autoencoder: Autoencoder | None,
    asked: Sequence[Known],
    keys: Sequence[tuple[int, int]],
    *,
    device: torch.device,
    steps: int,
    guidance: float,
) -> Pixels:
    """Pictures of a network of ours, uint8 (n, side, side, 3), one for each (seed, number); see `denoise`."""
    side = int(network.config.sample_size)
    noise = first_noise(keys, side, int(network.config.in_channels))
    drawn = denoise(
        network,
        schedule,
        noise.to(device),
        torch.from_numpy(np.stack([vector(one) for one in asked])).to(device),
        times=solver_times(schedule, steps, side),
        guidance=guidance,
        pixels=autoencoder is None,
    )
    return as_pixels(drawn if autoencoder is None else autoencoder.decoded(drawn))


class FittedSource:
    """A generator that `fit-generator` made, in pixels or, with its autoencoder, in latents."""

    conditional = True

    def __init__(
        self,
        network: Any,
        schedule: Any,
        autoencoder: Autoencoder | None,
        *,
        name: str,
        digest: str,
        device: torch.device,
    ) -> None:
        self.name, self.digest = name, digest
        self.side = int(network.config.sample_size) * (1 if autoencoder is None else autoencoder.factor)
        self._device, self._autoencoder = device, autoencoder
        self._schedule = schedule
        self._network = network.to(device).eval().to(memory_format=torch.channels_last)

    def askable(self, known: Known) -> Known:
        """All of it."""
        return known

    def draw(self, asked: Sequence[Known], keys: Sequence[tuple[int, int]], *, steps: int, guidance: float) -> Pixels:
        """See `DiffusionSource`."""
        with memory_advice(self.side), one_thread(self._device):
            return drawn_pictures(
                self._network,
                self._schedule,
                self._autoencoder,
                asked,
                keys,
                device=self._device,
                steps=steps,
                guidance=guidance,
            )


@contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """Compute in one thread on a CPU while the block runs; parallelism is over lanes, by processes."""
    before = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def lane_of(number: int) -> range:
    """The numbers that are drawn together with picture `number`."""
    first = number // LANE * LANE
    return range(first, first + LANE)
