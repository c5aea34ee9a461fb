"""A process of its own that holds two sets and searches the first rows of one in the other; prints its memory as JSON.

It imports nothing but the search, so that its peak is that of sets, result and working memory. The peak is the
kernel's mark of this process alone (VmHWM, Linux): ``ru_maxrss`` is inherited from whoever started it, and would show
the memory of a benchmark that has torch loaded.

    python benchmarks/leakage/measuring/memory.py 100000 100000 512 4000
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ethicclip.audits.search import nearest

NEIGHBOURS = 10


def resident(mark: str) -> int:
    """Bytes of this process: resident now (VmRSS) or at most so far (VmHWM)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == mark:
            return 1024 * int(value.split()[0])
    raise SystemExit(f"the kernel does not tell {mark} of a process; measure memory on Linux")


def main(argv: Sequence[str]) -> int:
    """Queries, database, dimensions, queries asked."""
    queries, database, dimensions, asked = (int(word) for word in argv)
    rng = np.random.default_rng(0)
    first, second = (np.empty((n, dimensions), dtype=np.float32) for n in (queries, database))
    for matrix in (first, second):
        for start in range(0, len(matrix), 4096):
            rng.standard_normal(out=matrix[start : start + 4096], dtype=np.float32)
    held = resident("VmRSS")
    start_cpu = time.process_time()
    nearest(first[:asked], second, NEIGHBOURS)
    cpu = time.process_time() - start_cpu
    peak = resident("VmHWM")
    shape = [queries, database, dimensions]
    print(json.dumps({"shape": shape, "asked": asked, "held": held, "peak": peak, "cpu": cpu}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
