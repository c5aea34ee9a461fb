"""Words, names, files and pixels: what has the form of an identifier is found, what only a person can say is named."""

from __future__ import annotations

import csv
import io
import json
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from ethicclip.audits.text import Sought, audit_text
from ethicclip.audits.text import dicom as dicom_room
from ethicclip.audits.text.burned_in import text_lines
from ethicclip.audits.text.identifiers import KnownWords, identifiers_in, valid_chinese_id
from ethicclip.audits.text.metadata import metadata_of
from ethicclip.audits.text.overlap import measure_overlap
from ethicclip.audits.text.safe_harbor import safe_harbor
from ethicclip.errors import BadInputError
from ethicclip.imaging import Pixels
from ethicclip.pairs import open_images

from .eyes import draw_eye


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("seen on 2024-03-15 in clinic", ["date"]),
        ("seen on 15.03.2024", ["date"]),
        ("visit 3/15/24, left eye", ["date"]),
        ("on March 3rd, 2021", ["date"]),
        ("12 Nov 2019", ["date"]),
        ("检查日期 2023年5月6日", ["date"]),
        ("born 19570312", ["date"]),
        ("MRN: 0045-9921", ["record_number"]),
        ("病历号：A1234567", ["record_number"]),
        ("policy no: 99-1234", ["insurance_number"]),
        ("write to li.wei@hospital.example.org", ["email"]),
        ("call +86 138 0013 8000", ["phone"]),
        ("call 13800138000 now", ["phone"]),
        ("phone (212) 555-0187", ["phone"]),
        ("电话：010-62345678", ["phone"]),
        ("身份证 11010519491231002X", ["chinese_id"]),
        ("SSN 219-09-9999", ["social_security_number"]),
        ("see https://pacs.example.org/p/17", ["url"]),
        ("from 192.168.4.17", ["ip_address"]),
        ("a 93-year-old woman", ["age_over_89"]),
        ("患者 94岁", ["age_over_89"]),
    ],
)
def test_forms_are_found_once(text: str, kinds: list[str]) -> None:
    assert [one.kind for one in identifiers_in(text)] == kinds


@pytest.mark.parametrize(
    "text",
    [
        "Fundus photograph of the left eye with moderate non-proliferative diabetic retinopathy, grade 2 of 4.",
        "cup-to-disc ratio 0.72, 12 microaneurysms, 3.5 disc diameters",
        "a 54-year-old with 1/2 disc area of atrophy",
        "000123456789",
        "11010519491231002Y",
        "version 1.2.3",
        "99/99/2024",
        "2024",
        "a patient: unknown",
        "左眼眼底照片，视盘边界清晰，杯盘比0.4。",
    ],
)
def test_plain_captions_are_not_identifiers(text: str) -> None:
    assert identifiers_in(text) == []


def test_the_check_digit_of_a_chinese_identity_number_counts() -> None:
    assert valid_chinese_id("11010519491231002X")
    assert not valid_chinese_id("110105194912310021")
    assert not valid_chinese_id("11010519491331002X")


def test_names_are_found_in_either_order_without_case_or_accents_and_not_inside_words() -> None:
    known = KnownWords(["Müller, Anna", "王小明", "Li"], kind="name", letter="A")
    assert len(known) == 3
    assert [one.text for one in known.found_in("seen by ANNA MULLER")] == ["anna muller"]
    assert [one.text for one in known.found_in("患者王小明左眼")] == ["王小明"]
    assert known.found_in("Anna and the miller's lip") == []


def test_short_ids_occur_by_chance_and_are_left_out() -> None:
    known = KnownWords(["7", "12", "P00417"], kind="patient_id", letter="H", shortest=5)
    assert (len(known), known.left_out) == (1, 2)
    assert known.found_in("7 of 12 lesions") == []
    assert len(known.found_in("file p00417 left")) == 1


def encoded(image: Pixels, kind: str = "JPEG", **more: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **more)
    return stream.getvalue()


