"""What does a check for copies cost while a generator learns, when both real sides are prepared once?

    python benchmarks/generators/checks.py [--cohort ../shared/data/odir] [--patients 40] [--samples 32] [--checks 3]

The samples are phantoms of 64 px, other ones at each check; half of each check's samples are pictures of the reference
at that size, so that there is something to flag. Each check is made twice: whole, as before (the embeddings of the real
side reused), and against the prepared side. Printed: processor seconds of each, and whether verdict, counts and flagged
files agree. Writes benchmarks/results/generators-checks.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import cv2
from memorising import sides

from ethicclip.audits import AuditSettings, audit_leakage, prepare_real
from ethicclip.cohorts import read_cohort
from ethicclip.generation.diffusion.pictures import squared
from ethicclip.generation.phantom import PhantomEngine
from ethicclip.generation.settings import GenerateSettings
from ethicclip.pairs import open_images

RESULTS = Path(__file__).parents[1] / "results"
SIDE = 64


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", type=Path, default=Path("../shared/data/odir"))
    parser.add_argument("--patients", type=int, default=40)
    parser.add_argument("--samples", type=int, default=32)
    parser.add_argument("--checks", type=int, default=3)
    given = parser.parse_args()
    reference, control = sides(read_cohort(given.cohort), given.patients)
    asked = AuditSettings(power_copies=0, text=False, impostor_pictures=150, descriptor="local,copy")
    engine = PhantomEngine(GenerateSettings(count=10**6, size=128, masks=False))
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        started = time.process_time()
        real = prepare_real(asked, reference, control)
        preparing = time.process_time() - started
        for check in range(given.checks):
            samples = root / f"samples{check}"
            samples.mkdir()
            for number in range(given.samples):
                at = check * given.samples + number
                picture = engine.image(at) if number % 2 else reference.image(at % len(reference), 4 * SIDE)
                cv2.imwrite(str(samples / f"{number:06d}.png"), squared(picture, SIDE)[..., ::-1])
            images = open_images(samples)
            earlier = root / f"whole{check - 1}" if check else None
            started = time.process_time()
            whole = audit_leakage(asked, images, reference, control, root / f"whole{check}", reuse=earlier)
            middle = time.process_time()
            short = audit_leakage(asked, images, reference, control, root / f"short{check}", real=real)
            ended = time.process_time()
            flagged = [(one.out / "flagged.csv").read_bytes() for one in (whole, short)]
            same = whole.document == short.document and flagged[0] == flagged[1]
            rows.append(
                {"whole_s": middle - started, "prepared_s": ended - middle, "same": same, "verdict": str(whole.verdict)}
            )
    print(
        f"{len(reference)} + {len(control)} real pictures, {given.samples} samples; preparing once: {preparing:.1f} s"
    )
    for number, row in enumerate(rows, 1):
        print(
            f"check {number}: whole {row['whole_s']:.1f}, prepared {row['prepared_s']:.1f} processor s, "
            f"{row['verdict']}, {'the same' if row['same'] else 'DIFFERENT'}"
        )
    RESULTS.mkdir(exist_ok=True)
    document = {
        "real": len(reference) + len(control),
        "samples": given.samples,
        "preparing_s": preparing,
        "checks": rows,
    }
    (RESULTS / "generators-checks.json").write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
