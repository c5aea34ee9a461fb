"""Text that travels inside image files: EXIF, XMP, IPTC, PNG text, comments; tags whose meaning alone identifies.

Files are hostile until read: nothing is parsed as XML, sizes are bounded, and what cannot be read is reported.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image, IptcImagePlugin, UnidentifiedImageError

from ethicclip.imaging.reading import MAX_PIXELS

_LONGEST = 4000
"""Characters of one value that are looked at."""

TELLING: dict[str, tuple[str, str]] = {
    "Artist": ("person_tag", "A"),
    "XPAuthor": ("person_tag", "A"),
    "CameraOwnerName": ("person_tag", "A"),
    "HostComputer": ("device_tag", "M"),
    "BodySerialNumber": ("device_tag", "M"),
    "LensSerialNumber": ("device_tag", "M"),
    "CameraSerialNumber": ("device_tag", "M"),
    "ImageUniqueID": ("unique_tag", "R"),
    "GPSInfo": ("place_tag", "B"),
    "By-line": ("person_tag", "A"),
    "City": ("place_tag", "B"),
    "Sub-location": ("place_tag", "B"),
}
"""Fields whose presence identifies whatever they hold, with the HIPAA row."""

_IPTC = {(2, 5): "ObjectName", (2, 80): "By-line", (2, 90): "City", (2, 92): "Sub-location", (2, 120): "Caption"}
_VOCABULARIES = ("iptc.org", "adobe.com", "w3.org", "purl.org", "c2pa.org", "aiim.org", "useplus.org", "cipa.jp")


@dataclass(frozen=True, kw_only=True)
class Field:
    """One piece of text inside an image file: where it stands, its name, and what it says."""

    place: str
    name: str
    text: str


def metadata_of(data: bytes) -> tuple[list[Field], str]:
    """Fields of an encoded image, and what could not be read ("" when everything was)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(data)) as image:
                if image.width * image.height > MAX_PIXELS:
                    return [], "larger than any camera's picture; not read"
                return [*_exif(image), *_info(image), *_iptc(image)], ""
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError, KeyError, TypeError) as error:
        return [], f"metadata cannot be read: {type(error).__name__}"


def _exif(image: Image.Image) -> Iterator[Field]:
    exif = image.getexif()
    for number, value in exif.items():
        yield from _field("EXIF", ExifTags.TAGS.get(number, f"tag {number}"), value)
    for directory in (ExifTags.IFD.Exif, ExifTags.IFD.GPSInfo):
        for number, value in exif.get_ifd(directory).items():
            names = ExifTags.GPSTAGS if directory == ExifTags.IFD.GPSInfo else ExifTags.TAGS
            yield from _field("EXIF", names.get(number, f"tag {number}"), value)


def _info(image: Image.Image) -> Iterator[Field]:
    for name, value in image.info.items():
        if name in {"exif", "icc_profile", "photoshop", "transparency", "MPF", "adobe"}:
            continue
        if name in {"xmp", "XML:com.adobe.xmp", "Raw profile type xmp"}:
            yield from _xmp(_as_text(value))
        elif isinstance(value, str | bytes):
            place = "comment" if name == "comment" else f"{image.format} text"
            yield from _field(place, str(name), value)


def _xmp(packet: str) -> Iterator[Field]:
    packet = packet[: 50 * _LONGEST]
    for name, value in re.findall(r"([\w.-]+(?::[\w.-]+)?)\s*=\s*\"([^\"]{1,4000})\"", packet):
        if not name.startswith(("xmlns", "rdf:", "xml:", "x:")):
            yield from _field("XMP", name, value)
    # Text of the innermost elements, named by the property around them as far as it can be told.
    for name, value in re.findall(r"<([\w.-]+:[\w.-]+)[^<>]*>([^<>]{1,4000})</", packet):
        yield from _field("XMP", name, value)


def _iptc(image: Image.Image) -> Iterator[Field]:
    found: Any = IptcImagePlugin.getiptcinfo(image)  # type: ignore[arg-type]
    for key, name in _IPTC.items():
        for value in _listed((found or {}).get(key)):
            yield from _field("IPTC", name, value)


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _field(place: str, name: str, value: Any) -> Iterator[Field]:
    text = _as_text(value).strip("\x00 \t\r\n")
    if text and not (
        text.startswith("http") and any(f"{known}/" in text or text.endswith(known) for known in _VOCABULARIES)
    ):
        yield Field(place=place, name=name, text=text[:_LONGEST])


def _as_text(value: Any) -> str:
    if isinstance(value, bytes):
        body = value[8:] if value[:8] in {b"ASCII\0\0\0", b"UNICODE\0", b"\0" * 8} else value
        wide = body.count(b"\0") > len(body) // 3
        return body.decode("utf-16-le" if wide else "utf-8", "replace").replace("\x00", "")
    return str(value)