def test_exif_xmp_png_text_and_comments_are_read() -> None:
    eye = draw_eye(1, side=96)
    exif = Image.Exif()
    exif[0x013B] = "Dr Anna Mueller"
    exif.get_ifd(0x8825)[1] = "N"
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "MRN: 4711-22")
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:Description dc:rights="call 13800138000"/></x:xmpmeta>'
    found = {}
    for name, data in (
        ("exif", encoded(eye, exif=exif)),
        ("png", encoded(eye, "PNG", pnginfo=info)),
        ("xmp", encoded(eye, xmp=packet)),
        ("comment", encoded(eye, comment=b"patient id: 99-1234")),
    ):
        fields, problem = metadata_of(data)
        assert problem == ""
        found[name] = {(one.name, one.text) for one in fields}
    assert ("Artist", "Dr Anna Mueller") in found["exif"]
    assert any(name == "GPSLatitudeRef" for name, _ in found["exif"])
    assert ("Comment", "MRN: 4711-22") in found["png"]
    assert ("dc:rights", "call 13800138000") in found["xmp"]
    assert ("comment", "patient id: 99-1234") in found["comment"]


@pytest.mark.parametrize("data", [b"", b"\xff\xd8\xff\xe1junk", b"\x89PNG\r\n\x1a\n" + b"\0" * 40, b"not an image"])
def test_broken_files_are_reported_not_raised(data: bytes) -> None:
    fields, problem = metadata_of(data)
    assert fields == []
    assert problem


def written(image: Pixels, text: str, height: int, place: tuple[int, int]) -> Pixels:
    import matplotlib

    font = ImageFont.truetype(str(Path(matplotlib.get_data_path()) / "fonts/ttf/DejaVuSans.ttf"), height)
    picture = Image.fromarray(image)
    ImageDraw.Draw(picture).text(place, text, font=font, fill=(255, 255, 255))
    return np.asarray(picture)


def test_writing_in_the_pixels_is_flagged_and_eyes_hardly_ever() -> None:
    hits = [text_lines(written(draw_eye(i, side=384), "LI WEI 1957", 14, (6, 6))) for i in range(6)]
    assert all(hits)
    assert all(lines[0].marks >= 4 and lines[0].top < 0.1 for lines in hits)
    assert sum(bool(text_lines(draw_eye(i, side=384))) for i in range(12)) <= 1
    assert text_lines(np.zeros((64, 64, 3), np.uint8)) == []


def test_overlap_counts_passages_and_near_copies_against_habit() -> None:
    habit = "the optic disc is pink with clear margins and the macula shows a normal reflex"
    private = "patient works in the harbour and noticed a shadow while unloading the ferry last tuesday"
    captions = [(0, f"{private} in march"), (1, habit), (2, "healthy eye"), (3, habit)]
    overlap = measure_overlap(captions, [private, habit], [habit])
    assert [(match.caption, match.exact) for match in overlap.matches] == [(0, True), (1, True), (3, True)]
    assert [match.caption for match in overlap.control_matches] == [1, 3]
    near = overlap.matches[0]
    assert near.near >= 0.7
    assert "harbour" in near.passage
    assert overlap.above_control is False
    many = [(i, private) for i in range(60)]
    assert measure_overlap(many, [private], [habit]).above_control is True
    assert measure_overlap(many, [private], None).above_control is None


def folder_of(path: Path, captions: list[str], save: Callable[[int, Path], None] | None = None) -> Path:
    path.mkdir(parents=True)
    for i, caption in enumerate(captions):
        file = path / f"image{i:04d}.jpg"
        if save is None:
            file.write_bytes(encoded(draw_eye(i, side=96)))
        else:
            save(i, file)
        file.with_suffix(".txt").write_text(caption, encoding="utf-8")
    return path


def test_a_clean_set_has_nothing_and_says_what_was_not_scanned(tmp_path: Path) -> None:
    source = open_images(folder_of(tmp_path / "set", ["a healthy eye", "左眼，正常"]))
    result = audit_text(source, Sought(), tmp_path / "out")
    assert (result.verdict, int(result.exit_code)) == ("PASS", 0)
    states = {row["letter"]: row["state"] for row in result.document["safe_harbor"]}
    assert states == {row["letter"]: row["state"] for row in safe_harbor({}, names_given=False, metadata_scanned=True)}
    assert (states["A"], states["D"], states["Q"], states["L"]) == (
        "not scanned",
        "scanned",
        "needs a person",
        "not scanned",
    )
    assert len(states) == 18


