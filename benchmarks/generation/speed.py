"""How fast the phantom engine draws, how it scales with workers, what memory it takes, and that bytes stay the same.

    python benchmarks/generation/speed.py [--quick] [--sizes 224 512]

Rates are pictures a second of processor time on one core; their interval is the 2.5th to 97.5th percentile of a
bootstrap over pictures. Scaling compares the wall clock of whole sets with one and two workers, run in turn, so that
another load on the machine meets both. A killed set is killed by SIGKILL on its way and finished by the same call.
Prints tables, writes benchmarks/results/generation_speed.json.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
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
COUNTS = {128: 100, 224: 100, 512: 40, 1024: 12}


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
    cv2.setNumThreads(1)
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


def _command(out: Path, count: int, workers: int) -> list[str]:
    shard = f"shard_size={max(10, count // 16)}"
    return [
        sys.executable, "-m", "ethicclip", "generate", "--count", str(count), "--out", str(out),
        "--workers", str(workers), "--set", shard, "--ledger", str(out.parent / "ledger.duckdb"),
    ]  # fmt: skip


def _bytes_of(folder: Path) -> str:
    """One hash of all shards of a pair set."""
    total = hashlib.sha256()
    for path in sorted(folder.glob("**/*.tar")):
        total.update(path.name.encode() + path.read_bytes())
    return total.hexdigest()


def _run(out: Path, count: int, workers: int, *, kill_after_s: float | None = None) -> tuple[float, float]:
    """Seconds of wall clock and peak MiB of the largest process of one `generate`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    started = time.monotonic()
    process = subprocess.Popen(
        _command(out, count, workers), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        _, errors = process.communicate(timeout=kill_after_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return time.monotonic() - started, 0.0
    if process.returncode != 0:
        raise RuntimeError(errors.decode())
    peak = max(before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    return time.monotonic() - started, peak / 1024


def whole_sets(count: int) -> dict[str, object]:
    """Sets written by the command: scaling, memory, equality of bytes."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        # Small first: the peak of all children so far only ever grows.
        _, small = _run(root / "small", max(50, count // 4), 1)
        first, large = _run(root / "one", count, 1)
        second, _ = _run(root / "two", count, 2)
        again, _ = _run(root / "again", count, 1)
        _run(root / "killed", count, 2, kill_after_s=0.7 * second)
        kept = len(list((root / "killed").glob("**/*.tar")))
        _run(root / "killed", count, 2)
        hashes = {name: _bytes_of(root / name) for name in ("one", "two", "again", "killed")}
        shutil.rmtree(root / "one")
    return {
        "count": count,
        "seconds_one_worker": [first, again],
        "seconds_two_workers": second,
        "speedup_two_workers": float(np.mean([first, again]) / second),
        "cores": os.cpu_count(),
        "peak_mib_quarter": small,
        "peak_mib_whole": large,
        "shards_kept_by_kill": kept,
        "same_bytes": len(set(hashes.values())) == 1,
        "sha256": hashes["one"],
    }


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer pictures")
    parser.add_argument("--sizes", type=int, nargs="+", default=list(COUNTS))
    arguments = parser.parse_args()
    quick = 5 if arguments.quick else 1
    table = {size: measure(size, max(4, COUNTS.get(size, 40) // quick)) for size in arguments.sizes}
    print("pictures a second of processor time")
    print(f"{'size':>5} {'pairs':>24} {'scenes':>10} {'photographs':>12}")
    for size, row in table.items():
        pair = row["pair"]
        interval = f"{pair['estimate']:.1f} [{pair['low']:.1f}, {pair['high']:.1f}]"
        print(f"{size:>5} {interval:>24} {row['scene']['estimate']:>10.1f} {row['photograph']['estimate']:>12.1f}")
    sets = whole_sets(400 // quick)
    one, again = sets["seconds_one_worker"]  # type: ignore[misc]
    print(
        f"{sets['count']} pairs at 224 px: {one:.1f} and {again:.1f} s with one worker, "
        f"{sets['seconds_two_workers']:.1f} s with two: {sets['speedup_two_workers']:.2f} times as fast "
        f"({sets['cores']} cores)"
    )
    print(f"peak memory: {sets['peak_mib_quarter']:.0f} MiB for a quarter, {sets['peak_mib_whole']:.0f} MiB for all")
    print(
        f"same bytes with one worker, two, again, and after a kill that left {sets['shards_kept_by_kill']} shard(s): "
        f"{'yes' if sets['same_bytes'] else 'NO'}"
    )
    RESULTS.mkdir(exist_ok=True)
    facts = {"unit": "pictures per second of processor time", "by_size": table, "sets": sets}
    (RESULTS / "generation_speed.json").write_text(json.dumps(facts, indent=2) + "\n")
    if not sets["same_bytes"]:
        raise SystemExit("bytes differ between runs that must agree")


if __name__ == "__main__":
    main()
