"""Tamper with evidence at random, many times: is every act detected, and is the record named?

Every kind of record (rows of each table, events, heads, views) and of artifact (pair set, shard, model, verdict,
metrics, report, manifest, heads file, key) is flipped, deleted, inserted, reordered, truncated, replaced or signed
anew; the ledger is verified knowing the public key, a cut one also knowing its last head. Prints a table, writes
JSON, and exits 1 when anything was missed.

    python benchmarks/evidence/mutations.py --count 2000 --seed 0
    python benchmarks/evidence/mutations.py --quick
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from ethicclip.files import write_json
from tests.provenance.house import build
from tests.provenance.mutating import judge, tamper

RESULTS = Path(__file__).parents[1] / "results" / "evidence_mutations.json"


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="100 acts")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    count = 100 if arguments.quick else arguments.count
    table: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    missed = []
    began = time.process_time()
    with tempfile.TemporaryDirectory() as place:
        whole = build(Path(place))
        for number in range(count):
            rng = np.random.default_rng([arguments.seed, number])
            house = whole.copy(Path(place) / "copy" / "house")
            done = tamper(house, rng)
            detected, named, said = judge(done, whole.keys)
            row = table[done.what, done.kind]
            row[0] += 1
            row[1] += detected
            row[2] += named
            if not (detected and named):
                missed.append(
                    {"number": number, "what": done.what, "kind": done.kind, "record": done.record, "said": said}
                )
    seconds = time.process_time() - began
    print(f"{'what':<24}{'how':<10}{'acts':>6}{'detected':>10}{'named':>8}")
    for (what, kind), (acts, detected, named) in sorted(table.items()):
        print(f"{what:<24}{kind:<10}{acts:>6}{detected:>10}{named:>8}")
    totals = [sum(row[i] for row in table.values()) for i in range(3)]
    print(f"{'all':<34}{totals[0]:>6}{totals[1]:>10}{totals[2]:>8}   {seconds:.1f} s of CPU")
    for entry in missed[:20]:
        print(entry)
    write_json(
        arguments.out,
        {
            "acts": totals[0],
            "detected": totals[1],
            "named": totals[2],
            "seed": arguments.seed,
            "cpu_s": round(seconds, 1),
            "by_kind": {f"{what} / {kind}": row for (what, kind), row in sorted(table.items())},
            "missed": missed,
        },
    )
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
