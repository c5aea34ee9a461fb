"""Pairs a second of `ethicclip train` against open_clip's own training program, on the same model, batch and data.

    python benchmarks/training/throughput.py [--quick] [--pairs 512] [--threads 1]

Both train the `tiny` config on the same phantom JPEG files in fp32 on the CPU, without decoding processes. The first
epoch decodes; later epochs of ours take preprocessed pictures from memory, open_clip's decode again. Prints a table and
writes benchmarks/results/training-throughput.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import open_clip
import torch
from open_clip_train import main as open_clip_program

from ethicclip.clip.model import named_config
from ethicclip.generation import GenerateSettings, generate
from ethicclip.pairs import PairSet
from ethicclip.training import TrainSettings, train
from ethicclip.training.loading import Loader
from ethicclip.training.logs import read_log
from ethicclip.training.loop import build_model, recipe_of
from ethicclip.training.order import EpochOrder

RESULTS = Path(__file__).parents[1] / "results"
BATCH = 32
EPOCHS = 3


def ours(pairs: PairSet, folder: Path) -> dict[str, float]:
    """Pairs a second of our first and of our later epochs, loading and logging included."""
    settings = TrainSettings(epochs=EPOCHS, batch_size=BATCH, device="cpu", checkpoint_steps=10_000)
    train(settings, [pairs], folder)
    rows = read_log(folder / "log.csv")
    speed = {}
    for name, wanted in (("first epoch", {0}), ("later epochs", set(range(1, EPOCHS)))):
        chosen = [row for row in rows if row.epoch in wanted]
        speed[name] = BATCH * len(chosen) / sum(BATCH / row.samples_per_s for row in chosen)
    return speed


def open_clips(pairs: PairSet, folder: Path) -> dict[str, float]:
    """The same of `python -m open_clip_train.main`, timed around its own epochs."""
    table = folder / "pairs.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("filepath", "title"))
        for index in range(len(pairs)):
            pair = pairs.read(index)
            path = folder / f"{pair.key}.{pair.suffix}"
            path.write_bytes(pair.image)
            writer.writerow((path, pair.caption))
    (folder / "tiny_benchmark.json").write_text(json.dumps(named_config("tiny")))
    open_clip.add_model_config(folder / "tiny_benchmark.json")

    epochs: list[tuple[int, float]] = []
    honest = open_clip_program.train_one_epoch

    def timed(model: Any, data: Any, *rest: Any, **named: Any) -> Any:
        started = time.perf_counter()
        result = honest(model, data, *rest, **named)
        epochs.append((BATCH * data["train"].dataloader.num_batches, time.perf_counter() - started))
        return result

    open_clip_program.train_one_epoch = timed
    logging.disable(logging.WARNING)
    try:
        open_clip_program.main(
            f"--train-data {table} --dataset-type csv --csv-img-key filepath --csv-caption-key title --csv-separator , "
            f"--model tiny_benchmark --batch-size {BATCH} --epochs {EPOCHS} --workers 0 --precision fp32 --device cpu "
            f"--lr 1e-3 --warmup 5 --logs {folder / 'logs'} --name run --save-frequency 0".split()
        )
    finally:
        open_clip_program.train_one_epoch = honest
        logging.disable(logging.NOTSET)
        logging.getLogger().handlers.clear()
    later = epochs[1:]
    return {
        "first epoch": epochs[0][0] / epochs[0][1],
        "later epochs": sum(count for count, _ in later) / sum(seconds for _, seconds in later),
    }


def loader_alone(pairs: PairSet) -> dict[str, float]:
    """Pairs a second of our loader without a model."""
    settings = TrainSettings(batch_size=BATCH)
    order = EpochOrder(len(pairs), BATCH, seed=0)
    speed = {}
    with Loader([pairs], recipe_of(settings, build_model(settings)), order) as loader:
        for name, first, last in (("first epoch", 0, 1), ("later epochs", 1, 2)):
            started = time.perf_counter()
            steps = order.steps_per_epoch
            count = sum(len(batch.captions) for batch in loader.batches(first * steps, last * steps))
            speed[name] = count / (time.perf_counter() - started)
    return speed


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer pairs")
    parser.add_argument("--pairs", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    cv2.setNumThreads(options.threads)
    count = 192 if options.quick else options.pairs
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(GenerateSettings(count=count, size=224, seed=11), folder / "pairs")
        pairs = PairSet.open(folder / "pairs")
        (folder / "theirs").mkdir()
        table = {
            "ethicclip train": ours(pairs, folder / "run"),
            "open_clip_train": open_clips(pairs, folder / "theirs"),
            "our loader alone": loader_alone(pairs),
        }
    print(f"{'pairs/s':20s} {'first epoch':>12s} {'later epochs':>13s}")
    for row, speed in table.items():
        print(f"{row:20s} {speed['first epoch']:12.1f} {speed['later epochs']:13.1f}")
    RESULTS.mkdir(exist_ok=True)
    result = {
        "pairs": count,
        "batch_size": BATCH,
        "threads": options.threads,
        "torch": torch.__version__,
        "open_clip": open_clip.__version__,
        "pairs_per_s": table,
    }
    (RESULTS / "training-throughput.json").write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
