"""The ledger at size: ingest and verify N artifacts and N events; and a report's time, size and sameness.

Artifacts come through workers' part files, events through a run. Each size runs in a process of its own, so that the
peak of memory is its own. With --demo the report is made twice from that ledger and compared byte for byte.

    python benchmarks/evidence/ledger.py --sizes 100000,1000000 --demo demo/ethicclip.duckdb
    python benchmarks/evidence/ledger.py --quick
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "evidence_ledger.json"


def one_size(count: int) -> dict[str, Any]:
    """Ingest and verify `count` artifacts, then a ledger of `count` events."""
    from ethicclip.provenance import Artifact, KeyStore, PartWriter, record_run, verify_ledger

    found: dict[str, Any] = {"count": count}

    def timed(name: str, begin: tuple[float, float]) -> None:
        found[f"{name}_cpu_s"] = round(time.process_time() - begin[0], 2)
        found[f"{name}_wall_s"] = round(time.perf_counter() - begin[1], 2)

    def now() -> tuple[float, float]:
        return time.process_time(), time.perf_counter()

    with tempfile.TemporaryDirectory() as place:
        root, keys = Path(place), KeyStore(Path(place) / "keys")
        ledger, parts = root / "artifacts.duckdb", root / "parts"
        begin = now()
        for worker in range(4):
            with PartWriter(parts, f"worker-{worker}", ledger=ledger) as part:
                for i in range(worker, count, 4):
                    path = root / "pairs" / f"{i:09d}.jpg"
                    artifact = Artifact(kind="pair", sha256=f"{i:064x}", origin="synthetic", path=path, size_bytes=i)
                    part.generate(artifact, order=i)
        timed("write_parts", begin)
        begin = now()
        with record_run(ledger, verb="generate", settings={}, keys=keys) as run:
            run.ingest(parts)
        timed("ingest_artifacts", begin)
        begin = now()
        outcome = verify_ledger(ledger, artifacts=False)
        timed("verify_artifacts", begin)
        assert outcome.ok and outcome.checked["artifacts"] == count
        found["artifacts_bytes"] = ledger.stat().st_size
        ledger = root / "events.duckdb"
        begin = now()
        with record_run(ledger, verb="review", settings={}, keys=keys) as run:
            for i in range(count):
                run.event("verdict", {"pair": i, "reader": "a", "verdict": "same pathology"})
        timed("record_events", begin)
        begin = now()
        outcome = verify_ledger(ledger, artifacts=False)
        timed("verify_events", begin)
        assert outcome.ok and outcome.checked["events"] > count
        found["events_bytes"] = ledger.stat().st_size
    unit = 1 if sys.platform == "darwin" else 1024
    found["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    return found


def report_twice(ledger: Path) -> dict[str, Any]:
    """Time, size and sameness of a report of every format."""
    from ethicclip.reports import ReportSettings, write_report

    with tempfile.TemporaryDirectory() as place:
        begin = time.process_time(), time.perf_counter()
        one = write_report(ReportSettings(), ledger, Path(place) / "one")
        cpu, wall = time.process_time() - begin[0], time.perf_counter() - begin[1]
        two = write_report(ReportSettings(), ledger, Path(place) / "two")
        same = all(path.read_bytes() == (two.out / path.name).read_bytes() for path in one.out.iterdir())
        return {"cpu_s": round(cpu, 2), "wall_s": round(wall, 2), "bytes": one.size_bytes, "identical_twice": same}


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="100000,1000000")
    parser.add_argument("--demo", type=Path, help="a ledger of a full demo")
    parser.add_argument("--quick", action="store_true", help="10,000 only")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(one_size(arguments.one)))
        return 0
    sizes = [10_000] if arguments.quick else [int(size) for size in arguments.sizes.split(",")]
    rows = []
    columns = ("write_parts", "ingest_artifacts", "verify_artifacts", "record_events", "verify_events")
    print(
        f"{'count':>9}" + "".join(f"{name.replace('_', ' '):>19}" for name in columns) + f"{'memory':>10}{'files':>12}"
    )
    for size in sizes:
        done = subprocess.run(
            [sys.executable, __file__, "--one", str(size)], capture_output=True, text=True, check=True
        )
        row = json.loads(done.stdout.splitlines()[-1])
        rows.append(row)
        times = "".join(f"{row[f'{name}_cpu_s']:>8.2f} ({row[f'{name}_wall_s']:>6.2f}) s" for name in columns)
        bytes_ = f"{row['artifacts_bytes'] / 1e6:.0f}+{row['events_bytes'] / 1e6:.0f} MB"
        print(f"{size:>9}{times}{row['peak_memory_bytes'] / 1e6:>7.0f} MB{bytes_:>12}")
    print("seconds of CPU (and of the clock); files: ledger of artifacts + ledger of events")
    result: dict[str, Any] = {"sizes": rows}
    if arguments.demo is not None:
        result["report"] = report_twice(arguments.demo)
        print(f"report of {arguments.demo}: {result['report']}")
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
