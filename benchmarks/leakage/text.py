"""Burned-in text and identifiers: false alarms on real eyes and on phantoms' words, recall on writing that was drawn.

Writing in three colours, at three places and several heights is drawn on real eyes (in memory) and compressed; a hit is
an image that is flagged. Heights are of capitals, in pixels of a picture of 384. Prints a table and writes JSON.

    python benchmarks/leakage/text.py
    python benchmarks/leakage/text.py --quick
"""

from __future__ import annotations

import argparse
import io
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from measuring.worlds import RESULTS, write_results
from PIL import Image, ImageDraw, ImageFont

from ethicclip.audits.statistics import clopper_pearson, upper_limit
from ethicclip.audits.text import Sought, scan_set
from ethicclip.audits.text.burned_in import text_lines
from ethicclip.cohorts import read_cohort
from ethicclip.generation import GenerateSettings, generate
from ethicclip.imaging import Pixels
from ethicclip.pairs import open_images
from ethicclip.progress import SILENT

ROOT = Path(__file__).parents[2]
DATA = ROOT.parent / "shared" / "data"
FONT = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
CAPITAL = 0.729
"""Height of a capital of this font as a share of its size."""
COLOURS = ((255, 255, 255), (255, 230, 80), (90, 255, 90))


def drawn(image: Pixels, capital: int, number: int) -> tuple[Pixels, str]:
    """The picture with a name and a date on it, compressed, and where they stand."""
    size = capital / CAPITAL
    height, width = image.shape[:2]
    places = {"corner": (6, 6), "on the eye": (width // 4, height // 2), "bottom": (6, height - capital - 10)}
    place = list(places)[number % 3]
    picture = Image.fromarray(image)
    font = ImageFont.truetype(str(FONT), size)
    ImageDraw.Draw(picture).text(places[place], "LI WEI 1957-03-12", font=font, fill=COLOURS[number // 3 % 3])
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=85)
    return np.asarray(Image.open(stream)), place


def words_of_phantoms(count: int) -> dict[str, Any]:
    """A clean pair set of phantoms: whatever is found there is a false alarm."""
    with tempfile.TemporaryDirectory() as folder:
        generate(GenerateSettings(count=count, seed=3), Path(folder) / "pairs", workers=1, progress=SILENT)
        scan = scan_set(open_images(Path(folder) / "pairs"), Sought(), workers=1, progress=SILENT)
    return scan.to_json()["counts"]


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the cohorts odir and eyepacs")
    parser.add_argument("--eyes", type=int, default=10_000, help="most real eyes looked at")
    parser.add_argument("--drawn", type=int, default=180, help="eyes written on, for each height")
    parser.add_argument("--phantoms", type=int, default=200)
    parser.add_argument("--out", type=Path, default=RESULTS / "leakage_text.json")
    parser.add_argument("--quick", action="store_true", help="60 eyes, 18 drawn, 20 phantoms")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.eyes, arguments.drawn, arguments.phantoms = 60, 18, 20
    counts = words_of_phantoms(arguments.phantoms)
    print(
        f"phantoms: {counts['identifiers']} identifiers and {counts['burned_in']} images with writing in "
        f"{counts['images']} pairs (all would be false)"
    )
    document: dict[str, Any] = {"phantoms": counts}
    if not arguments.data.is_dir():
        print(f"skipped: real eyes are not at hand ({arguments.data} does not exist)")
        return 0
    files = [file for name in ("odir", "eyepacs") for file in read_cohort(arguments.data / name).files]
    order = np.random.default_rng(0).permutation(len(files))[: arguments.eyes]
    eyes = [np.asarray(Image.open(files[i]).convert("RGB")) for i in order]
    false = sum(bool(text_lines(eye)) for eye in eyes)
    limit = upper_limit(false, len(eyes))
    print(f"real eyes: {false} of {len(eyes)} flagged (one-sided 95 % upper limit {limit:.4f})")
    document["real_eyes"] = {"flagged": false, "n": len(eyes), "upper": limit}
    document["recall"] = {}
    for capital in (6, 7, 8, 10, 14):
        hits: dict[str, list[bool]] = {}
        for number, eye in enumerate(eyes[: arguments.drawn]):
            picture, place = drawn(eye, capital, number)
            hits.setdefault(place, []).append(bool(text_lines(picture)))
        row = {place: clopper_pearson(sum(found), len(found)).to_json() for place, found in hits.items()}
        document["recall"][str(capital)] = row
        text = "   ".join(
            f"{place} {one['estimate']:.2f} [{one['low']:.2f}, {one['high']:.2f}]" for place, one in row.items()
        )
        print(f"writing with capitals of {capital:2} px: {text}")
    write_results(arguments.out, document)
    return 0


if __name__ == "__main__":
    sys.exit(main())
