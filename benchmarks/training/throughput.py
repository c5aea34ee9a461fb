"""Pairs a second of `ethicclip train` against open_clip's own training program: same model, batch, precision, data.

    python benchmarks/training/throughput.py [--quick] [--pairs 256] [--rounds 5]

Both train the `tiny` config with CLIP's own loss on the same phantom JPEG files in fp32 on one CPU thread, decoding in
the process itself, in turns: ours, theirs, ours, ... A round is two epochs; the ratio is theirs' seconds over ours for
the same number of pairs, its interval a t-interval over the logarithms of the rounds' ratios. Both augment each in its
own way. The later rows: our default recipe, which learns more in a step (soft targets, prompt bank, masks); our loader
alone; a run that is stopped and resumed against one that is not.
Writes benchmarks/results/training-throughput.json.
"""

from __future__ import annotations

import argparse
import csv
import json
import logging
import math
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np
import open_clip
import torch
from open_clip_train import main as open_clip_program
from scipy import stats

from ethicclip import clip
from ethicclip.generation import GenerateSettings, generate
from ethicclip.pairs import PairSet
from ethicclip.training import TrainSettings, train
from ethicclip.training.loading import Loader
from ethicclip.training.logs import read_log
from ethicclip.training.loop import build_model, recipe_of
from ethicclip.training.order import EpochOrder
from ethicclip.training.steps import Trainer

RESULTS = Path(__file__).parents[1] / "results"
BATCH = 32
EPOCHS = 2
SAME = TrainSettings(
    epochs=EPOCHS,
    batch_size=BATCH,
    device="cpu",
    precision="fp32",
    objective="clip",
    bank_weight=0.0,
    dense_weight=0.0,
    languages=("en",),
    prompt_share=0.0,
    checkpoint_steps=10_000,
)
FULL = TrainSettings(epochs=EPOCHS, batch_size=BATCH, device="cpu", precision="fp32", checkpoint_steps=10_000)


def ours(settings: TrainSettings, pairs: PairSet, folder: Path) -> dict[str, float]:
    """Seconds of processor time a pair in our first and in our later epochs, loading and logging included."""
    spent: dict[int, float] = {}
    honest = Trainer.step
    marks: list[tuple[int, float]] = []

    def timed(self: Trainer, batch: Any) -> tuple[float, float]:
        result = honest(self, batch)
        marks.append((batch.epoch, time.process_time()))
        return result

    enter = Loader.__enter__

    def entered(self: Loader) -> Loader:
        marks.append((-1, time.process_time()))
        return enter(self)

    # From the first batch on: theirs is timed around its epochs, without building the model.
    Trainer.step, Loader.__enter__ = timed, entered  # type: ignore[method-assign]
    try:
        train(settings, [pairs], folder)
    finally:
        Trainer.step, Loader.__enter__ = honest, enter  # type: ignore[method-assign]
    (_, before), *marks = marks
    for epoch, at in marks:
        spent[epoch] = spent.get(epoch, 0.0) + at - before
        before = at
    each = len(marks) // EPOCHS * BATCH
    return {"first epoch": spent[0] / each, "later epochs": sum(spent[e] for e in range(1, EPOCHS)) / each}


def prepare_theirs(pairs: PairSet, folder: Path) -> Path:
    """The same pairs as files and a table, and the model's folder; returns the table."""
    table = folder / "pairs.csv"
    with table.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("filepath", "title"))
        for index in range(len(pairs)):
            pair = pairs.read(index)
            path = folder / f"{pair.key}.{pair.suffix}"
            path.write_bytes(pair.image)
            writer.writerow((path, pair.caption))
    clip.save(clip.create("tiny"), folder / "model")
    return table


def theirs(table: Path, folder: Path, number: int) -> dict[str, float]:
    """The same of `python -m open_clip_train.main`, timed around its own epochs."""
    epochs: list[tuple[int, float]] = []
    honest = open_clip_program.train_one_epoch

    def timed(model: Any, data: Any, *rest: Any, **named: Any) -> Any:
        started = time.process_time()
        result = honest(model, data, *rest, **named)
        epochs.append((BATCH * data["train"].dataloader.num_batches, time.process_time() - started))
        return result

    open_clip_program.train_one_epoch = timed
    logging.disable(logging.WARNING)
    try:
        open_clip_program.main(
            f"--train-data {table} --dataset-type csv --csv-img-key filepath --csv-caption-key title --csv-separator , "
            f"--model local-dir:{folder / 'model'} --batch-size {BATCH} --epochs {EPOCHS} --workers 0 "
            f"--precision fp32 --device cpu --lr 1e-3 --warmup 5 --logs {folder / 'logs'} --name run{number} "
            "--save-frequency 0".split()
        )
    finally:
        open_clip_program.train_one_epoch = honest
        logging.disable(logging.NOTSET)
        logging.getLogger().handlers.clear()
    later = epochs[1:]
    return {
        "first epoch": epochs[0][1] / epochs[0][0],
        "later epochs": sum(seconds for _, seconds in later) / sum(count for count, _ in later),
    }


