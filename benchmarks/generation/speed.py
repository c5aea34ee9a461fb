"""How fast the phantom engine draws: images a second on one core by size, and the share of each step.

Run: python benchmarks/generation/speed.py [--quick]. Prints a table, writes benchmarks/results/generation_speed.json.
The interval is the 2.5th to 97.5th percentile of a bootstrap over pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np

from ethicclip.generation import GenerateSettings, PhantomEngine
from ethicclip.generation.rendering.acquisition import take_photograph
from ethicclip.generation.rendering.scene import render_scene
from ethicclip.generation.streams import GENERATED, Stream, stream

RESULTS = Path(__file__).resolve().parents[1] / "results"


def rate(seconds: np.ndarray) -> dict[str, float]:
    """Images a second with a bootstrap interval over pictures."""
    random = np.random.default_rng(0)
    draws = 1 / random.choice(seconds, (2000, len(seconds))).mean(axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return {"estimate": float(1 / seconds.mean()), "low": float(low), "high": float(high), "n": len(seconds)}


def measure(size: int, count: int) -> dict[str, dict[str, float]]:
    """Whole pairs, scenes alone, and further photographs of a scene, in processor time."""
    engine = PhantomEngine(GenerateSettings(count=count, size=size, seed=1))
    engine.pair(0)
    pairs, scenes, shots = [], [], []
    for index in range(count):
        started = time.process_time()
        engine.pair(index)
        pairs.append(time.process_time() - started)
        eye, photograph = engine.case(index)
        started = time.process_time()
        scene = render_scene(eye, photograph, size, (GENERATED, 1, index))
        scenes.append(time.process_time() - started)
        started = time.process_time()
        take_photograph(scene, eye, photograph, stream(GENERATED, 1, index, Stream.PICTURE))
        shots.append(time.process_time() - started)
    return {"pair": rate(np.array(pairs)), "scene": rate(np.array(scenes)), "photograph": rate(np.array(shots))}


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer pictures")
    quick = parser.parse_args().quick
    cv2.setNumThreads(1)
    table = {
        size: measure(size, count // (5 if quick else 1))
        for size, count in ((128, 100), (224, 100), (512, 50), (1024, 15))
    }
    print(f"{'size':>5} {'pairs/s a core':>24} {'scenes/s':>10} {'photographs/s':>14}")
    for size, row in table.items():
        pair = row["pair"]
        interval = f"{pair['estimate']:.1f} [{pair['low']:.1f}, {pair['high']:.1f}]"
        print(f"{size:>5} {interval:>24} {row['scene']['estimate']:>10.1f} {row['photograph']['estimate']:>14.1f}")
    RESULTS.mkdir(exist_ok=True)
    facts = {"unit": "images per second of processor time", "machine": platform.processor(), "by_size": table}
    (RESULTS / "generation_speed.json").write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
