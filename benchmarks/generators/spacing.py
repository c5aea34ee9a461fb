"""How much of the colours' spread do few steps of the solver keep: times even in time, and even in log signal to noise.

    python benchmarks/generators/spacing.py [--quick] [--generator DIR] [--pictures 32]

A world whose best network is a formula: every picture has one colour, normal about grey with deviation 0.3. The network
sees a noisy picture and gives the v expected given its mean. Whatever spread is lost is the solver's doing. Printed for
each side and number of steps: the deviation of the drawn colours over 0.3, for times as diffusers spaces them
("linspace", its default) and as `solver_times` does.

With --generator, a folder of `fit-generator`: the same of its own pictures, without guidance; there is no truth to
divide by, so deviations of the mean of red, green and blue in the middle of the picture are printed, in levels of 255,
with processor seconds. Compare them with those of the pictures that it learnt from, and with those of many steps.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ethicclip.generation.diffusion.conditions import NAMES, drawn, vector
from ethicclip.generation.diffusion.drawing import as_pixels, denoise, first_noise, solver_for, solver_times
from ethicclip.generation.diffusion.network import build_schedule
from ethicclip.generation.streams import GENERATED, Stream, stream

SPREAD = 0.3


class OneColour:
    """The best network for pictures of one colour.

    Args:
        alphas: Share of signal at each time.
        side: Of the pictures.
    """

    config = SimpleNamespace(block_out_channels=(16,))

    def __init__(self, alphas: Tensor, side: int) -> None:
        self._alphas, self._side = alphas.double(), side

    def __call__(self, sample: Tensor, time: Any, class_labels: Tensor) -> SimpleNamespace:
        """The expected v."""
        signal, noise = self._alphas[int(time)].sqrt(), (1 - self._alphas[int(time)]).sqrt()
        known = signal * SPREAD**2 / (signal**2 * SPREAD**2 + noise**2 / self._side**2)
        picture = (known * sample.double().mean((2, 3), keepdim=True)).expand_as(sample)
        return SimpleNamespace(sample=((signal * sample.double() - picture) / noise).float())


def linspace(schedule: Any, steps: int, side: int) -> Sequence[int]:
    """Times as diffusers spaces them unless told otherwise."""
    solver = solver_for(schedule.config)
    solver.set_timesteps(steps)
    return [int(one) for one in solver.timesteps]


SPACINGS = {"linspace": linspace, "solver_times": solver_times}


def pictures(network: Any, schedule: Any, noise: Tensor, conditions: Tensor, steps: int, spacing: str) -> Tensor:
    """Drawn at the times of this spacing."""
    times = SPACINGS[spacing](schedule, steps, noise.shape[-1])
    return denoise(network, schedule, noise, conditions, times=times, guidance=1.0)


def theory(sides: Sequence[int], counts: Sequence[int]) -> None:
    """The world of one colour."""
    schedule = build_schedule()
    print("share of the colours' deviation that is kept")
    print(f"{'side':>5s} {'spacing':<13s}" + "".join(f"{count:>6d}" for count in counts) + " steps")
    for side in sides:
        noise = torch.randn(300, 1, side, side, generator=torch.Generator().manual_seed(0))
        network, none = OneColour(schedule.alphas_cumprod, side), torch.zeros(300, len(NAMES))
        for spacing in SPACINGS:
            kept = [
                float(pictures(network, schedule, noise, none, count, spacing).mean((2, 3)).std()) / SPREAD
                for count in counts
            ]
            print(f"{side:5d} {spacing:<13s}" + "".join(f"{one:6.2f}" for one in kept), flush=True)


def practice(folder: Path, count: int, counts: Sequence[int]) -> None:
    """A generator's own pictures."""
    from diffusers import DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(str(folder), local_files_only=True, low_cpu_mem_usage=False)
    network, side = pipeline.unet.eval(), int(pipeline.unet.config.sample_size)
    noise = first_noise([(5, number) for number in range(count)], side)
    asked = [drawn(stream(GENERATED, 5, number, Stream.CASE), "balanced") for number in range(count)]
    conditions = torch.from_numpy(np.stack([vector(one) for one in asked]))
    middle = slice(side // 4, 3 * side // 4)
    print(f"deviation of the middle's red, green and blue, {count} pictures of {folder.name}")
    for steps in counts:
        for spacing in SPACINGS:
            began = time.process_time()
            made = [
                pictures(network, pipeline.scheduler, noise[at : at + 16], conditions[at : at + 16], steps, spacing)
                for at in range(0, count, 16)
            ]
            spent = time.process_time() - began
            colours = as_pixels(torch.cat(made))[:, middle, middle].astype(float).mean((1, 2)).std(0)
            print(f"{steps:5d} steps {spacing:<13s} {colours.round(1)} {spent:5.0f} s", flush=True)


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="one side, few steps")
    parser.add_argument("--generator", type=Path, help="a folder of fit-generator, in pixels")
    parser.add_argument("--pictures", type=int, default=32, help="of the generator")
    options = parser.parse_args()
    torch.set_num_threads(1)
    counts = (4, 8) if options.quick else (4, 8, 12, 20, 50)
    theory((32,) if options.quick else (32, 64, 128), counts)
    if options.generator is not None:
        practice(options.generator, options.pictures, (8,) if options.quick else (8, 20, 60))


if __name__ == "__main__":
    main()