def test_findings_are_restricted_and_counts_name_nobody(tmp_path: Path) -> None:
    captions = ["Mild NPDR, patient Wang Fang, tel: 13800138000", "healthy eye, seen 2024-03-15", "healthy eye"]
    source = open_images(folder_of(tmp_path / "set", captions))
    result = audit_text(source, Sought(names=["Wang Fang"]), tmp_path / "out")
    assert (result.verdict, int(result.exit_code)) == ("LEAK", 10)
    with (tmp_path / "out" / "identifiers.csv").open(newline="") as stream:
        found = list(csv.DictReader(stream))
    assert {(row["file"], row["kind"]) for row in found} == {
        ("image0000.jpg", "name"),
        ("image0000.jpg", "phone"),
        ("image0001.jpg", "date"),
    }
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "out" / "identifiers.csv").stat().st_mode) == 0o600
    text = (tmp_path / "out" / "text.json").read_text()
    assert json.loads(text) == result.document
    assert not any(secret in text.lower() for secret in ("wang", "1380013", "2024-03", "image0000"))


def test_writing_and_times_are_for_a_person(tmp_path: Path) -> None:
    def save(i: int, file: Path) -> None:
        exif = Image.Exif()
        exif[0x0132] = "2024:03:15 10:00:00"
        eye = draw_eye(i, side=384)
        file.write_bytes(encoded(written(eye, "WANG 1957", 16, (6, 6)) if i == 0 else eye, exif=exif))

    source = open_images(folder_of(tmp_path / "set", ["healthy", "healthy"], save))
    result = audit_text(source, Sought(), tmp_path / "out")
    assert (result.verdict, int(result.exit_code)) == ("INCONCLUSIVE", 11)
    assert result.document["counts"]["burned_in"] == 1
    assert "person" in result.reason


def test_known_patient_ids_are_sought_with_the_control_beside(tmp_path: Path) -> None:
    def save(i: int, file: Path) -> None:
        file.with_name(f"PAT{7000 + i}_left.jpg").write_bytes(encoded(draw_eye(i, side=96)))

    source = open_images(folder_of(tmp_path / "set", ["healthy"], save))
    sought = Sought(patient_ids=["PAT7000", "PAT7001"], control_ids=["PAT9000"])
    document = audit_text(source, sought, tmp_path / "out").document
    assert document["patient_ids"] == {"looked_for": 2, "too_short": 0, "control_found": 0}
    assert document["counts"]["direct_identifiers"] == 1


def test_dicom_tags_are_scanned_where_pydicom_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pydicom = pytest.importorskip("pydicom")
    folder = folder_of(tmp_path / "set", ["healthy"])
    dataset = pydicom.Dataset()
    dataset.PatientName, dataset.PatientBirthDate, dataset.StudyDescription = (
        "Wang^Fang",
        "19570312",
        "call 13800138000",
    )
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.77.1.5.1"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.save_as(folder / "eye.dcm", enforce_file_format=True)
    (folder / "broken.dcm").write_bytes(b"nothing")
    document = audit_text(open_images(folder), Sought(), tmp_path / "out").document
    assert {row["kind"] for row in document["by_kind"]} == {"person_tag", "date", "phone"}
    assert document["counts"]["unread"] == 1
    monkeypatch.setattr(dicom_room, "pydicom_is_there", lambda: False)
    without = audit_text(open_images(folder), Sought(), tmp_path / "without")
    assert (without.verdict, "not installed" in str(without.document)) == ("INCONCLUSIVE", False)


def test_an_empty_or_taken_place_is_refused(tmp_path: Path) -> None:
    source = open_images(folder_of(tmp_path / "set", ["healthy"]))
    with pytest.raises(BadInputError, match="already holds"):
        audit_text(source, Sought(), tmp_path / "set")


def test_workers_change_nothing(tmp_path: Path) -> None:
    source = open_images(folder_of(tmp_path / "set", [f"healthy, seen 2024-03-{i + 10}" for i in range(9)]))
    for workers in (1, 3):
        audit_text(source, Sought(), tmp_path / str(workers), workers=workers)
    for file in (tmp_path / "1").iterdir():
        assert file.read_bytes() == (tmp_path / "3" / file.name).read_bytes()
