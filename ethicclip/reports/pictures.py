"""Which pictures a report may show, and how they are fetched.

Shareable: only synthetic images that no audit flagged, from a set whose maker had no patient's image (the phantom, as
the ledger says) or whose latest audit passed; each shard's hash must be the manifest's, and the manifest's the
ledger's, so that nobody slips a photograph in. Restricted: the audit's contact sheet as well.
"""

from __future__ import annotations

import base64
import csv
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from ethicclip.files import sha256_bytes, sha256_file
from ethicclip.provenance import ArtifactRecord
from ethicclip.reports.document import Picture
from ethicclip.reports.evidence import AuditEvidence, Evidence, PaperState
from ethicclip.reports.wording import clean

LARGEST_PICTURE_BYTES = 400_000
LARGEST_SHEET_BYTES = 700_000
SHOWN_FLAGS = 40
_SEEN_PER_SHARD = 400
_SHEET_WIDTH = 1500
_MAGIC = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png", b"RIFF": "image/webp"}
_SUFFIXES = {".jpg", ".png", ".webp"}


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Pictures for the page: what the document says of them, their data by sha256, and a sentence."""

    pictures: tuple[Picture, ...]
    data: dict[str, str]
    note: str


def nothing(note: str) -> Shown:
    """No picture, and why."""
    return Shown(pictures=(), data={}, note=note)


def samples(evidence: Evidence, record: ArtifactRecord, wanted: int) -> Shown:
    """Up to `wanted` pictures of a set, of as many different labels as there are."""
    if wanted == 0:
        return nothing("No picture was asked for.")
    refusal = _refusal(evidence, record)
    if refusal:
        return nothing(refusal)
    flagged = {name for audit in evidence.audits_of(record.id) for name in flagged_names(audit)}
    manifest = evidence.manifests[record.id]
    if manifest.path is None:
        return nothing("The set's place is not known.")
    by_label: dict[str, list[_Candidate]] = {}
    for candidate in _candidates(manifest.path.parent, manifest.content.get("shards")):
        if not {candidate.key, f"{candidate.key}{candidate.suffix}"} & flagged:
            by_label.setdefault(candidate.label, []).append(candidate)
    chosen: list[_Candidate] = []
    queues = [by_label[label] for label in sorted(by_label)]
    while queues and len(chosen) < wanted:
        queues = [queue for queue in queues if queue]
        chosen.extend(queue.pop(0) for queue in queues[: wanted - len(chosen)])
    if not chosen:
        return nothing("No picture is shown: the set's shards are absent, or not those of its manifest.")
    return Shown(
        pictures=tuple(
            Picture(key=clean(one.key, 80), sha256=one.sha256, alt=clean(one.caption or one.label, 300))
            for one in chosen
        ),
        data={one.sha256: one.uri for one in chosen},
        note=f"{len(chosen)} synthetic images, none of them flagged by an audit. Captions are the set's own.",
    )


def contact_sheet(audit: AuditEvidence) -> Shown:
    """The audit's contact sheet, for restricted reports only: it shows real eyes beside synthetic ones."""
    if audit.verdict.path is None:
        return nothing("The audit's folder is not known.")
    path = audit.verdict.path.parent / "contact_sheet.png"
    try:
        data = _smaller(path.read_bytes())
    except (OSError, Image.DecompressionBombError):
        return nothing("The audit's contact sheet is absent, or not a picture.")
    media = _media(data)
    if media is None:
        return nothing("The audit's contact sheet is not a picture.")
    digest = sha256_bytes(data)
    alt = "Contact sheet: synthetic images beside the real images nearest to them, best match first"
    picture = Picture(key="contact_sheet", sha256=digest, alt=alt)
    note = "Real patients' eyes beside synthetic images. The sheet itself is not in the ledger."
    return Shown(pictures=(picture,), data={digest: _uri(media, data)}, note=note)


def flagged_names(audit: AuditEvidence) -> set[str]:
    """Names and keys of the images that an audit flagged."""
    names: set[str] = set()
    for row in flagged_rows(audit):
        name = row.get("file") or ""
        names |= {name, Path(name).name, Path(name).stem}
    return names


