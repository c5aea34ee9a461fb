"""Cohorts as people keep them, and every way in which they are wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ethicclip.cohorts import read_cohort
from ethicclip.errors import BadInputError
from tests.cohorts.eyes import draw_eye, save, touch, write_rows

HEADING = ("file", "patient_id", "label")


def two_files(folder: Path) -> Path:
    touch(folder, "a.jpg", "b.jpg")
    return folder


def message(path: Path) -> str:
    with pytest.raises(BadInputError) as caught:
        read_cohort(path)
    return str(caught.value)


def test_a_folder_with_a_table(tmp_path):
    folder = two_files(tmp_path / "clinic")
    write_rows(folder / "cohort.csv", HEADING, [("a.jpg", "007", "dr"), ("b.jpg", "7", "")])
    cohort = read_cohort(folder)
    assert cohort.alias == "clinic"
    assert cohort.files == (folder / "a.jpg", folder / "b.jpg")
    assert cohort.patients() == cohort.patient_ids == ("007", "7")
    assert cohort.column("label") == ["dr", ""]
    assert list(cohort.table["file"]) == [str(folder / "a.jpg"), str(folder / "b.jpg")]
    assert cohort.notes == () and not cohort.simulated and len(cohort) == 2
    assert all(isinstance(value, str) for value in cohort.table.to_numpy().ravel())


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbffile,patient_id,label\r\na.jpg,007,1e3\r\nb.jpg,7,NA\r\n",
        b"file;patient_id;label\na.jpg;007;1e3\nb.jpg;7;NA\n",
        b"sep=;\r\nfile;patient_id;label\r\na.jpg;007;1e3\r\nb.jpg;7;NA\r\n",
        b'"file", patient_id ,label\n "a.jpg",007,1e3\n\nb.jpg , 7,NA\n\n'.replace(b' "a.jpg"', b'"a.jpg"'),
        "file\tpatient_id\tlabel\na.jpg\t007\t1e3\nb.jpg\t7\tNA\n".encode("utf-16"),
        b"file,patient_id,label\na.jpg,007,1e3\nb.jpg,7,NA",
    ],
    ids=["bom-crlf", "semicolon", "sep-line", "blanks", "utf16-tab", "no-last-newline"],
)
def test_the_same_table_in_many_dialects(tmp_path, data):
    (two_files(tmp_path) / "cohort.csv").write_bytes(data)
    cohort = read_cohort(tmp_path)
    assert cohort.patient_ids == ("007", "7")
    assert cohort.column("label") == ["1e3", "NA"]


def test_quoted_separators_and_line_breaks_stay_in_their_cell(tmp_path):
    (two_files(tmp_path) / "cohort.csv").write_text('file,patient_id,words\na.jpg,1,"x, y"\nb.jpg,2,"x\ny"\n')
    assert read_cohort(tmp_path).column("words") == ["x, y", "x\ny"]


def test_a_table_of_absolute_paths_elsewhere(tmp_path):
    folder = two_files(tmp_path / "images")
    table = write_rows(tmp_path / "tables" / "may.csv", ("file",), [(str(folder / "a.jpg"),), (str(folder / "b.jpg"),)])
    cohort = read_cohort(table)
    assert cohort.alias == "may" and cohort.files[0] == folder / "a.jpg"
    assert cohort.patient_ids is None and cohort.patients() == ("file:0", "file:1")
    assert "cannot be told apart" in cohort.notes[0]


def test_parquet_numbers_become_the_text_a_person_would_write(tmp_path):
    two_files(tmp_path)
    table = pa.table({"file": ["a.jpg", "b.jpg"], "patient_id": [7.0, 8.0], "age": [61.5, None], "ok": [True, None]})
    pq.write_table(table, tmp_path / "cohort.parquet")
    cohort = read_cohort(tmp_path)
    assert cohort.patient_ids == ("7", "8")
    assert cohort.column("age") == ["61.5", ""] and cohort.column("ok") == ["true", ""]


def test_parquet_strings_stay(tmp_path):
    two_files(tmp_path)
    pd.DataFrame({"file": ["a.jpg", "b.jpg"], "patient_id": ["007", "7"]}).to_parquet(tmp_path / "t.parquet")
    assert read_cohort(tmp_path / "t.parquet").patient_ids == ("007", "7")


def test_a_folder_of_images(tmp_path):
    save(tmp_path / "scans" / "deep" / "x.png", draw_eye(1))
    save(tmp_path / "scans" / "y.jpg", draw_eye(2))
    cohort = read_cohort(tmp_path / "scans")
    assert [file.name for file in cohort.files] == ["x.png", "y.jpg"]
    assert cohort.patient_ids is None and cohort.alias == "scans"
    assert cohort.image(0).shape == (160, 160, 3) and cohort.image(0, max_side=80).shape == (80, 80, 3)


def test_patients_from_file_names_only_when_every_name_tells(tmp_path):
    touch(tmp_path, "007_left.jpg", "007_RIGHT.jpg", "7_od.jpg")
    cohort = read_cohort(tmp_path)
    assert dict(zip((file.name for file in cohort.files), cohort.patients(), strict=True)) == {
        "007_left.jpg": "007",
        "007_RIGHT.jpg": "007",
        "7_od.jpg": "7",
    }
    assert sorted(cohort.column("eye")) == ["left", "right", "right"]
    assert "read from file names" in cohort.notes[0]
    touch(tmp_path, "other.jpg")
    assert read_cohort(tmp_path).patient_ids is None


def test_a_given_patient_id_beats_file_names(tmp_path):
    touch(tmp_path, "1_left.jpg")
    write_rows(tmp_path / "cohort.csv", HEADING, [("1_left.jpg", "A", "dr")])
    cohort = read_cohort(tmp_path)
    assert cohort.patient_ids == ("A",) and "eye" not in cohort.table.columns


def test_a_missing_file_column_names_what_there_is_and_the_closest(tmp_path):
    write_rows(tmp_path / "t.csv", ("Files", "patient_id"), [("a.jpg", "1")])
    text = message(tmp_path / "t.csv")
    assert "did you mean 'Files'" in text and "Files, patient_id" in text


def test_an_unknown_column_is_refused_with_a_suggestion(tmp_path):
    write_rows(two_files(tmp_path) / "cohort.csv", HEADING, [("a.jpg", "1", "dr")])
    with pytest.raises(BadInputError, match="did you mean 'label'"):
        read_cohort(tmp_path).column("labels")


def test_missing_files_are_listed_up_to_twenty(tmp_path):
    write_rows(tmp_path / "cohort.csv", ("file",), [(f"{i}.jpg",) for i in range(25)])
    text = message(tmp_path)
    assert "25 of 25 files" in text and "19.jpg" in text and "20.jpg" not in text and "and 5 more" in text


def test_rows_without_a_patient_are_counted(tmp_path):
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    write_rows(tmp_path / "cohort.csv", HEADING, [("a.jpg", "1", ""), ("b.jpg", "", ""), ("c.jpg", "nan", "")])
    assert "2 of 3 rows" in message(tmp_path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"file,patient_id\n", "no row"),
        (b"file,patient_id\na.jpg,1,2\n", "line 2: 3 cells, not 2"),
        (b"file,patient_id\na.jpg\n", "line 2: 1 cells, not 2"),
        (b"file,file\na.jpg,b.jpg\n", "more than once"),
        (b"file,\na.jpg,1\n", "column 2"),
        (b"file,name\na.jpg,M\xfcller\n", "not UTF-8"),
        (b"file,name\na.jpg,x\x00y\n", "NUL"),
        (b'file,name\na.jpg,"x\n', "line"),
        (b"file,patient_id\n,1\n", "name no file"),
        (b"file\na.jpg\n./a.jpg\n", "more than one row"),
        (b"file\n../outside.jpg\n", "leave the folder"),
        (b"file\nsub/../../outside.jpg\n", "leave the folder"),
        (b"file\nsub\n", "not a file"),
        (b"file\n" + b"x" * 400 + b".jpg\n", "missing"),
    ],
)
def test_tables_that_cannot_be_used(tmp_path, content, expected):
    folder = two_files(tmp_path / "clinic")
    (folder / "sub").mkdir()
    touch(tmp_path, "outside.jpg")
    (folder / "cohort.csv").write_bytes(content)
    assert expected in message(folder)


def test_places_that_cannot_be_used(tmp_path):
    assert "does not exist" in message(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "holds no image" in message(tmp_path / "empty")
    touch(tmp_path, "t.xlsx", "t.parquet")
    assert "neither a folder nor a table" in message(tmp_path / "t.xlsx")
    assert "not Parquet" in message(tmp_path / "t.parquet")
    both = two_files(tmp_path / "both")
    write_rows(both / "cohort.csv", ("file",), [("a.jpg",)])
    touch(both, "cohort.parquet")
    assert "holds both" in message(both)


def test_parquet_with_nested_values_is_refused(tmp_path):
    two_files(tmp_path)
    pq.write_table(pa.table({"file": ["a.jpg"], "boxes": [[1, 2]]}), tmp_path / "t.parquet")
    assert "'boxes'" in message(tmp_path / "t.parquet")


@pytest.mark.parametrize("alias", ["", "/data/eyes", "../eyes", "a/b/c", "a\\b", "x\ny"])
def test_an_alias_that_is_a_path_is_refused(tmp_path, alias):
    with pytest.raises(BadInputError, match="not a plain name"):
        read_cohort(two_files(tmp_path), alias=alias)


def test_the_default_alias_is_never_more_than_a_last_name(tmp_path, monkeypatch):
    folder = two_files(tmp_path / "clinic")
    write_rows(folder / "cohort.csv", ("file",), [("a.jpg",)])
    monkeypatch.chdir(folder)
    assert {read_cohort(path).alias for path in (folder, folder / "cohort.csv", Path(), Path("cohort.csv"))} == {
        "clinic"
    }
    assert read_cohort(folder, alias="odir/test").alias == "odir/test"


def test_the_simulated_flag(tmp_path):
    folder = two_files(tmp_path)
    write_rows(folder / "cohort.csv", ("file",), [("a.jpg",)])
    assert not read_cohort(folder).simulated
    (folder / "simulated.json").write_text("{}")
    assert read_cohort(folder).simulated and read_cohort(folder / "cohort.csv").simulated


def test_subset_keeps_order_patients_and_hashes(tmp_path):
    touch(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    write_rows(tmp_path / "cohort.csv", HEADING, [("a.jpg", "1", "x"), ("b.jpg", "2", "y"), ("c.jpg", "3", "z")])
    cohort = read_cohort(tmp_path)
    hashes = cohort.content_hashes()
    assert hashes is cohort.content_hashes() and len(set(hashes)) == 3
    part = cohort.subset([2, 0])
    assert part.patient_ids == ("3", "1") and part.column("label") == ["z", "x"]
    assert list(part.table.index) == [0, 1] and part.content_hashes() == (hashes[2], hashes[0])
    for rows in ([], [0, 0], [3], [-1]):
        with pytest.raises(BadInputError):
            cohort.subset(rows)


def test_hashing_says_which_file_has_gone(tmp_path):
    cohort = read_cohort(two_files(tmp_path))
    (tmp_path / "b.jpg").unlink()
    with pytest.raises(BadInputError, match=r"b\.jpg"):
        cohort.content_hashes()


def test_settings_import_nothing_heavy():
    import subprocess

    code = "import sys, ethicclip.cohorts.settings; print([m for m in ('cv2', 'torch', 'pandas') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