def loader_alone(pairs: PairSet) -> dict[str, float]:
    """Seconds of processor time a pair of our loader without a model."""
    order = EpochOrder(len(pairs), BATCH, seed=0)
    cost = {}
    with Loader([pairs], recipe_of(FULL, build_model(FULL)), order) as loader:
        for name, first, last in (("first epoch", 0, 1), ("later epochs", 1, 3)):
            started = time.process_time()
            steps = order.steps_per_epoch
            count = sum(len(batch.captions) for batch in loader.batches(first * steps, last * steps))
            cost[name] = (time.process_time() - started) / count
    return cost


def resumed(pairs: PairSet, folder: Path) -> dict[str, Any]:
    """A run stopped in mid-epoch and resumed, against one that was not: steps that are missing or differ."""
    settings = SAME.model_copy(update={"model": "nano", "batch_size": 8, "checkpoint_steps": 3})
    train(settings, [pairs], folder / "whole")
    honest = Trainer.step

    def stop(self: Trainer, batch: Any) -> tuple[float, float]:
        if batch.step == 4:
            raise KeyboardInterrupt
        return honest(self, batch)

    Trainer.step = stop  # type: ignore[method-assign]
    try:
        train(settings, [pairs], folder / "stopped")
    except KeyboardInterrupt:
        pass
    finally:
        Trainer.step = honest  # type: ignore[method-assign]
    train(settings, [pairs], folder / "stopped", resume=True)
    whole, again = (
        {row.step: row.loss for row in read_log(folder / name / "log.csv")} for name in ("whole", "stopped")
    )
    return {
        "steps": len(whole),
        "missing": len(set(whole) - set(again)),
        "differ": sum(whole[step] != loss for step, loss in again.items()),
    }


def ratio(ours_s: list[float], theirs_s: list[float]) -> dict[str, float]:
    """Geometric mean of theirs over ours, with a 95 % t-interval over rounds."""
    logs = [math.log(other / own) for own, other in zip(ours_s, theirs_s, strict=True)]
    mean, spread = float(np.mean(logs)), float(np.std(logs, ddof=1)) if len(logs) > 1 else float("nan")
    half = float(stats.t.ppf(0.975, len(logs) - 1)) * spread / math.sqrt(len(logs)) if len(logs) > 1 else float("nan")
    return {"ratio": math.exp(mean), "low": math.exp(mean - half), "high": math.exp(mean + half), "rounds": len(logs)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer pairs and rounds")
    parser.add_argument("--pairs", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    count, rounds = (64, 3) if options.quick else (options.pairs, options.rounds)
    found: dict[str, list[dict[str, float]]] = {"ethicclip train": [], "open_clip_train": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(GenerateSettings(count=count, size=224, seed=11), folder / "pairs")
        pairs = PairSet.open(folder / "pairs")
        (folder / "theirs").mkdir()
        table = prepare_theirs(pairs, folder / "theirs")
        for number in range(rounds):
            found["ethicclip train"].append(ours(SAME, pairs, folder / f"run{number}"))
            found["open_clip_train"].append(theirs(table, folder / "theirs", number))
        found["our default recipe"] = [ours(FULL, pairs, folder / "full")]
        found["our loader alone"] = [loader_alone(pairs) for _ in range(rounds)]
        kept = resumed(pairs, folder)
    kinds = ("first epoch", "later epochs")
    print(f"{'pairs/s of processor time':28s} {kinds[0]:>12s} {kinds[1]:>13s}")
    for row, several in found.items():
        speeds = [1 / float(np.mean([one[kind] for one in several])) for kind in kinds]
        print(f"{row:28s} {speeds[0]:12.1f} {speeds[1]:13.1f}")
    own, other, alone = found["ethicclip train"], found["open_clip_train"], found["our loader alone"]
    ratios = {
        f"ours over open_clip_train, {kind}": ratio([one[kind] for one in own], [one[kind] for one in other])
        for kind in kinds
    } | {
        f"our loader over our training, {kind}": ratio([one[kind] for one in alone], [one[kind] for one in own])
        for kind in kinds
    }
    for row, value in ratios.items():
        print(f"{row}: {value['ratio']:.2f} (95 % {value['low']:.2f} to {value['high']:.2f}, {rounds} rounds)")
    print(f"resumed run: {kept['steps']} steps, {kept['missing']} missing, {kept['differ']} with another loss")
    RESULTS.mkdir(exist_ok=True)
    result = {
        "pairs": count,
        "batch_size": BATCH,
        "torch": torch.__version__,
        "open_clip": open_clip.__version__,
        "seconds_per_pair": found,
        "ratios": ratios,
        "resumed": kept,
    }
    (RESULTS / "training-throughput.json").write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
