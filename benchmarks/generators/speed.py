"""Pictures a second against a stock diffusers loop: the same pipeline, solver, steps, guidance, batch and noise.

    python benchmarks/generators/speed.py [--quick] [--size 64] [--channels 32] [--steps 20] [--rounds 3]

Stock: `DiffusionPipeline.from_pretrained`, then the loop that diffusers' documentation prints for a conditional network
(scheduler, classifier-free guidance by one doubled batch, no_grad), 16 pictures a batch, `numpy_to_pil` and JPEG. Ours:
`DiffusionEngine.pair` over one lane: the same work, with captions and the mark. Rounds alternate; both in one thread;
times are processor time, which other work on the machine does not stretch as it does the clock's. Peak memory is that
of a process of its own for each. Untrained weights: speed does not depend on them. Writes
benchmarks/results/generators-speed.json.
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ethicclip.generation.diffusion import DiffusionSettings, FitSettings
from ethicclip.generation.diffusion.drawing import LANE, solver_for, solver_times
from ethicclip.generation.diffusion.making import DiffusionEngine
from ethicclip.generation.diffusion.network import build_network, build_schedule

RESULTS = Path(__file__).parents[1] / "results"
GUIDANCE = 2.0


def make_pipeline(folder: Path, size: int, channels: int) -> None:
    """A finished generator with fresh weights."""
    from diffusers import DDPMPipeline

    from ethicclip.generation.diffusion.conditions import NAMES
    from ethicclip.generation.diffusion.folder import SCHEMA, finish

    settings = FitSettings(size=size, channels=channels)
    DDPMPipeline(build_network(settings, 0), build_schedule()).save_pretrained(folder, safe_serialization=True)
    finish(folder, {"schema": SCHEMA, "conditions": list(NAMES), "licence": "none", "data": {"origin": "none"}})


def stock(folder: Path, steps: int) -> Callable[[int], None]:
    """The loop as diffusers' users write it."""
    from diffusers import DDPMPipeline, DiffusionPipeline

    pipeline = DiffusionPipeline.from_pretrained(str(folder), local_files_only=True)
    network = pipeline.unet
    scheduler = solver_for(pipeline.scheduler.config)
    wide = 4 * network.config.block_out_channels[0]

    def draw(round_: int) -> None:
        side = network.config.sample_size
        sample = torch.randn((LANE, 3, side, side), generator=torch.Generator().manual_seed(round_))
        labels = torch.zeros(LANE, wide)
        labels[:, 2] = 3.0
        both = torch.cat([torch.zeros_like(labels), labels])
        scheduler.set_timesteps(timesteps=solver_times(pipeline.scheduler, steps, side))
        with torch.no_grad():
            for moment in scheduler.timesteps:
                predicted = network(torch.cat([sample] * 2), moment, class_labels=both).sample
                without, wanted = predicted.chunk(2)
                sample = scheduler.step(without + GUIDANCE * (wanted - without), moment, sample).prev_sample
        pictures = (sample / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy()
        for picture in DDPMPipeline.numpy_to_pil(pictures):
            picture.save(io.BytesIO(), format="JPEG", quality=95)

    return draw


def ours(folder: Path, steps: int) -> Callable[[int], None]:
    """Whole pairs."""
    settings = DiffusionSettings(generator=str(folder), count=10**6, steps=steps, guidance=GUIDANCE)
    engine = DiffusionEngine(settings)

    def draw(round_: int) -> None:
        for number in range(round_ * LANE, (round_ + 1) * LANE):
            engine.pair(number)

    return draw


def seconds(draw: Callable[[int], None], round_: int) -> float:
    """Processor seconds of one batch."""
    began = time.process_time()
    draw(round_)
    return time.process_time() - began


def peak(kind: str, folder: str, steps: int, answer: Any) -> None:
    """Peak memory of a process that does nothing else, in MB."""
    torch.set_num_threads(1)
    {"stock": stock, "ours": ours}[kind](Path(folder), steps)(0)
    # The kernel's mark of this process alone (Linux): ru_maxrss is inherited from the parent.
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    answer.put(next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="32 px, few steps, one round more than the warm-up")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    size, channels, steps, rounds = options.size, options.channels, options.steps, options.rounds
    if options.quick:
        size, channels, steps, rounds = 32, 16, 4, 2
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "generator"
        make_pipeline(folder, size, channels)
        loops = {"stock": stock(folder, steps), "ours": ours(folder, steps)}
        for draw in loops.values():
            draw(0)
        times: dict[str, list[float]] = {"stock": [], "ours": []}
        for round_ in range(1, rounds + 1):
            for name, draw in loops.items():
                times[name].append(seconds(draw, round_))
        memory = {}
        context = multiprocessing.get_context("spawn")
        for name in loops:
            answer = context.Queue()
            process = context.Process(target=peak, args=(name, str(folder), steps, answer))
            process.start()
            memory[name] = float(answer.get())
            process.join()
    rate = {name: LANE / float(np.median(found)) for name, found in times.items()}
    pairs = [a / b for a, b in zip(times["stock"], times["ours"], strict=True)]
    print(f"{size} px, {channels} channels, {steps} steps, guidance {GUIDANCE}, {LANE} a batch, {rounds} rounds")
    for name in loops:
        print(f"{name:>6s} {rate[name]:6.2f} pictures a processor second, {memory[name]:6.0f} MB at most")
    print(f"ours over stock: {np.median(pairs):.2f} (rounds {min(pairs):.2f} to {max(pairs):.2f})")
    RESULTS.mkdir(exist_ok=True)
    result = {
        "size": size, "channels": channels, "steps": steps, "rounds": rounds, "pictures_per_s": rate,
        "peak_mb": memory, "ours_over_stock": {"median": float(np.median(pairs)), "rounds": pairs},
    }  # fmt: skip
    (RESULTS / "generators-speed.json").write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
