"""How long an audit takes, where the time goes, how it grows, and how much memory the exact search needs.

A whole audit (decode, describe, search, verify; power is timed apart) stands beside the encoding of the same files by
an ImageNet network of the kind that imagededup uses (MobileNetV3-small at 224 pixels, its weights random: they do not
change the time), in the same process with the same threads; the exact search beside a bare ``faiss.knn`` on the same
arrays; and peak memory is that of a process of its own. Prints tables and writes JSON.

    python benchmarks/leakage/speed.py
    python benchmarks/leakage/speed.py --quick
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import faiss
import numpy as np
import timm
import torch
from measuring.worlds import DATA, RESULTS, Planted, divide, write_results
from PIL import Image
from torchvision import transforms

from ethicclip.audits import AuditSettings, audit_leakage
from ethicclip.audits.search import nearest
from ethicclip.cohorts import Cohort, read_cohort
from ethicclip.progress import SILENT, Task

NETWORK = "mobilenetv3_small_100"
BATCH = 64


class StageClock:
    """A progress sink that notes how long each stage took: wall and processor seconds by label."""

    def __init__(self) -> None:
        self.stages: dict[str, tuple[float, float]] = {}

    @contextmanager
    def task(self, label: str, *, total: int | None = None, unit: str = "") -> Iterator[Task]:
        """Time a stage."""
        wall, cpu = time.perf_counter(), time.process_time()
        with SILENT.task(label, total=total, unit=unit) as task:
            yield task
        before = self.stages.get(label, (0.0, 0.0))
        self.stages[label] = (before[0] + time.perf_counter() - wall, before[1] + time.process_time() - cpu)

    def say(self, text: str) -> None:
        """Nothing is said while time is taken."""


def timed(work: Any) -> tuple[float, float]:
    """Wall and processor seconds of a call."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def encode(files: Sequence[Path]) -> None:
    """What imagededup's CNN does with files: decode, resize, crop, one forward pass a batch."""
    network = timm.create_model(NETWORK, pretrained=False, num_classes=0).eval()
    prepare = transforms.Compose(
        [
            transforms.Resize(256),
            transforms.CenterCrop(224),
            transforms.ToTensor(),
            transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
        ]
    )
    with torch.inference_mode():
        for start in range(0, len(files), BATCH):
            network(torch.stack([prepare(Image.open(file).convert("RGB")) for file in files[start : start + BATCH]]))


def audited(settings: AuditSettings, parts: tuple[Cohort, Cohort, Cohort], workers: int) -> dict[str, Any]:
    """One audit of clean eyes with its stages."""
    reference, control, clean = parts
    clock = StageClock()
    with tempfile.TemporaryDirectory() as name:
        seconds = timed(
            lambda: audit_leakage(
                settings,
                Planted(clean, reference, {}, 0),
                reference,
                control,
                Path(name) / "audit",
                workers=workers,
                progress=clock,
            )
        )
    counts = {"synthetic": len(clean), "real": len(reference) + len(control)}
    return {**counts, "wall": seconds[0], "cpu": seconds[1], "stages": clock.stages}


def whole(cohort: Cohort, linked: Path, size: int, workers: int) -> dict[str, Any]:
    """An audit between two encodings of its own files."""
    parts = divide(cohort, linked, 0, size, size)
    files = [file for part in parts for file in part.files]
    before = timed(lambda: encode(files))
    plain = AuditSettings(power_copies=0, exchangeable=True, text=False)
    found = audited(plain, parts, workers)
    after = timed(lambda: encode(files))
    network = [(a + b) / 2 for a, b in zip(before, after, strict=True)]
    found["network"] = {"wall": network[0], "cpu": network[1]}
    found["ratio"] = {"wall": found["wall"] / network[0], "cpu": found["cpu"] / network[1]}
    return found


