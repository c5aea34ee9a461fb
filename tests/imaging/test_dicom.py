"""DICOM photographs: every photometric interpretation to the same pixels; other files refused; no tag is copied."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ethicclip.cohorts import read_cohort
from ethicclip.errors import BadInputError
from ethicclip.imaging import read_image
from ethicclip.importing import CohortSettings, import_cohort
from ethicclip.pairs import PairSet

pydicom = pytest.importorskip("pydicom", reason="the extra dicom is not installed")

PHOTOGRAPH = "1.2.840.10008.5.1.4.1.1.77.1.5.1"
TOMOGRAPHY = "1.2.840.10008.5.1.4.1.1.77.1.5.4"
NAME = "Secret^Person"


def write(path: Path, pixels: np.ndarray, *, colours: str = "RGB", kind: str = PHOTOGRAPH, **tags: Any) -> Path:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = kind, meta.MediaStorageSOPInstanceUID
    dataset.PatientName, dataset.PatientID, dataset.ImageLaterality = NAME, "MRN-4711", "L"
    grey = colours.startswith("MONOCHROME")
    frames = pixels.ndim - (2 if grey else 3)
    dataset.Rows, dataset.Columns = pixels.shape[frames : frames + 2]
    if frames:
        dataset.NumberOfFrames = pixels.shape[0]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = (1 if grey else 3), colours
    if not grey:
        dataset.PlanarConfiguration = 0
    bits = 8 * pixels.dtype.itemsize
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = bits, bits, bits - 1, 0
    for name, value in tags.items():
        setattr(dataset, name, value)
    dataset.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


@pytest.fixture
def picture() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_colour_and_grey(tmp_path: Path, picture: np.ndarray) -> None:
    assert np.array_equal(read_image(write(tmp_path / "a.dcm", picture)), picture)
    grey = picture[..., 0]
    as_rgb = np.repeat(grey[..., None], 3, axis=2)
    assert np.array_equal(read_image(write(tmp_path / "b.dcm", grey, colours="MONOCHROME2")), as_rgb)
    assert np.array_equal(read_image(write(tmp_path / "c.dcm", grey, colours="MONOCHROME1")), 255 - as_rgb)
    twelve = (grey.astype(np.uint32) * 4095 // 255).astype(np.uint16)
    wide = write(tmp_path / "d.dcm", twelve, colours="MONOCHROME2", BitsStored=12, HighBit=11)
    assert np.abs(read_image(wide).astype(int) - as_rgb).max() <= 1
    assert read_image(tmp_path / "a.dcm", max_side=30).shape == (20, 30, 3)


def test_ybr_becomes_rgb(tmp_path: Path, picture: np.ndarray) -> None:
    from pydicom.pixels.processing import convert_color_space

    ybr = convert_color_space(picture, "RGB", "YBR_FULL")
    found = read_image(write(tmp_path / "a.dcm", ybr, colours="YBR_FULL"))
    assert np.abs(found.astype(int) - picture).max() <= 2


def test_a_jpeg_inside(tmp_path: Path) -> None:
    import io

    from PIL import Image
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGBaseline8Bit

    smooth = np.tile(np.linspace(20, 200, 64, dtype=np.uint8)[:, None, None], (1, 64, 3))
    path = write(tmp_path / "a.dcm", smooth, colours="YBR_FULL_422")
    buffer = io.BytesIO()
    Image.fromarray(smooth).save(buffer, "JPEG", quality=95)
    dataset = pydicom.dcmread(path)
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.PixelData = encapsulate([buffer.getvalue()])
    dataset["PixelData"].VR = "OB"
    dataset.save_as(path, enforce_file_format=True)
    assert np.abs(read_image(path).astype(int) - smooth).max() <= 4


def test_other_files_are_refused_by_name(tmp_path: Path, picture: np.ndarray) -> None:
    two = write(tmp_path / "two.dcm", np.stack([picture, picture]))
    with pytest.raises(BadInputError, match="2 frames"):
        read_image(two)
    with pytest.raises(BadInputError, match="Tomography"):
        read_image(write(tmp_path / "oct.dcm", picture[..., 0], colours="MONOCHROME2", kind=TOMOGRAPHY))
    with pytest.raises(BadInputError, match="photometric interpretation 'HSV'"):
        read_image(write(tmp_path / "hsv.dcm", picture, PhotometricInterpretation="HSV"))
    with pytest.raises(BadInputError, match="over the limit"):
        read_image(write(tmp_path / "huge.dcm", picture, Rows=60_000, Columns=60_000))
    whole = write(tmp_path / "cut.dcm", picture).read_bytes()
    (tmp_path / "cut.dcm").write_bytes(whole[:-500])
    with pytest.raises(BadInputError, match=r"cut\.dcm"):
        read_image(tmp_path / "cut.dcm")
    (tmp_path / "half.dcm").write_bytes(whole[:200])
    with pytest.raises(BadInputError, match=r"half\.dcm"):
        read_image(tmp_path / "half.dcm")


def test_a_folder_of_dicom_is_a_cohort_without_identifiers(tmp_path: Path, picture: np.ndarray) -> None:
    for number in range(3):
        write(tmp_path / "eyes" / f"{number}.dcm", picture + np.uint8(number), ImageLaterality="LR "[number].strip())
    cohort = read_cohort(tmp_path / "eyes")
    assert cohort.column("eye") == ["left", "right", ""]
    assert cohort.patient_ids is None
    assert "MRN-4711" not in cohort.table.to_csv() and NAME not in cohort.table.to_csv()
    table = tmp_path / "eyes" / "cohort.csv"
    table.write_text("file,patient_id,label\n0.dcm,a,normal\n1.dcm,b,glaucoma\n2.dcm,c,normal\n")
    import_cohort(read_cohort(tmp_path / "eyes"), tmp_path / "pairs", CohortSettings(licence="test", format="png"))
    pairs = PairSet.open(tmp_path / "pairs")
    assert np.array_equal(pairs.image(0), picture)
    everything = b"".join(path.read_bytes() for path in (tmp_path / "pairs").rglob("*") if path.is_file())
    assert b"MRN-4711" not in everything and b"Secret" not in everything


def test_without_pydicom_the_error_says_what_to_install(
    tmp_path: Path, picture: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "eyes" / "a.dcm", picture)
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "pydicom" else real(name, *a))
    for call in (lambda: read_image(path), lambda: read_cohort(tmp_path / "eyes")):
        with pytest.raises(BadInputError, match="pydicom is not installed") as caught:
            call()
        assert "ethicclip[dicom]" in caught.value.next_step
