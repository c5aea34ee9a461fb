"""The PDF: archivable, tagged, fonts and Chinese in it, the banner on every page, and any text harmless."""

from __future__ import annotations

import io
from pathlib import Path

import pypdf
import pytest

from ethicclip.reports import ReportSettings, write_report
from ethicclip.reports.pdf import STANDARDS, covered
from tests.reports.test_report_page import HOSTILE


@pytest.fixture
def write(tmp_path: Path):
    def run(world, name: str = "report", **settings) -> pypdf.PdfReader:
        chosen = ReportSettings(formats=("pdf",), **settings)
        out = write_report(chosen, world.ledger, tmp_path / name, keys=world.keys).out
        return pypdf.PdfReader(io.BytesIO((out / "report.pdf").read_bytes()))

    return run


def text_of(reader: pypdf.PdfReader) -> str:
    return "\n".join(page.extract_text() for page in reader.pages).replace("\u200b", "")


def test_it_is_an_archive_a_reader_can_hear(world, write) -> None:
    reader = write(world)
    catalog = reader.trailer["/Root"]
    xmp = catalog["/Metadata"].get_data().decode()
    assert "<pdfaid:part>2</pdfaid:part>" in xmp and "<pdfaid:conformance>A</pdfaid:conformance>" in xmp
    assert "<pdfuaid:part>1</pdfuaid:part>" in xmp and STANDARDS == ["a-2a", "ua-1"]
    assert catalog["/MarkInfo"]["/Marked"] and catalog["/Lang"].startswith("en") and "/OutputIntents" in catalog
    assert "/JavaScript" not in str(catalog) and "/OpenAction" not in catalog and reader.attachments == {}
    fonts = {
        str(font.get_object()["/BaseFont"])
        for page in reader.pages
        for font in page["/Resources"].get("/Font", {}).values()
    }
    # A subset prefix says that the glyphs themselves are in the file.
    assert fonts and all("+" in font for font in fonts)
    assert any("EthicCLIPNotoSansSC" in font for font in fonts)


def test_it_says_what_the_page_says(world, write) -> None:
    text = text_of(write(world, title="Evidence, \u8bc1\u636e", released_to="\u793a\u4f8b\u533b\u9662"))
    for words in (
        "\u8bc1\u636e",
        "\u793a\u4f8b\u533b\u9662",
        "Leakage audit",
        "Fewer than 22 copies",
        "Words used here",
    ):
        assert words in text, words
    assert "shareable" in text and "RESTRICTED" not in text


def test_a_restricted_one_says_so_on_every_page(world, write) -> None:
    reader = write(world, audience="restricted")
    assert len(reader.pages) > 3
    assert all("RESTRICTED: shows or names patients" in page.extract_text() for page in reader.pages)


def test_hostile_text_is_written_not_run(make_world, write) -> None:
    markup = '#panic("ran") *bold* $x$ #read("/etc/passwd") `raw` <label> @ref // comment'
    arabic = "\u0645\u0631\u064a\u0636 \U0001f600 \u9e44"
    world = make_world(captions=[*HOSTILE, markup, arabic], cohort="#panic()\u202eclinic")
    with world.record("generate#panic()", {"x": markup, "y": "a" * 3000}) as run:
        run.note_exit(0, "<b>FINE</b>")
    reader = write(world, title=markup, attacker=arabic, pictures=20)
    text = text_of(reader).replace("\n", " ")
    assert '#panic("ran") *bold* $x$ #read("/etc/passwd")' in text
    assert "U+0645" in text and "U+1F600" in text and "\\u202eclinic" in text
    assert "root:" not in text


def test_what_the_fonts_lack_is_written_as_its_code() -> None:
    assert covered({"a\U0001f600": ["\u773c\u5e95 \u201cx\u201d", 1, None]}) == {
        "a\U0001f600": ['\u773c\u5e95 "x"', 1, None]
    }
    assert covered("\U0001f600\u0645") == "U+1F600U+0645"


def test_every_word_of_ours_is_covered() -> None:
    folder = Path(__file__).parents[2] / "ethicclip"
    for path in sorted(folder.rglob("*.yaml")):
        assert "U+" not in covered(path.read_text(encoding="utf-8")), path
