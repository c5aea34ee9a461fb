"""Scans a set's words, file names, metadata and pixels for what names a person; likeness is not its matter.

What has a form or is on a list is found; the rest is named as "needs a person". Findings hold what they found and are
restricted; counts are not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

from ethicclip.audits.decision import Verdict
from ethicclip.audits.describing import in_order
from ethicclip.audits.text import dicom, metadata
from ethicclip.audits.text.burned_in import TextLine, text_lines
from ethicclip.audits.text.identifiers import Identifier, KnownWords, all_identifiers
from ethicclip.audits.text.overlap import Overlap, measure_overlap
from ethicclip.audits.text.safe_harbor import safe_harbor
from ethicclip.errors import BadInputError
from ethicclip.imaging import read_image
from ethicclip.pairs import ImageFolder, ImageSource, PairSet
from ethicclip.progress import Progress

_PIXEL_SIDE = 1024
_QUIET_FIELDS = frozenset({"DateTime", "DateTimeOriginal", "DateTimeDigitized", "xmp:CreateDate", "xmp:ModifyDate"})
"""Times of making, which a generator writes too: for a person, not a finding by itself."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """An identifier at its place.

    Attributes:
        file: Name of the image.
        place: caption, file name, record, EXIF, XMP, PNG text, DICOM, ...
        identifier: What was found.
        excerpt: With a little of what surrounds it.
        direct: Whether it counts by itself; False for what a person has to look at first.
    """

    file: str
    place: str
    identifier: Identifier
    excerpt: str
    direct: bool


@dataclass(frozen=True, kw_only=True)
class TextScan:
    """What was found in words, names, metadata and pixels.

    Attributes:
        images: Images looked at.
        captions: How many had a caption.
        findings: Identifiers, in the order of files.
        burned_in: Images with rows of marks that look like writing.
        overlap: Captions against reports, None where no reports were given.
        problems: What could not be read, one sentence each.
        metadata_scanned: Whether the files themselves could be looked into.
        names: Entries on the list of names; 0 where none was given.
        ids, ids_left_out: Patient ids looked for, and those too short to look for.
        control_ids_found: Findings of the control's patient ids: what chance gives.
    """

    images: int
    captions: int
    findings: tuple[Finding, ...]
    burned_in: tuple[tuple[str, tuple[TextLine, ...]], ...]
    overlap: Overlap | None
    problems: tuple[str, ...]
    metadata_scanned: bool
    names: int
    ids: int
    ids_left_out: int
    control_ids_found: int | None

    @property
    def direct(self) -> int:
        """Findings that count by themselves."""
        return sum(finding.direct for finding in self.findings)

    @property
    def verdict(self) -> Verdict:
        """LEAK, INCONCLUSIVE (a person has to look) or PASS (nothing that this scan can find)."""
        if self.direct or (self.overlap is not None and self.overlap.above_control):
            return Verdict.LEAK
        return Verdict.INCONCLUSIVE if self._open() else Verdict.PASS

    @property
    def reason(self) -> str:
        """One sentence."""
        parts = []
        if self.direct:
            kinds = Counter(one.identifier.kind for one in self.findings if one.direct)
            parts.append(
                "identifiers were found: " + ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
            )
        if self.overlap is not None and self.overlap.above_control:
            parts.append("captions overlap with the reference's reports beyond the control's")
        parts += self._open()
        return "; ".join(parts) or "nothing of the form of an identifier was found"

    def _open(self) -> list[str]:
        """What a person has to look at."""
        parts = []
        if self.burned_in:
            parts.append(f"{len(self.burned_in)} images may have writing in their pixels: a person has to look")
        if len(self.findings) > self.direct:
            parts.append(f"{len(self.findings) - self.direct} times or addresses in files are for a person")
        if self.problems:
            parts.append(f"{len(self.problems)} files could not be scanned")
        if self.overlap is not None and self.overlap.control_reports is None and self.overlap.matches:
            parts.append(
                f"{len(self.overlap.matches)} captions overlap with reports, and no control says what is habit"
            )
        return parts

    def to_json(self) -> dict[str, Any]:
        """Counts only: what may be shared."""
        found = Counter(one.identifier.letter for one in self.findings)
        kinds = Counter((one.identifier.kind, one.place.split(" ")[0].lower()) for one in self.findings)
        return {
            "verdict": str(self.verdict),
            "reason": self.reason,
            "counts": {
                "images": self.images,
                "captions": self.captions,
                "identifiers": len(self.findings),
                "direct_identifiers": self.direct,
                "files_with_identifiers": len({one.file for one in self.findings}),
                "burned_in": len(self.burned_in),
                "unread": len(self.problems),
            },
            "by_kind": [
                {"kind": kind, "place": place, "count": count} for (kind, place), count in sorted(kinds.items())
            ],
            "patient_ids": {
                "looked_for": self.ids,
                "too_short": self.ids_left_out,
                "control_found": self.control_ids_found,
            },
            "names_listed": self.names,
            "overlap": None if self.overlap is None else self.overlap.to_json(),
            "safe_harbor": safe_harbor(found, names_given=self.names > 0, metadata_scanned=self.metadata_scanned),
        }


@dataclass(frozen=True, kw_only=True)
class Sought:
    """What is looked for beside forms.

    Attributes:
        names: Names that must not occur.
        patient_ids: Ids of the reference's patients; control_ids: of the control's, for what chance gives.
        reports, control_reports: Real reports, None where not given.
    """

    names: Sequence[str] = ()
    patient_ids: Sequence[str] = ()
    control_ids: Sequence[str] | None = None
    reports: Sequence[str] | None = None
    control_reports: Sequence[str] | None = None


@dataclass
class _Item:
    """What one image brings."""

    file: str
    caption: str | None
    texts: list[tuple[str, str, str]] = field(default_factory=list)
    """Place, name, text."""
    lines: tuple[TextLine, ...] = ()
    problem: str = ""


def scan_set(source: ImageSource, sought: Sought, *, workers: int, progress: Progress) -> TextScan:
    """Scan every image of a set with its words.

    Args:
        source: A pair set or a folder; DICOM files below a folder are scanned too, where pydicom is installed.
        sought: Names, ids and reports to look for.
        workers: Threads; they change no result.
        progress: Where progress goes.
    """
    names = KnownWords(sought.names, kind="name", letter="A")
    ids = KnownWords(sorted(set(sought.patient_ids)), kind="patient_id", letter="H", shortest=5)
    control = KnownWords(sorted(set(sought.control_ids or ())), kind="patient_id", letter="H", shortest=5)
    scanned = isinstance(source, PairSet | ImageFolder)
    findings: list[Finding] = []
    burned: list[tuple[str, tuple[TextLine, ...]]] = []
    captions: list[tuple[int, str]] = []
    problems: list[str] = [] if scanned else ["the source gives no files, so metadata was not scanned"]
    by_chance = 0
    with progress.task("scanning words and files", total=len(source), unit="images") as task:
        for row, item in enumerate(in_order(lambda i: _read(source, i), len(source), workers)):
            if item.caption is not None:
                captions.append((row, item.caption))
            if item.problem:
                problems.append(f"{item.file}: {item.problem}")
            if item.lines:
                burned.append((item.file, item.lines))
            for place, name, text in item.texts:
                findings.extend(_judged(item.file, place, name, text, (names, ids)))
                by_chance += len(control.found_in(text))
            task.advance()
    extra, unread = _dicom_files(source, (names, ids))
    findings += extra
    overlap = None
    if sought.reports is not None:
        overlap = measure_overlap(captions, sought.reports, sought.control_reports)
    return TextScan(
        images=len(source),
        captions=len(captions),
        findings=tuple(findings),
        burned_in=tuple(burned),
        overlap=overlap,
        problems=(*problems, *unread),
        metadata_scanned=scanned,
        names=len(names),
        ids=len(ids),
        ids_left_out=ids.left_out,
        control_ids_found=None if sought.control_ids is None else by_chance,
    )


def _read(source: ImageSource, row: int) -> _Item:
    name = source.name(row)
    data: bytes | None = None
    record: Mapping[str, Any] = {}
    if isinstance(source, PairSet):
        pair = source.read(row)
        data, record = pair.image, pair.record
    elif isinstance(source, ImageFolder):
        data = source.encoded(row)
    item = _Item(file=name, caption=source.caption(row))
    item.texts.append(("file name", "file name", PurePosixPath(name).with_suffix("").as_posix()))
    if item.caption:
        item.texts.append(("caption", "caption", item.caption))
    item.texts += [("record", place, text) for place, text in _strings(record)]
    if data is not None:
        fields, item.problem = metadata.metadata_of(data)
        item.texts += [(one.place, one.name, one.text) for one in fields]
    try:
        image = (
            source.image(row, max_side=_PIXEL_SIDE)
            if data is None
            else read_image(data, name=name, max_side=_PIXEL_SIDE)
        )
        item.lines = tuple(text_lines(image))
    except BadInputError as error:
        item.problem = error.what
    return item


def _strings(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a pair's record with its place; hashes and keys of our own say nothing of a person."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            if name not in {"sha256", "key", "generator", "seed", "index"}:
                yield from _strings(inner, f"{path}.{name}" if path else str(name))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _strings(inner, path)
    elif isinstance(value, str) and value:
        yield path, value


def _judged(file: str, place: str, name: str, text: str, lists: Sequence[KnownWords]) -> Iterator[Finding]:
    in_file = place not in {"caption", "file name", "record"}
    told = metadata.TELLING.get(name) if in_file else None
    if place == "record" and name == "patient_id":
        told = ("patient_id", "H")
    if told is not None:
        found = [Identifier(kind=told[0], letter=told[1], text=text, start=0)]
    else:
        found = all_identifiers(text, lists)
    for one in found:
        made = in_file and (name in _QUIET_FIELDS or one.kind in {"date", "url", "ip_address"})
        # A date of eight digits in a file name may be a plain number.
        direct = not made and not (place == "file name" and one.kind in {"date", "phone"})
        yield Finding(
            file=file,
            place=f"{place} {name}" if in_file else place,
            identifier=one,
            excerpt=one.excerpt(text),
            direct=direct,
        )


def _dicom_files(source: ImageSource, lists: Sequence[KnownWords]) -> tuple[list[Finding], list[str]]:
    """Findings in DICOM files below a folder, and those that could not be read."""
    if not isinstance(source, ImageFolder):
        return [], []
    files = dicom.list_dicom(source.path)
    if files and not dicom.pydicom_is_there():
        return [], [f"{len(files)} DICOM files were not scanned: the extra ethicclip[dicom] is not installed"]
    findings, problems = [], []
    for path in files:
        name = Path(path).relative_to(source.path).as_posix()
        fields, problem = dicom.dicom_fields(path)
        if problem:
            problems.append(f"{name}: {problem}")
        for one in fields:
            told = dicom.telling(one)
            found = (
                [Identifier(kind=told[0], letter=told[1], text=one.text, start=0)]
                if told
                else all_identifiers(one.text, lists)
            )
            findings += [
                Finding(
                    file=name, place=f"DICOM {one.name}", identifier=item, excerpt=item.excerpt(one.text), direct=True
                )
                for item in found
            ]
    return findings, problems
