"""``report``: the evidence of a ledger as a sealed folder; same ledger, same bytes."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ethicclip.errors import BadInputError
from ethicclip.files import (
    PARTIAL_SUFFIX,
    require_empty_or_absent,
    sha256_file,
    storage_errors,
    write_bytes,
    write_json,
    write_text,
)
from ethicclip.provenance import KeyStore, VerifyResult, read_verified, seal_folder, verify_folder
from ethicclip.provenance.ancestry import find_artifact
from ethicclip.provenance.store import Clock, timestamp
from ethicclip.reports.building import build
from ethicclip.reports.document import Report
from ethicclip.reports.evidence import gather
from ethicclip.reports.pdf import render_pdf
from ethicclip.reports.rendering import render
from ethicclip.reports.settings import ReportSettings


@dataclass(frozen=True, kw_only=True)
class ReportResult:
    """Where the report lies, and what its first page says.

    Args:
        out: The folder.
        report: The document.
        manifest_sha256: Hash of ``manifest.json``; keep it elsewhere to recognise the report.
        size_bytes: Of all files together.
    """

    out: Path
    report: Report
    manifest_sha256: str
    size_bytes: int

    def to_json(self) -> dict[str, Any]:
        """What ``report --json`` prints."""
        page = self.report.first_page
        return {
            "schema": "ethicclip/report-result/1",
            "out": str(self.out),
            "audience": self.report.audience,
            "subject": page.subject,
            "verdict": page.verdict,
            "look_again": page.look_again,
            "ledger_status": self.report.ledger.status,
            "ledger_head": self.report.ledger.head,
            "manifest_sha256": self.manifest_sha256,
            "size_bytes": self.size_bytes,
        }

    def lines(self) -> tuple[str, ...]:
        """The outcome for people."""
        page = self.report.first_page
        lines = [
            f"report   {self.out / 'report.html'} ({self.report.audience}, {self.size_bytes / 1e6:.1f} MB)",
            f"set      {page.subject}: {page.verdict}; look again: {page.look_again}",
            f"ledger   {self.report.ledger.status}, head {self.report.ledger.head or '(none is signed)'}",
            f"check    ethicclip verify {self.out}",
        ]
        return (*lines, *(f"note     {banner}" for banner in self.report.banners))


def write_report(
    settings: ReportSettings,
    ledger: Path,
    out: Path,
    *,
    clock: Clock | None = None,
    keys: KeyStore | None = None,
) -> ReportResult:
    """Write ``report.html``, ``.pdf``, ``.json`` and the signed ``manifest.json`` into `out`, all at once or nothing.

    Args:
        settings: Title, audience, what a person states.
        ledger: The ledger; its artifact files are read where they lie beside it.
        out: A folder that is absent or empty; of mode 0700 when the report is restricted.
        clock: Gives the report's time; None takes the time of the ledger's last signed head, so that the same ledger
            gives the same bytes.
        keys: Sign the manifest; `KeyStore.default` when None.

    Raises:
        BadInputError: No ledger, no such subject, or `out` holds something.
        LedgerLockedError: Another process held the ledger all the time.
        StorageError: The place refuses writing.

    Example:
        >>> write_report(ReportSettings(), Path("ethicclip.duckdb"), Path("report"))  # doctest: +SKIP
    """
    require_empty_or_absent(out)
    snapshot, checked = read_verified(ledger)
    if not snapshot.runs:
        raise BadInputError(f"the ledger {ledger} holds no run", next_step="Run a verb with this --ledger first.")
    subject = None if settings.subject is None else find_artifact(snapshot, settings.subject)
    if clock is not None:
        written = timestamp(clock())
    else:
        written = snapshot.heads[-1].time if snapshot.heads else snapshot.runs[-1].started
    report, pictures = build(gather(snapshot, checked, subject), settings, written)
    part = out.with_name(f".{out.name}.{os.getpid()}{PARTIAL_SUFFIX}")
    with storage_errors(out):
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True, mode=0o700)
        try:
            write_json(part / "report.json", report.to_json())
            if "html" in settings.formats:
                write_text(part / "report.html", render(report, pictures))
            if "pdf" in settings.formats:
                write_bytes(part / "report.pdf", render_pdf(report, pictures))
            seal_folder(
                part,
                kind="report",
                snapshot=snapshot,
                keys=KeyStore.default() if keys is None else keys,
                time=written,
                facts={"audience": settings.audience, "settings_sha256": settings.digest(), "title": report.title},
            )
            if settings.audience == "shareable":
                part.chmod(0o755)
            part.replace(out)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    files = [path for path in out.iterdir() if path.is_file()]
    return ReportResult(
        out=out,
        report=report,
        manifest_sha256=sha256_file(out / "manifest.json"),
        size_bytes=sum(path.stat().st_size for path in files),
    )


def verify_report(out: Path, *, head: str | None = None, known_key: str | None = None) -> VerifyResult:
    """Compare a report with its signed manifest; an edited file is named.

    Raises:
        BadInputError: `out` holds no manifest.
    """
    return verify_folder(out, head=head, known_key=known_key)
