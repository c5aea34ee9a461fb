"""WebDataset tars and MedMNIST files as cohorts: read where they lie, hostile ones refused by name."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ethicclip.cohorts import SplitSettings, read_cohort, split_cohort
from ethicclip.errors import BadInputError
from ethicclip.exports import clip_benchmark
from ethicclip.imaging import containers
from ethicclip.importing import CohortSettings, import_cohort
from ethicclip.pairs import PairSet

from .eyes import draw_eye, folder_of_eyes


def tar_of(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def jpg(seed: int = 0) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(draw_eye(seed)).save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("cb")
    cohort = folder_of_eyes(root / "eyes", [f"p{n}" for n in range(6)])
    clip_benchmark.from_cohort(read_cohort(cohort), root / "cb")
    return cohort, root / "cb"


def test_what_we_export_for_clip_benchmark_is_read_back(exported: tuple[Path, Path]) -> None:
    before, folder = read_cohort(exported[0]), exported[1]
    cohort = read_cohort(folder)
    assert cohort.alias == "cb"
    assert len(cohort) == len(before) == 12
    assert [
        {"diabetic retinopathy": "dr", "normal fundus": "normal"}.get(label, label) for label in cohort.column("label")
    ] == before.column("label")
    assert set(cohort.column("split")) == {"test"}
    assert cohort.patient_ids is None and "cannot be told apart" in cohort.notes[0]
    assert cohort.content_hashes() == before.content_hashes()
    assert np.array_equal(cohort.image(3), before.image(3))
    assert cohort.files[0] == folder.absolute() / "test" / "0.tar" / "s0000000.jpg"
    assert len(read_cohort(folder / "test")) == len(read_cohort(folder / "test" / "0.tar")) == 12


def test_splits_and_imports_of_an_archive_lead_into_it(exported: tuple[Path, Path], tmp_path: Path) -> None:
    cohort = read_cohort(exported[1])
    split_cohort(SplitSettings(parts={"a": 0.5, "b": 0.5}, near_duplicate_threshold=2), cohort, tmp_path / "split")
    part = read_cohort(tmp_path / "split" / "a")
    assert part.image(0).shape == (160, 160, 3)
    assert set(part.content_hashes()) < set(cohort.content_hashes())
    import_cohort(cohort, tmp_path / "pairs", CohortSettings(licence="test"))
    assert len(PairSet.open(tmp_path / "pairs")) == 12
    again = clip_benchmark.from_cohort(cohort, tmp_path / "again")
    assert sum(again.classes.values()) == 12
    assert (tmp_path / "again" / "test" / "0.tar").read_bytes() == (exported[1] / "test" / "0.tar").read_bytes()


def test_records_become_columns_and_shards_stand_in_order(tmp_path: Path) -> None:
    for number in (0, 2, 10):
        record = {"patient_id": f"p{number}", "eye": "left", "label": "amd", "age": 61.0, "ok": True, "boxes": [1]}
        tar_of(
            tmp_path / "set" / f"{number}.tar",
            {f"a{number}.jpg": jpg(), f"a{number}.json": json.dumps(record).encode()},
        )
    cohort = read_cohort(tmp_path / "set")
    assert cohort.patient_ids == ("p0", "p2", "p10")
    assert cohort.column("age") == ["61", "61", "61"] and cohort.column("ok")[0] == "true"
    assert "boxes" not in cohort.table.columns


def test_classes_without_names_are_what_they_say(tmp_path: Path) -> None:
    tar = tar_of(tmp_path / "x.tar", {"a.jpg": jpg(), "a.cls": b"glaucoma", "readme.txt": b"hello"})
    assert read_cohort(tar).column("label") == ["glaucoma"]


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"../evil.jpg": b"x"}, "leads outside"),
        ({"/evil.jpg": b"x"}, "leads outside"),
        ({"a.jpg": b"x", "./a.jpg": b"y"}, "stands twice"),
        ({"a.jpg": b"x", "a.png": b"y"}, "2 pictures"),
        ({"a.jpg": b"x", "a.cls": b"7"}, "says '7'"),
        ({"a.jpg": b"x", "a.cls": b"-1"}, "says '-1'"),
        ({"a.jpg": b"x", "a.json": b"[1]"}, "not a JSON object"),
        ({"a.jpg": b"x", "a.json": b"[" * 100_000}, "not a JSON object"),
        ({"a.txt": b"x"}, "hold no picture"),
    ],
)
def test_hostile_and_broken_tars_are_refused(tmp_path: Path, members: dict[str, bytes], said: str) -> None:
    tar_of(tmp_path / "set" / "0.tar", members)
    (tmp_path / "set" / "classnames.txt").write_text("normal\nglaucoma\n")
    with pytest.raises(BadInputError, match=said) as caught:
        read_cohort(tmp_path / "set")
    assert said in str(caught.value)


def test_cut_compressed_and_empty_tars(tmp_path: Path) -> None:
    whole = tar_of(tmp_path / "whole.tar", {"a.jpg": jpg(), "a.cls": b"0"}).read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:2000])
    with tarfile.open(tmp_path / "packed.tar", "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("a.jpg"), io.BytesIO())
    (tmp_path / "nothing.tar").write_bytes(b"")
    for name, said in (("cut", "cut off|not an uncompressed"), ("packed", "uncompressed"), ("nothing", "uncompressed")):
        with pytest.raises(BadInputError, match=said):
            read_cohort(tmp_path / f"{name}.tar")


def test_images_beside_a_tar_win_and_a_pair_set_is_no_cohort(tmp_path: Path) -> None:
    (tmp_path / "mixed").mkdir()
    Image.fromarray(draw_eye(1)).save(tmp_path / "mixed" / "eye.png")
    tar_of(tmp_path / "mixed" / "old.tar", {"a.jpg": jpg()})
    assert [file.name for file in read_cohort(tmp_path / "mixed").files] == ["eye.png"]
    import_cohort(
        read_cohort(folder_of_eyes(tmp_path / "eyes", ["a", "b"])), tmp_path / "pairs", CohortSettings(licence="test")
    )
    with pytest.raises(BadInputError, match="pair set, not a cohort"):
        read_cohort(tmp_path / "pairs")


def medmnist(path: Path, *, colour: bool = True, **more: np.ndarray) -> Path:
    rng = np.random.default_rng(0)
    arrays = {}
    for part, count in (("train", 6), ("val", 2), ("test", 4)):
        arrays[f"{part}_images"] = rng.integers(0, 255, (count, 28, 28, *((3,) if colour else ())), dtype=np.uint8)
        arrays[f"{part}_labels"] = (np.arange(count) % 5).astype(np.uint8)[:, None]
    np.savez(path, **{**arrays, **more})
    return path


def test_medmnist_is_read_whole_or_by_part(tmp_path: Path) -> None:
    path = medmnist(tmp_path / "retinamnist.npz")
    cohort = read_cohort(path)
    assert (len(cohort), cohort.alias) == (12, "retinamnist")
    assert cohort.column("split") == ["train"] * 6 + ["val"] * 2 + ["test"] * 4
    test = read_cohort(path / "test")
    assert test.column("label") == ["0", "1", "2", "3"]
    assert test.patient_ids is None and test.alias == "retinamnist test"
    with np.load(path, allow_pickle=False) as arrays:
        assert np.array_equal(test.image(2), arrays["test_images"][2])
    assert test.content_hashes() == cohort.content_hashes()[-4:]
    grey = read_cohort(medmnist(tmp_path / "grey.npz", colour=False) / "val")
    assert grey.image(0).shape == (28, 28, 3)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return (Path.touch, (Path("ran.txt"),))


def test_hostile_npz_files_run_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    objects = np.array([Evil()], dtype=object)
    np.savez(tmp_path / "evil.npz", train_images=objects, allow_pickle=True)
    with pytest.raises(BadInputError, match="Python objects"):
        read_cohort(tmp_path / "evil.npz")
    assert not (tmp_path / "ran.txt").exists()
    # A header that declares a terabyte in a hundred bytes takes no memory.
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**12,)})
    with zipfile.ZipFile(tmp_path / "lies.npz", "w") as packed:
        packed.writestr("train_images.npy", header.getvalue() + b"0" * 100)
    with pytest.raises(BadInputError, match="declares shape"):
        read_cohort(tmp_path / "lies.npz")
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("train_images.npy", b"\0" * (4 << 20))
    monkeypatch.setattr(containers, "MAX_ARRAY_BYTES", 1 << 20)
    with pytest.raises(BadInputError, match="over the limit"):
        read_cohort(tmp_path / "bomb.npz")
    (tmp_path / "text.npz").write_text("no zip")
    with pytest.raises(BadInputError, match=r"not an \.npz"):
        read_cohort(tmp_path / "text.npz")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"test_labels": np.zeros((4, 14), dtype=np.uint8)}, "shape \\(4, 14\\)"),
        ({"test_labels": np.zeros(3, dtype=np.uint8)}, "for 4 pictures"),
        ({"test_labels": np.zeros(4)}, "float64"),
        ({"test_images": np.zeros((4, 28, 28), dtype=np.float32)}, "not 8-bit"),
        ({"test_images": np.zeros((4, 28, 28, 28, 1), dtype=np.uint8)}, "two-dimensional"),
    ],
)
def test_other_npz_files_are_refused(tmp_path: Path, more: dict[str, np.ndarray], said: str) -> None:
    path = medmnist(tmp_path / "x.npz", **more)
    with pytest.raises(BadInputError, match=said):
        read_cohort(path / "test")
    with pytest.raises(BadInputError, match="holds no extra_images"):
        read_cohort(path / "extra")


def test_a_changed_archive_is_read_anew(tmp_path: Path) -> None:
    tar = tar_of(tmp_path / "x.tar", {"a.jpg": jpg(1)})
    first = read_cohort(tar).content_hashes()
    tar_of(tar, {"a.jpg": jpg(2), "b.jpg": jpg(3)})
    assert len(read_cohort(tar)) == 2
    assert read_cohort(tar).content_hashes()[0] != first[0]
    with pytest.raises(BadInputError, match="no member"):
        containers.read_encoded(tar / "c.jpg")
