"""A process of its own that holds two sets and searches the first rows of one in the other; prints its memory as JSON.

It imports nothing but the search, so that its peak is that of sets, result and working memory.

    python benchmarks/leakage/measuring/memory.py 100000 100000 512 4000
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Sequence

import numpy as np

from ethicclip.audits.search import nearest

NEIGHBOURS = 10


def main(argv: Sequence[str]) -> int:
    """Queries, database, dimensions, queries asked."""
    queries, database, dimensions, asked = (int(word) for word in argv)
    rng = np.random.default_rng(0)
    first, second = (np.empty((n, dimensions), dtype=np.float32) for n in (queries, database))
    for matrix in (first, second):
        for start in range(0, len(matrix), 4096):
            rng.standard_normal(out=matrix[start : start + 4096], dtype=np.float32)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start_cpu = time.process_time()
    nearest(first[:asked], second, NEIGHBOURS)
    cpu = time.process_time() - start_cpu
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    shape = [queries, database, dimensions]
    print(json.dumps({"shape": shape, "asked": asked, "held": 1024 * before, "peak": 1024 * after, "cpu": cpu}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
