"""Make the fonts of the PDF report from Noto Sans CJK: ``python docs/fonts/subset.py FOLDER_OF_NOTO_SANS_CJK``.

Not run by any build; kept so that the fonts in ethicclip/reports/fonts can be made again. Made on 2026-11-25 with
fontTools 4.68 from NotoSansCJK-Regular.ttc and -Bold.ttc (version 2.004) of Debian's package fonts-noto-cjk,
1:20220127+repack1-1. The SIL Open Font License lets a subset be shipped under the same licence; Noto is no reserved
font name, and the subset has a name of its own so that nobody takes it for the whole.
"""

from __future__ import annotations

import sys
from pathlib import Path

from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTCollection, TTFont

FAMILY = "EthicCLIP Noto Sans SC"
ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "ethicclip" / "reports" / "fonts"
LATIN = [*range(0x20, 0x7F), *range(0xA0, 0x180)]
SIGNS = [ord(c) for c in "–—‘’“”„†‡•…‰′″‹›€™−≈≠≤≥×÷±→←↑↓✓✕●○■□▲▼◆·∞√∑µΩαβγδεκλμπσχ"]


def gb2312() -> list[int]:
    """The 6,763 characters of simplified Chinese in GB 2312, and the signs of its rows 1 and 3."""
    found = []
    for row in (1, 3, *range(16, 88)):
        for cell in range(1, 95):
            try:
                found.append(ord(bytes([0xA0 + row, 0xA0 + cell]).decode("gb2312")))
            except UnicodeDecodeError:
                continue
    return found


def words_of_ours() -> list[int]:
    """Every character that this project's own vocabulary and captions use."""
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "ethicclip").rglob("*.yaml"))]
    return sorted({ord(character) for text in texts for character in text if ord(character) > 0x7F})


def subset(source: TTFont, wanted: list[int], family: str) -> TTFont:
    """Keep `wanted` characters and their kerning; no vertical forms, no hints of other regions."""
    options = Options(
        layout_features=["kern", "mark", "mkmk", "ccmp", "tnum"],
        hinting=False,
        notdef_outline=True,
        name_IDs=[0, 1, 2, 3, 4, 5, 6, 13, 14],
    )
    worker = Subsetter(options)
    worker.populate(unicodes=wanted)
    worker.subset(source)
    names = {1: family, 2: "Regular", 3: f"{family} Regular", 4: family, 6: family.replace(" ", "")}
    for record in list(source["name"].names):
        if record.nameID in names:
            source["name"].setName(
                names[record.nameID], record.nameID, record.platformID, record.platEncID, record.langID
            )
    cff = source["CFF "].cff
    cff.fontNames = [names[6]]
    top = cff.topDictIndex[0]
    top.FullName, top.FamilyName, top.Weight = names[4], family, "Regular"
    # Each weight is a family of its own, so that a bold text falls back to the regular glyph it lacks.
    source["OS/2"].usWeightClass, source["OS/2"].fsSelection, source["head"].macStyle = 400, 0x40, 0
    source["head"].modified = source["head"].created
    return source


def ranges(codes: list[int]) -> str:
    """Code points as lines of FIRST-LAST in hex."""
    lines: list[list[int]] = []
    for code in codes:
        if lines and code == lines[-1][1] + 1:
            lines[-1][1] = code
        else:
            lines.append([code, code])
    return "".join(f"{first:X}-{last:X}\n" for first, last in lines)


def main() -> int:
    """Write both weights."""
    folder = Path(sys.argv[1])
    ours = words_of_ours()
    chinese = sorted({*LATIN, *SIGNS, *gb2312(), *ours})
    # Bold serves headings and labels: the project's own words are enough.
    bold = sorted({*LATIN, *SIGNS, *ours})
    for style, wanted, family in (("Regular", chinese, FAMILY), ("Bold", bold, f"{FAMILY} Strong")):
        collection = TTCollection(folder / f"NotoSansCJK-{style}.ttc", lazy=False)
        source = next(font for font in collection.fonts if font["name"].getDebugName(1) == "Noto Sans CJK SC")
        source.recalcTimestamp = False
        made = subset(source, wanted, family)
        target = FOLDER / f"ethicclip-noto-sans-sc-{style.lower()}.otf"
        made.save(target, reorderTables=True)
        sys.stdout.write(f"{target.name}: {target.stat().st_size / 1e3:.0f} kB, {len(made.getBestCmap())} characters\n")
        if style == "Regular":
            (FOLDER / "coverage.txt").write_text(ranges(sorted(made.getBestCmap())), encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main())
