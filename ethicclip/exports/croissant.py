"""A pair set in Croissant 1.0 with its responsible-AI terms, completed from the ledger, and a stricter check.

Passing the format's own validator says little of whether files, columns and hashes exist: `problems` looks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ethicclip.errors import BadInputError
from ethicclip.files import read_json, sha256_file
from ethicclip.reports.document import Report

_REQUIRED = ("@context", "@type", "conformsTo", "name", "description", "license", "version", "url", "datePublished")
_RAI = (
    "rai:dataCollection",
    "rai:dataLimitations",
    "rai:personalSensitiveInformation",
    "rai:dataUseCases",
    "rai:dataReleaseMaintenancePlan",
    "rai:dataBiases",
)


def croissant_of(folder: Path, report: Report) -> dict[str, Any]:
    """The set's Croissant document, with what its maker could not know: the audit's result and the date.

    Raises:
        BadInputError: The folder holds no ``croissant.json``.
    """
    document = read_json(folder / "croissant.json")
    if not isinstance(document, dict):
        raise BadInputError(f"{folder / 'croissant.json'} is not an object", next_step="Make the set anew.")
    page = report.first_page
    not_tested = "; ".join(check.name for check in page.not_tested) or "nothing is listed"
    found = {
        **document,
        "datePublished": document.get("datePublished") or report.written[:10],
        "url": document.get("url") or f"urn:ethicclip:content:{(page.subject_id or '').replace(':', '-')}",
        "rai:personalSensitiveInformation": [
            f"Leakage audit: {page.verdict}. {page.verdict_means}",
            f"Bound: {page.bound}",
            f"Not tested: {not_tested}.",
        ],
        "rai:dataUseCases": [page.purpose],
        "rai:dataReleaseMaintenancePlan": f"To be looked at again by {page.look_again}.",
        "rai:dataBiases": document.get("rai:dataBiases")
        or ["Labels follow the generator's sampling, not the frequency of disease in people."],
    }
    context = dict(found.get("@context") or {})
    return {**found, "@context": context}


def problems(document: Any, folder: Path | None = None) -> tuple[str, ...]:
    """What is wrong with a Croissant document beyond its form; empty when nothing is.

    Args:
        document: The parsed JSON-LD.
        folder: Where its files lie; None skips what needs them.
    """
    return tuple(_problems(document, folder))


def _problems(document: Any, folder: Path | None) -> Iterator[str]:
    if not isinstance(document, Mapping):
        yield "the document is not an object"
        return
    yield from (f"{name} is missing or empty" for name in (*_REQUIRED, *_RAI) if not document.get(name))
    if "http://mlcommons.org/croissant/1.0" not in str(document.get("conformsTo")):
        yield "conformsTo does not name Croissant 1.0"
    files = {entry.get("@id"): entry for entry in _objects(document.get("distribution"))}
    if not files:
        yield "the distribution lists no file"
    for name, entry in files.items():
        yield from _file_problems(str(name), entry, folder)
    columns = _columns(folder, files)
    seen: set[str] = set()
    for records in _objects(document.get("recordSet")):
        for entry in _objects(records.get("field")):
            yield from _field_problems(entry, files, columns, seen)


def _file_problems(name: str, entry: Mapping[str, Any], folder: Path | None) -> Iterator[str]:
    url = str(entry.get("contentUrl") or "")
    if entry.get("@type") == "cr:FileSet":
        return
    if not url:
        yield f"{name} has no contentUrl"
    if len(str(entry.get("sha256") or "")) != 64:
        yield f"{name} has no sha256"
    if not entry.get("encodingFormat"):
        yield f"{name} has no encodingFormat"
    if folder is None or not url or ":" in url:
        return
    place = folder / url
    if not place.resolve().is_relative_to(folder.resolve()):
        yield f"{name} points outside the set"
    elif not place.is_file():
        yield f"{name} is not there: {url}"
    elif sha256_file(place) != entry.get("sha256"):
        yield f"{name} has another sha256 than it says"


def _field_problems(
    entry: Mapping[str, Any],
    files: Mapping[Any, Mapping[str, Any]],
    columns: Mapping[str, set[str]],
    seen: set[str],
) -> Iterator[str]:
    name = str(entry.get("@id") or entry.get("name"))
    if name in seen:
        yield f"field {name} stands twice"
    seen.add(name)
    if not entry.get("dataType"):
        yield f"field {name} has no dataType"
    raw = entry.get("source")
    source: Mapping[str, Any] = raw if isinstance(raw, Mapping) else {}
    ref = source.get("fileObject") or source.get("fileSet")
    target = ref.get("@id") if isinstance(ref, Mapping) else None
    if target is None:
        yield f"field {name} has no source"
    elif target not in files:
        yield f"field {name} reads {target}, which the distribution does not list"
    extract = source.get("extract")
    column = extract.get("column") if isinstance(extract, Mapping) else None
    if column is not None and str(target) in columns and column not in columns[str(target)]:
        yield f"field {name} reads column {column}, which {target} does not have"


def _columns(folder: Path | None, files: Mapping[Any, Mapping[str, Any]]) -> dict[str, set[str]]:
    """Column names of each Parquet file that is there."""
    found: dict[str, set[str]] = {}
    for name, entry in files.items():
        place = None if folder is None else folder / str(entry.get("contentUrl"))
        if place is not None and place.suffix == ".parquet" and place.is_file():
            import pyarrow.parquet as pq  # noqa: PLC0415 - untyped, and only here

            found[str(name)] = set(pq.read_schema(place).names)
    return found


def _objects(value: Any) -> list[Mapping[str, Any]]:
    entries = value if isinstance(value, list) else [value]
    return [entry for entry in entries if isinstance(entry, Mapping)]
