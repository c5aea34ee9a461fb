"""Does `compile=true` pay? Processor seconds of a training step of the towers, eager and compiled, in one process.

    python benchmarks/training/compiling.py [--quick] [--models tiny,small] [--precisions fp32,bf16] [--batch 16]

A step is forward and backward of both towers under the default recipe (soft targets, prompt bank, masks) on phantoms,
on one thread; the figure is the least of several. Compiling itself is timed by the first step less a later one; with
both, from how many steps on it pays. Writes benchmarks/results/training-compiling.json.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

from ethicclip.generation import GenerateSettings, PhantomStream
from ethicclip.training import TrainSettings
from ethicclip.training.loading import Batch, Loader
from ethicclip.training.loop import build_model, recipe_of
from ethicclip.training.order import EpochOrder
from ethicclip.training.steps import Trainer

RESULTS = Path(__file__).parents[1] / "results"


def steps(settings: TrainSettings, batch: Batch, count: int) -> tuple[float, float]:
    """Processor seconds of the first step, and the least of the later ones."""
    torch._dynamo.reset()
    trainer = Trainer(settings, build_model(settings), 100)
    spent = []
    for _ in range(count + 1):
        started = time.process_time()
        trainer.step(batch)
        spent.append(time.process_time() - started)
    return spent[0], min(spent[1:])


def measure(model: str, precision: str, batch_size: int, count: int) -> dict[str, Any]:
    """One model at one precision."""
    base = TrainSettings(model=model, precision=precision, batch_size=batch_size, device="cpu")
    recipe = recipe_of(base, build_model(base))
    with Loader(
        [PhantomStream(GenerateSettings(count=batch_size, size=288))], recipe, EpochOrder(batch_size, batch_size, 0)
    ) as loader:
        batch = next(iter(loader.batches(0, 1)))
    _, eager = steps(base, batch, count)
    first, compiled = steps(base.model_copy(update={"compile": True}), batch, count)
    compiling = first - compiled
    gain = eager - compiled
    return {
        "model": model,
        "precision": precision,
        "eager_s": eager,
        "compiled_s": compiled,
        "ratio": eager / compiled,
        "compiling_s": compiling,
        "pays_from_step": round(compiling / gain) if gain > 0 else None,
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the nano config in fp32 only; says nothing")
    parser.add_argument("--models", default="tiny,small")
    parser.add_argument("--precisions", default="fp32,bf16")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--steps", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.quick:
        options.models, options.precisions, options.steps = "nano", "fp32", 2
    rows = []
    for model in options.models.split(","):
        for precision in options.precisions.split(","):
            row = measure(model, precision, options.batch, options.steps)
            rows.append(row)
            pays = "never pays" if row["pays_from_step"] is None else f"pays from step {row['pays_from_step']:,} on"
            print(
                f"{model:6s} {precision}: {row['eager_s']:.3f} s a step, compiled {row['compiled_s']:.3f} s "
                f"({row['ratio']:.2f}x as fast), {row['compiling_s']:.0f} s of compiling: {pays}",
                flush=True,
            )
    RESULTS.mkdir(exist_ok=True)
    found = {"batch_size": options.batch, "torch": torch.__version__, "rows": rows}
    (RESULTS / "training-compiling.json").write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