def search(rows: int, columns: int, dimensions: int, k: int, rounds: int) -> dict[str, Any]:
    """Processor seconds of `nearest` and of ``faiss.knn``, turn and turn about."""
    rng = np.random.default_rng(0)
    first, second = (rng.normal(size=(n, dimensions)).astype(np.float32) for n in (rows, columns))
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second /= np.linalg.norm(second, axis=1, keepdims=True)
    ours, bare = [], []
    for _ in range(rounds):
        ours.append(timed(lambda: nearest(first, second, k))[1])
        bare.append(timed(lambda: faiss.knn(first, second, k))[1])
    return {
        "shape": [rows, columns, dimensions, k],
        "ours": min(ours),
        "faiss": min(bare),
        "ratio": float(np.median(np.array(ours) / np.array(bare))),
    }


def peak(queries: int, database: int, dimensions: int, asked: int) -> dict[str, Any]:
    """Peak resident memory of a process that holds both sets and asks for the neighbours of the first `asked`."""
    script = Path(__file__).parent / "measuring" / "memory.py"
    command = [sys.executable, str(script), *(str(n) for n in (queries, database, dimensions, asked))]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def show(found: dict[str, Any]) -> None:
    """Print one audit."""
    print(f"{found['synthetic']} images against {found['real']} real ones: {found['wall']:.0f} s, ", end="")
    print(f"{found['cpu']:.0f} s of processor")
    for label, (wall, cpu) in found["stages"].items():
        print(f"  {label:34}{wall:8.1f} s {cpu:8.1f} s of processor")
    rest = found["cpu"] - sum(cpu for _, cpu in found["stages"].values())
    print(f"  {'everything else':34}{'':8}   {rest:8.1f} s of processor")
    if "ratio" in found:
        network = found["network"]
        print(f"  {NETWORK} on the same files: {network['wall']:.0f} s, {network['cpu']:.0f} s of processor; ", end="")
        print(f"the audit takes {found['ratio']['wall']:.2f} times as long ({found['ratio']['cpu']:.2f} of processor)")


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--size", type=int, default=1000, help="images under audit; each side holds about as many")
    parser.add_argument("--workers", type=int, default=2, help="threads of audit, network and search alike")
    parser.add_argument("--out", type=Path, default=RESULTS / "leakage_speed.json")
    parser.add_argument("--quick", action="store_true", help="40 images a side, small searches")
    arguments = parser.parse_args(argv)
    for limit in (torch.set_num_threads, cv2.setNumThreads, faiss.omp_set_num_threads):
        limit(arguments.workers)
    big = (100_000, 100_000, 512)
    shapes = [(4000, 10_000, 512, 10), (2000, 20_000, 512, 10), (4000, 20_000, 512, 10)]
    asked: tuple[int, ...] = (4000, 8000)
    if arguments.quick:
        arguments.size, big, shapes, asked = 40, (4000, 4000, 64), [(500, 4000, 64, 10)], (500,)
    document: dict[str, Any] = {"workers": arguments.workers}
    document["search"] = [search(*shape, 3) for shape in shapes]
    for one in document["search"]:
        print(f"search {one['shape']}: {one['ours']:.3f} s of processor, ", end="")
        print(f"faiss.knn {one['faiss']:.3f} s, ratio {one['ratio']:.3f}")
    document["memory"] = [peak(*big, count) for count in asked]
    for one in document["memory"]:
        print(
            f"memory {one['shape']}, {one['asked']} queries asked: {one['peak'] / 2**30:.2f} GiB at the peak, ", end=""
        )
        print(f"{one['held'] / 2**30:.2f} GiB of it before the search ({one['cpu']:.0f} s of processor)")
    if arguments.data.is_dir():
        cohort, linked = read_cohort(arguments.data), arguments.data / "same_eye_pairs.csv"
        half = audited(
            AuditSettings(power_copies=0, exchangeable=True, text=False),
            divide(cohort, linked, 0, arguments.size // 2, arguments.size // 2),
            arguments.workers,
        )
        show(half)
        document["half"], document["whole"] = half, whole(cohort, linked, arguments.size, arguments.workers)
        show(document["whole"])
    else:
        print(f"skipped: real eyes are not at hand ({arguments.data} does not exist)")
    write_results(arguments.out, document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