def flagged_rows(audit: AuditEvidence) -> list[dict[str, str]]:
    """The rows of flagged.csv; it names real files."""
    if audit.flagged.state != PaperState.READ:
        return []
    return [
        {str(name): str(value) for name, value in row.items()}
        for row in csv.DictReader(io.StringIO(audit.flagged.text))
    ]


def _refusal(evidence: Evidence, record: ArtifactRecord) -> str:
    if record.origin != "synthetic":
        return "No picture is shown: the set is not recorded as synthetic."
    if evidence.manifests[record.id].state != PaperState.READ:
        return "No picture is shown: the set's manifest is absent, or not the one in the ledger."
    audits = evidence.audits_of(record.id)
    for audit in audits:
        none_flagged = audit.verdict.content.get("counts", {}).get("flagged_images") == 0
        if audit.flagged.state != PaperState.READ and not none_flagged:
            return "No picture is shown: the list of flagged images cannot be read."
    if _made_by_phantom(evidence, record):
        return ""
    if not audits or audits[-1].outcome != "PASS":
        return "No picture is shown: the set was not made by the phantom, and no audit of it ended in PASS."
    return ""


def _made_by_phantom(evidence: Evidence, record: ArtifactRecord) -> bool:
    """Whether the ledger itself saw the phantom make this set; a manifest's own word is not enough."""
    return any(
        run.settings.get("engine") == "phantom"
        and not run.settings.get("fitted")
        and any(made.id == record.id for made in evidence.snapshot.artifacts_of(run.run_id, "generated"))
        for run in evidence.generations
    )


@dataclass(frozen=True, kw_only=True)
class _Candidate:
    key: str
    suffix: str
    label: str
    caption: str
    sha256: str
    uri: str


def _candidates(folder: Path, shards: object) -> Iterator[_Candidate]:
    """Pairs of the first shard that is whole; a shard that does not match the manifest is passed over."""
    for shard in shards if isinstance(shards, list) else []:
        path = folder / str(shard.get("file"))
        try:
            if not path.resolve().is_relative_to(folder.resolve()) or sha256_file(path) != shard.get("sha256"):
                continue
            yield from _pairs(path)
        except (OSError, ValueError, tarfile.TarError):
            continue
        return


def _pairs(path: Path) -> Iterator[_Candidate]:
    image: tuple[str, str, bytes] | None = None
    seen = 0
    with tarfile.open(path, "r:") as archive:
        for member in archive:
            stem, suffix = Path(member.name).stem, Path(member.name).suffix.lower()
            stream = archive.extractfile(member) if member.isfile() else None
            if stream is None:
                continue
            if suffix in _SUFFIXES:
                image = (stem, suffix, stream.read(LARGEST_PICTURE_BYTES + 1))
            elif suffix == ".json" and image is not None and image[0] == stem:
                media = _media(image[2])
                if media is not None and len(image[2]) <= LARGEST_PICTURE_BYTES:
                    yield _candidate(image, media, json.loads(stream.read(LARGEST_PICTURE_BYTES)))
                image = None
                seen += 1
                if seen >= _SEEN_PER_SHARD:
                    return


def _candidate(image: tuple[str, str, bytes], media: str, record: dict[str, object]) -> _Candidate:
    labels = record.get("labels")
    captions = record.get("captions")
    english = captions.get("en") if isinstance(captions, dict) else None
    return _Candidate(
        key=image[0],
        suffix=image[1],
        label=", ".join(str(label) for label in labels) if isinstance(labels, list) else "unlabelled",
        caption=str(english[0]) if isinstance(english, list) and english else "",
        sha256=sha256_bytes(image[2]),
        uri=_uri(media, image[2]),
    )


def _smaller(data: bytes) -> bytes:
    """A sheet of several megabytes as a JPEG that a page can bear."""
    if len(data) <= LARGEST_SHEET_BYTES:
        return data
    with Image.open(io.BytesIO(data)) as image:
        picture = image.convert("RGB")
    picture.thumbnail((_SHEET_WIDTH, 4 * _SHEET_WIDTH), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "JPEG", quality=82)
    return stream.getvalue()


def _media(data: bytes) -> str | None:
    return next((media for magic, media in _MAGIC.items() if data.startswith(magic)), None)


def _uri(media: str, data: bytes) -> str:
    return f"data:{media};base64,{base64.b64encode(data).decode()}"
