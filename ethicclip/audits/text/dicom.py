"""DICOM tags that identify. Needs the optional extra ``dicom`` (pydicom); without it DICOM files are "not scanned"."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

from ethicclip.audits.text.metadata import Field

DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})

TELLING: dict[str, tuple[str, str]] = {
    "PatientName": ("person_tag", "A"),
    "PatientID": ("record_number", "H"),
    "OtherPatientIDs": ("record_number", "H"),
    "AccessionNumber": ("record_number", "H"),
    "StudyID": ("record_number", "H"),
    "PatientBirthDate": ("date", "C"),
    "PatientAddress": ("place_tag", "B"),
    "PatientTelephoneNumbers": ("phone", "D"),
    "InstitutionName": ("place_tag", "B"),
    "InstitutionAddress": ("place_tag", "B"),
    "DeviceSerialNumber": ("device_tag", "M"),
    "StationName": ("device_tag", "M"),
}
"""Attributes of the basic confidentiality profile (DICOM PS3.15, table E.1-1) that name a person, place or device."""

_BY_TYPE = {"PN": ("person_tag", "A"), "DA": ("date", "C"), "DT": ("date", "C")}
_TEXT = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "AS", "DA", "DT", "CS"})


def pydicom_is_there() -> bool:
    """Whether the extra is installed."""
    return importlib.util.find_spec("pydicom") is not None


def list_dicom(folder: Path) -> list[Path]:
    """DICOM files below a folder, by suffix, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in DICOM_SUFFIXES and path.is_file())


def dicom_fields(path: Path) -> tuple[list[Field], str]:
    """Textual attributes of a file, pixel data left unread, and what could not be read."""
    import pydicom  # noqa: PLC0415 - an optional extra
    from pydicom.errors import InvalidDicomError  # noqa: PLC0415

    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        return list(_fields(dataset)), ""
    except (InvalidDicomError, OSError, ValueError, KeyError, TypeError, EOFError, AttributeError) as error:
        return [], f"DICOM cannot be read: {type(error).__name__}"


def _fields(dataset: object) -> Iterator[Field]:
    for element in dataset.iterall():  # type: ignore[attr-defined]
        text = str(element.value).strip() if element.VR in _TEXT and element.value is not None else ""
        if text and text != "None":
            yield Field(place=f"DICOM {element.VR}", name=element.keyword or str(element.tag), text=text[:4000])


def telling(field: Field) -> tuple[str, str] | None:
    """Kind and HIPAA row of an attribute whose presence identifies; None for one whose text has to be read."""
    return TELLING.get(field.name) or _BY_TYPE.get(field.place.removeprefix("DICOM "))
