"""A set is whole or unfinished; the same settings give the same bytes whatever happens on the way."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import pickle
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from ethicclip.errors import BadInputError, IntegrityError, StorageError, UsageError
from ethicclip.pairs import Origin, PairSet, open_images, write_pair_set, writing
from ethicclip.pairs.shards import tar_bytes

from .simple import description, jpeg, make, make_slowly


def fingerprint(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def write(out: Path, count: int = 23, **options: object) -> dict:
    options.setdefault("description", description())
    return write_pair_set(out, make, count, shard_size=5, **options)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("pairs") / "set"
    write(out)
    return out


def test_every_pair_comes_back(whole: Path) -> None:
    pairs = PairSet.open(whole, verify=True)
    assert len(pairs) == 23
    for number in (22, 0, 7):
        pair = pairs.read(number)
        assert (pair.key, pair.caption, pair.image) == (f"eye-{number:06d}", f"Eye {number}, 眼.", jpeg(number))
        assert pair.record["findings"] == {"number": number}
    assert pairs.image(3).shape == (24, 24, 3)
    assert pairs.manifest["counts"] == {"pairs": 23, "shards": 5, "labels": {"normal": 15, "glaucoma": 8}}
    assert pickle.loads(pickle.dumps(pairs)).read(4).key == "eye-000004"


def test_the_shards_are_plain_webdataset_tars(whole: Path) -> None:
    with tarfile.open(whole / "shards" / "000001.tar") as archive:
        names = archive.getnames()
        text = archive.extractfile("eye-000005.txt")
        assert text is not None
        assert text.read().decode() == "Eye 5, 眼."
    assert names[:3] == ["eye-000005.jpg", "eye-000005.txt", "eye-000005.json"]


def test_nothing_hidden_stays_in_a_finished_set(whole: Path) -> None:
    assert sorted(path.name for path in whole.iterdir()) == [
        "croissant.json",
        "index.parquet",
        "manifest.json",
        "shards",
    ]
    croissant = json.loads((whole / "croissant.json").read_text())
    assert {entry["sha256"] for entry in croissant["distribution"]} >= {
        entry["sha256"] for entry in PairSet.open(whole).manifest["shards"]
    }


def test_workers_change_no_byte(whole: Path, tmp_path: Path) -> None:
    write(tmp_path / "two", workers=2)
    assert fingerprint(tmp_path / "two") == fingerprint(whole)


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path: Path, workers: int) -> None:
    out = tmp_path / "set"
    code = (
        "from pathlib import Path\nfrom tests.pairs.simple import *\nfrom ethicclip.pairs import write_pair_set\n"
        "if __name__ == '__main__':\n"
        f"    write_pair_set(Path({str(out)!r}), make_slowly, 60, description=description(), "
        f"shard_size=6, workers={workers})\n"
    )
    script = tmp_path / "run.py"
    script.write_text(code)
    root = Path(__file__).parents[2]
    process = subprocess.Popen([sys.executable, str(script)], cwd=root, env={**_environment(), "PYTHONPATH": str(root)})
    deadline = time.monotonic() + 30
    while len(list(out.glob("shards/*.tar"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (out / "manifest.json").exists()
    with pytest.raises(BadInputError, match="not finished"):
        PairSet.open(out)
    kept = {path.name: path.stat().st_mtime_ns for path in out.glob("shards/*.tar")}
    write_pair_set(out, make_slowly, 60, description=description(), shard_size=6)
    assert {name for name, when in kept.items() if (out / "shards" / name).stat().st_mtime_ns == when}
    write_pair_set(tmp_path / "straight", make, 60, description=description(), shard_size=6)
    assert fingerprint(out) == fingerprint(tmp_path / "straight")


def _environment() -> dict[str, str]:
    import os

    return dict(os.environ)


def test_a_shard_damaged_in_between_is_made_again(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(writing, "_finish", fail)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / "set")
    (tmp_path / "set" / "shards" / "000002.tar").write_bytes(b"junk")
    (tmp_path / "set" / ".parts" / "000003.parquet").write_bytes(b"junk")
    write(tmp_path / "set")
    assert fingerprint(tmp_path / "set") == fingerprint(whole)


def test_another_set_or_foreign_folder_is_refused_untouched(whole: Path, tmp_path: Path) -> None:
    before = fingerprint(whole)
    with pytest.raises(BadInputError, match="other settings"):
        write(whole, description=description("1" * 64))
    with pytest.raises(BadInputError, match="other settings"):
        write(whole, count=24)
    write(whole)
    assert fingerprint(whole) == before
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(BadInputError, match=r"notes\.txt"):
        write(tmp_path)


def test_a_full_disk_keeps_finished_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0

    def full(*arguments: object) -> object:
        nonlocal calls
        calls += 1
        if calls > 12:
            raise OSError(errno.ENOSPC, "No space left on device")
        return make(*arguments)  # type: ignore[arg-type]

    with pytest.raises(StorageError, match="disk is full"):
        write_pair_set(tmp_path / "set", full, 23, description=description(), shard_size=5)
    assert [path.name for path in sorted((tmp_path / "set" / "shards").iterdir())] == ["000000.tar", "000001.tar"]


def test_a_changed_shard_is_found(whole: Path, tmp_path: Path) -> None:
    write(tmp_path / "set")
    shard = tmp_path / "set" / "shards" / "000001.tar"
    data = bytearray(shard.read_bytes())
    data[700] ^= 1
    shard.write_bytes(data)
    pairs = PairSet.open(tmp_path / "set")
    with pytest.raises(IntegrityError, match=r"000001\.tar has changed"):
        pairs.verify()
    with pytest.raises(IntegrityError, match="eye-000005"):
        pairs.read(5)
    shard.write_bytes(data[:900])
    with pytest.raises(IntegrityError, match="cut short"):
        PairSet.open(tmp_path / "set").read(6)


def test_a_foreign_webdataset_folder_is_read(tmp_path: Path) -> None:
    members = {"a.jpeg": jpeg(1), "a.txt": b"one", "a.json": b'{"labels": ["glaucoma"]}', "b.png": jpeg(2)}
    (tmp_path / "x.tar").write_bytes(tar_bytes(members))
    pairs = PairSet.open(tmp_path, origin=Origin.SYNTHETIC)
    assert [pairs.key(i) for i in range(len(pairs))] == ["a", "b"]
    assert pairs.read(0).record == {"labels": ["glaucoma"]}
    assert pairs.read(1).caption == ""
    assert PairSet.open(tmp_path).origin is Origin.REAL


def hostile(name: str, kind: bytes = tarfile.REGTYPE) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (hostile("../../escape.jpg"), "outside"),
        (hostile("/etc/passwd.jpg"), "outside"),
        (hostile("a.jpg", tarfile.SYMTYPE), "link"),
        (hostile("a.jpg", tarfile.CHRTYPE), "device"),
        (b"not a tar" * 100, "not a readable tar"),
        (tar_bytes({"a.jpg": bytes(5000)})[:2000], "cut short|readable"),
        (tar_bytes({"a.txt": b"x"}), "no image"),
        (tar_bytes({"a.jpg": b"x", "b.jpg": b"y"})[:1024], "no end mark|readable"),
        (tar_bytes({"a.jpg": b"x", "a.jpeg": b"y"}), "twice"),
        (tar_bytes({"a.jpg": b"x", "a.png": b"y"}), "2 images"),
        (tar_bytes({"a.bmp": b"x"}), "not read"),
    ],
)
def test_a_hostile_tar_is_refused(tmp_path: Path, data: bytes, said: str) -> None:
    (tmp_path / "x.tar").write_bytes(data)
    with pytest.raises(BadInputError, match=said):
        PairSet.open(tmp_path)


def test_an_index_that_points_outside_is_refused(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    write(tmp_path / "set")
    path = tmp_path / "set" / "index.parquet"
    table = pq.read_table(path)
    names = pa.array(["../../secret.tar"] * len(table))
    pq.write_table(table.set_column(table.column_names.index("shard"), "shard", names), path)
    with pytest.raises(IntegrityError, match="not the index"):
        PairSet.open(tmp_path / "set")
    manifest = tmp_path / "set" / "manifest.json"
    known = json.loads(manifest.read_text())
    known["index"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(known))
    with pytest.raises(BadInputError, match="outside"):
        PairSet.open(tmp_path / "set")
    table = table.set_column(table.column_names.index("size"), "size", pa.array([2**45] * len(table)))
    pq.write_table(table, path)
    known["index"]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    manifest.write_text(json.dumps(known))
    with pytest.raises(BadInputError, match="outside its shards"):
        PairSet.open(tmp_path / "set")
    del known["counts"]
    manifest.write_text(json.dumps(known))
    with pytest.raises(BadInputError, match="damaged"):
        PairSet.open(tmp_path / "set")


def test_open_images_takes_sets_and_folders(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "b.jpg").write_bytes(jpeg(1))
    (tmp_path / "a.jpg").write_bytes(jpeg(0))
    (tmp_path / "a.txt").write_text("words")
    folder, pairs = open_images(tmp_path), open_images(whole)
    assert [folder.name(i) for i in range(len(folder))] == ["a.jpg", "deep/b.jpg"]
    assert (folder.caption(0), folder.caption(1)) == ("words", None)
    assert pairs.name(1) == "eye-000001.jpg"
    assert folder.sha256(1) == pairs.sha256(1)
    with pytest.raises(BadInputError, match="not a folder"):
        open_images(tmp_path / "gone")


def test_a_folder_of_tars_and_loose_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(tar_bytes({"a.jpg": jpeg(1)}))
    (tmp_path / "b.jpg").write_bytes(jpeg(2))
    with pytest.raises(BadInputError, match="which of them"):
        open_images(tmp_path)


def test_a_kill_before_the_manifest_costs_nothing(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(writing, "_finish", fail)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / "set")
    write(tmp_path / "set", workers=2)
    assert fingerprint(tmp_path / "set") == fingerprint(whole)


def test_more_shards_than_open_files(tmp_path: Path) -> None:
    write_pair_set(tmp_path / "set", make, 70, description=description(), shard_size=1)
    pairs = PairSet.open(tmp_path / "set")
    assert [pairs.read(i).key for i in (0, 69, 0)] == ["eye-000000", "eye-000069", "eye-000000"]
    for pair in pairs:
        assert pair.image
    assert len(pairs._streams) <= 64


def test_a_key_that_stands_in_two_shards_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="stand twice"):
        write_pair_set(tmp_path / "set", lambda number: make(number % 7), 10, description=description(), shard_size=5)
    assert not (tmp_path / "set" / "manifest.json").exists()


@pytest.mark.parametrize("wrong", [{"count": 0}, {"shard_size": 0}, {"workers": 0}])
def test_sizes_under_one_are_usage_errors(wrong: dict[str, int], tmp_path: Path) -> None:
    arguments = {"count": 3, "shard_size": 5, "workers": 1, **wrong}
    count = arguments.pop("count")
    with pytest.raises(UsageError):
        write_pair_set(tmp_path / "set", make, count, description=description(), **arguments)


def test_two_writers_of_one_folder_are_kept_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writing, "_LOCK_TRIES", 1)

    def second(number: int) -> object:
        with pytest.raises(BadInputError, match="another process"):
            write_pair_set(tmp_path / "set", make, 3, description=description(), shard_size=5)
        return make(number)

    write_pair_set(tmp_path / "set", second, 3, description=description(), shard_size=5)
    assert len(PairSet.open(tmp_path / "set")) == 3


def test_a_maker_may_leave_numbers_out_and_they_are_counted(tmp_path: Path) -> None:
    def some(number: int) -> object:
        return make(number) if number % 4 else None

    manifest = write_pair_set(tmp_path / "set", some, 11, description=description(), shard_size=4)
    assert (manifest["counts"]["pairs"], manifest["counts"]["left_out"]) == (8, 3)
    assert [PairSet.open(tmp_path / "set").key(i) for i in (0, 3)] == ["eye-000001", "eye-000005"]
    with pytest.raises(BadInputError, match="none of the 3 pairs"):
        write_pair_set(tmp_path / "none", lambda _: None, 3, description=description())
