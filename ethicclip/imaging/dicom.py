"""Ophthalmic photographs in DICOM, to 8-bit RGB; needs the extra ``dicom`` (pydicom).

Read: one frame of RGB, YBR, palette or grey (MONOCHROME1 is inverted), 8 to 16 bits, in any transfer syntax that
pydicom decodes with what is installed. Refused by name: several frames, tomography and other modalities, a file
without pixels. No tag that names a person, a date or a place is looked at: what comes out is pixels.
"""

from __future__ import annotations

import importlib.util
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ethicclip.errors import BadInputError

DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})

PHOTOGRAPHS = {
    "1.2.840.10008.5.1.4.1.1.77.1.5.1": "Ophthalmic Photography 8 Bit",
    "1.2.840.10008.5.1.4.1.1.77.1.5.2": "Ophthalmic Photography 16 Bit",
    "1.2.840.10008.5.1.4.1.1.77.1.4": "VL Photographic",
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture",
}
"""SOP classes (PS3.4, annex B.5) that hold a photograph; others, such as tomography, show no fundus in colour."""

_COLOURS = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT", "YBR_PARTIAL_422", "YBR_PARTIAL_420"})
_GREYS = frozenset({"MONOCHROME1", "MONOCHROME2"})


def looks_like_dicom(data: bytes) -> bool:
    """Whether the bytes carry the mark of a DICOM file (PS3.10, section 7.1)."""
    return data[128:132] == b"DICM"


def read_dicom(data: bytes, *, label: str, max_pixels: int) -> npt.NDArray[np.uint8]:
    """Decode a photograph to uint8 RGB of shape (height, width, 3).

    Args:
        data: The file.
        label: What to call it in an error message.
        max_pixels: A larger picture is refused undecoded.

    Raises:
        BadInputError: pydicom is not installed, or the file is not one photograph that can be decoded.
    """
    if importlib.util.find_spec("pydicom") is None:
        raise BadInputError(
            f"{label} is a DICOM file, and pydicom is not installed", next_step="pip install ethicclip[dicom]"
        )
    import pydicom  # noqa: PLC0415 - an optional extra
    from pydicom.errors import InvalidDicomError  # noqa: PLC0415
    from pydicom.pixels.processing import apply_color_lut  # noqa: PLC0415
    from pydicom.pixels.utils import pixel_array  # noqa: PLC0415

    try:
        dataset: Any = pydicom.dcmread(io.BytesIO(data))
        _refuse_what_is_no_photograph(dataset, label, max_pixels)
        colours = str(dataset.PhotometricInterpretation)
        if colours == "PALETTE COLOR":
            values = np.asarray(apply_color_lut(pixel_array(dataset), dataset))
            bits = 16 if values.dtype == np.uint16 else 8
        else:
            values, bits = np.asarray(pixel_array(dataset)), int(dataset.BitsStored)
    except BadInputError:
        raise
    except (InvalidDicomError, OSError, EOFError) as error:
        raise BadInputError(f"{label} is not a readable DICOM file: {error}") from None
    except (AttributeError, KeyError, ValueError, NotImplementedError, RuntimeError, TypeError, MemoryError) as error:
        raise BadInputError(
            f"the pixels of {label} cannot be decoded: {str(error).splitlines()[0] if str(error) else error!r}",
            next_step="Export it uncompressed or as JPEG from the archive it came from.",
        ) from None
    return _as_rgb(values, colours, bits, signed=bool(getattr(dataset, "PixelRepresentation", 0)), label=label)


def laterality(path: Path) -> str:
    """Which eye a file says it shows, "left", "right" or "" where it does not; nothing else of it is looked at.

    Raises:
        BadInputError: pydicom is not installed, or the file is not DICOM.
    """
    if importlib.util.find_spec("pydicom") is None:
        raise BadInputError(
            f"{path} is a DICOM file, and pydicom is not installed", next_step="pip install ethicclip[dicom]"
        )
    import pydicom  # noqa: PLC0415 - an optional extra
    from pydicom.errors import InvalidDicomError  # noqa: PLC0415

    try:
        dataset: Any = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["ImageLaterality", "Laterality"])
    except (InvalidDicomError, OSError, EOFError) as error:
        raise BadInputError(f"{path} is not a readable DICOM file: {error}") from None
    side = str(dataset.get("ImageLaterality") or dataset.get("Laterality") or "").strip().upper()
    return {"L": "left", "R": "right"}.get(side, "")


def _refuse_what_is_no_photograph(dataset: Any, label: str, max_pixels: int) -> None:
    kind = str(dataset.get("SOPClassUID", ""))
    if kind and kind not in PHOTOGRAPHS:
        import pydicom.uid  # noqa: PLC0415

        raise BadInputError(
            f"{label} is {pydicom.uid.UID(kind).name!r}, not a photograph",
            next_step=f"Read are: {', '.join(PHOTOGRAPHS.values())}.",
        )
    frames = int(dataset.get("NumberOfFrames") or 1)
    if frames != 1:
        raise BadInputError(
            f"{label} holds {frames} frames; which of them is the photograph nobody can tell",
            next_step="Write each frame to a file of its own.",
        )
    if "PixelData" not in dataset:
        raise BadInputError(f"{label} holds no pixels")
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    if rows * columns > max_pixels:
        raise BadInputError(f"{label} has {columns} x {rows} pixels, over the limit of {max_pixels}")
    colours = str(dataset.get("PhotometricInterpretation", ""))
    if colours not in _COLOURS | _GREYS | {"PALETTE COLOR"}:
        raise BadInputError(
            f"{label} has the photometric interpretation {colours!r}, which is not read",
            next_step="Export it as RGB from the archive it came from.",
        )


def _as_rgb(values: npt.NDArray[Any], colours: str, bits: int, *, signed: bool, label: str) -> npt.NDArray[np.uint8]:
    grey = colours in _GREYS
    if values.ndim != (2 if grey else 3) or (not grey and values.shape[2] not in (3, 4)):
        raise BadInputError(f"{label} decodes to the shape {values.shape}, not to one picture")
    wide = values[..., :3].astype(np.float64) if not grey else values.astype(np.float64)
    if signed:
        wide += 2.0 ** (bits - 1)
    top = 2.0**bits - 1
    wide = np.clip(wide / top, 0, 1)
    if colours == "MONOCHROME1":
        wide = 1 - wide
    picture = np.rint(255 * wide).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(picture[:, :, None], 3, axis=2) if grey else picture)
