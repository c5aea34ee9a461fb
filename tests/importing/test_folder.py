"""Any images with captions: tables as people write them, folders as tools leave them."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pandas as pd
import pytest

from ethicclip.errors import BadInputError, UsageError
from ethicclip.importing import FolderSettings, import_folder
from ethicclip.pairs import PairSet

from .conftest import picture

MINE = FolderSettings(licence="CC-BY-4.0", origin="synthetic")


def test_a_table_with_labels_languages_and_more(images: Path, tmp_path: Path) -> None:
    (images / "captions.csv").write_text(
        "file,caption,caption_zh,labels,dr_grade,eye,patient_id,site\n"
        "0.png,A large cup.,视杯扩大。,glaucoma; cataract,,OS,p1,north\n"
        '1.png,"Dots,\n and   blots.",,DR,2,right,p1,\n'
        "2.png,,正常眼底。,normal,0,,p2,south\n"
        "3.png,,,other,,,p2,\n"
    )
    result = import_folder(images, tmp_path / "pairs", MINE)
    pairs = PairSet.open(tmp_path / "pairs", verify=True)
    first, second, third = pairs
    assert first.record["labels"] == ["glaucoma", "cataract"]
    assert first.record["captions"] == {"en": ["A large cup."], "zh": ["视杯扩大。"]}
    assert (first.record["eye"], first.record["columns"]) == ("left", {"site": "north"})
    assert (second.caption, second.record["grade"]) == ("Dots, and blots.", 2)
    assert (third.caption, third.record["labels"]) == ("正常眼底。", ["normal"])
    assert [pairs.patient_id(index) for index in range(3)] == ["p1", "p1", "p2"]
    assert result.left_out == {"no caption": 1}
    assert (result.licence, pairs.licence, pairs.origin) == ("CC-BY-4.0", "CC-BY-4.0", "synthetic")


def test_parquet_json_lines_and_text_files_beside(images: Path, tmp_path: Path) -> None:
    frame = pd.DataFrame({"image_path": ["0.png", "1.png"], "text": ["one", "two"]})
    frame.to_parquet(images / "t.parquet")
    lines = [json.dumps({"file_name": f"{n}.png", "caption": [f"say {n}", f"again {n}"]}) for n in range(2)]
    (images / "metadata.jsonl").write_text("\n".join(lines))
    import_folder(images / "t.parquet", tmp_path / "a", MINE)
    import_folder(images, tmp_path / "b", MINE)
    assert [pair.caption for pair in PairSet.open(tmp_path / "a")] == ["one", "two"]
    assert [pair.record["captions"]["en"] for pair in PairSet.open(tmp_path / "b")] == [
        ["say 0", "again 0"], ["say 1", "again 1"],
    ]  # fmt: skip
    (images / "metadata.jsonl").unlink()
    with pytest.raises(BadInputError, match="have no caption beside them"):
        import_folder(images, tmp_path / "c", MINE)
    for number in range(8):
        (images / f"{number}.txt").write_text(f"文字{number}", encoding="utf-8")
    import_folder(images, tmp_path / "c", FolderSettings(licence="X1", origin="synthetic", caption_language="zh"))
    assert PairSet.open(tmp_path / "c").read(3).record["captions"] == {"zh": ["文字3"]}


def test_what_nobody_vouches_for_is_real_restricted_and_without_metadata(images: Path, tmp_path: Path) -> None:
    named = picture(0, form="JPEG", exif=b"Exif\x00\x00MM\x00*\x00\x00\x00\x08\x00\x00" + b"Jane Doe 1.4.1951")
    assert b"Jane Doe" in named
    (images / "0.jpg").write_bytes(named + b"Jane Doe again, behind the end")
    (images / "captions.csv").write_text("file,caption\n0.jpg,x\n1.png,y\n")
    import_folder(images, tmp_path / "pairs", FolderSettings(licence="clinic only"))
    pairs = PairSet.open(tmp_path / "pairs")
    assert pairs.origin == "real"
    assert stat.S_IMODE((tmp_path / "pairs").stat().st_mode) == 0o700
    assert "not marked as synthetic" in pairs.manifest["marking"]
    for shard in (tmp_path / "pairs" / "shards").iterdir():
        assert b"Jane" not in shard.read_bytes()
        assert b"DigitalSourceType" not in shard.read_bytes()


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("file,caption\n../secret.png,x\n", "inside"),
        ("file,caption\n/etc/hostname,x\n", "inside"),
        ("file,caption\n,x\n", "inside"),
        ("file,caption\n0.png,x\n0.png,y\n", "more than one row"),
        ("file,caption\n0.png,x,extra\n", "cells"),
        ("file,sentence\n0.png,x\n", "needed are file and caption"),
        ("picture,caption\n0.png,x\n", "needed are file and caption"),
        ("file,caption,label\n0.png,x,glaukoma\n", "did you mean 'glaucoma'"),
        ("file,caption,grade\n0.png,x,nine\n", "'nine'"),
        ("file,caption\ngone.png,x\n", r"gone\.png"),
        ("file,caption\nnotes.png,x\n", "not a readable image"),
        ("file,caption\n0.png,\n", "no row is left"),
        ("file,file,caption\n0.png,0.png,x\n", "more than once"),
        ("", "empty"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(table: str, said: str, images: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(picture(9))
    (images / "notes.png").write_text("not a picture")
    (images / "captions.csv").write_text(table)
    with pytest.raises(BadInputError, match=said):
        import_folder(images, tmp_path / "pairs", MINE)
    assert not (tmp_path / "pairs" / "manifest.json").exists()


@pytest.mark.parametrize("licence", [None, "", "x", "CC-BY\ntags: [evil]", "  "])
def test_no_import_without_a_licence_of_one_line(licence: str | None) -> None:
    with pytest.raises(UsageError, match="licence"):
        FolderSettings.build({} if licence is None else {"licence": licence})
