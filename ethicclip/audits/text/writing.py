"""``audit_text``: scan a set's words and files, and write what was found; counts apart from what names anybody."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ethicclip.audits.decision import Verdict
from ethicclip.audits.gating import EXIT_CODES
from ethicclip.audits.text.overlap import NEAR, Match
from ethicclip.audits.text.scanning import Sought, TextScan, scan_set
from ethicclip.errors import BadInputError, ExitCode
from ethicclip.files import require_empty_or_absent, storage_errors, write_json, write_text
from ethicclip.pairs import ImageSource
from ethicclip.progress import SILENT, Progress

SCHEMA = "ethicclip/text/1"
FINDINGS, BURNED_IN, OVERLAPS, COUNTS = "identifiers.csv", "burned_in.csv", "overlaps.csv", "text.json"
RESTRICTED_FILES = (FINDINGS, BURNED_IN, OVERLAPS)


@dataclass(frozen=True, kw_only=True)
class TextResult:
    """The outcome of a scan and where it lies.

    Attributes:
        verdict: PASS, LEAK or INCONCLUSIVE.
        reason: One sentence.
        out: The restricted folder.
        document: What ``text.json`` holds: counts only.
    """

    verdict: Verdict
    reason: str
    out: Path
    document: dict[str, Any]

    @property
    def exit_code(self) -> ExitCode:
        """With what the command line ends."""
        return EXIT_CODES[self.verdict]

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints: the document and the folder."""
        return {**self.document, "out": str(self.out)}

    def lines(self) -> list[str]:
        """A few lines for a person, the table of the 18 identifiers last."""
        counts = self.document["counts"]
        lines = [
            f"{self.verdict}: {self.reason}",
            f"{counts['images']} images, {counts['captions']} captions; {counts['identifiers']} identifiers in "
            f"{counts['files_with_identifiers']} files, {counts['burned_in']} images with possible writing",
        ]
        overlap = self.document["overlap"]
        if overlap is not None:
            rows = [f"reference {overlap['reference']['exact']} exact, {overlap['reference']['near']} near"]
            if "control" in overlap:
                rows.append(f"control {overlap['control']['exact']} exact, {overlap['control']['near']} near")
            lines.append(f"captions that overlap with reports: {'; '.join(rows)}")
        lines += [
            f"  {row['letter']} {row['identifier']}: {row['state']}"
            + (f", {row['found']} found" if row["found"] else "")
            for row in self.document["safe_harbor"]
        ]
        return lines


def audit_text(
    source: ImageSource, sought: Sought, out: Path, *, workers: int = 2, progress: Progress = SILENT
) -> TextResult:
    """Scan captions, file names, metadata and pixels of a set.

    Args:
        source: The set.
        sought: Names, patient ids and reports to look for.
        out: Folder of the result, absent or empty; made readable to its owner only.
        workers: Threads; they change no result.
        progress: Where progress goes.

    Raises:
        BadInputError: The set is empty, or `out` holds something.
    """
    if len(source) == 0:
        raise BadInputError("the set is empty", next_step="Give a set with at least one image.")
    require_empty_or_absent(out)
    scan = scan_set(source, sought, workers=workers, progress=progress)
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        out.chmod(0o700)
    write_scan(scan, source, out)
    document = {"schema": SCHEMA, **scan.to_json()}
    write_json(out / COUNTS, document)
    return TextResult(verdict=scan.verdict, reason=scan.reason, out=out, document=document)


def write_scan(scan: TextScan, source: ImageSource, out: Path) -> list[Path]:
    """Write the restricted tables of a scan into `out`; returns their paths."""
    tables = {
        FINDINGS: _table(
            ["file", "place", "kind", "hipaa", "counts", "excerpt"],
            [
                [
                    one.file,
                    one.place,
                    one.identifier.kind,
                    one.identifier.letter,
                    "yes" if one.direct else "a person",
                    one.excerpt,
                ]
                for one in scan.findings
            ],
        ),
        BURNED_IN: _table(
            ["file", "marks", "left", "top", "right", "bottom"],
            [
                [file, line.marks, *(f"{edge:.4f}" for edge in (line.left, line.top, line.right, line.bottom))]
                for file, lines in scan.burned_in
                for line in lines
            ],
        ),
    }
    if scan.overlap is not None:
        sides = (("reference", scan.overlap.matches), ("control", scan.overlap.control_matches))
        tables[OVERLAPS] = _table(
            ["file", "side", "report_row", "exact", "near", "passage"],
            [_match(source, side, match) for side, matches in sides for match in matches],
        )
    for name, text in tables.items():
        write_text(out / name, text)
        (out / name).chmod(0o600)
    return [out / name for name in tables]


def _match(source: ImageSource, side: str, match: Match) -> list[Any]:
    near = f"{match.near:.3f}" if match.near >= NEAR else ""
    return [source.name(match.caption), side, match.report, "yes" if match.exact else "no", near, match.passage]


def _table(heading: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(heading)
    # A cell that begins like a formula is run by spreadsheets.
    writer.writerows([[f"'{cell}" if str(cell)[:1] in "=+-@" else cell for cell in row] for row in rows])
    return stream.getvalue()
