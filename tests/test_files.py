"""Atomic writes: whole or absent, and a full disk is said."""

import errno
from pathlib import Path

import pytest

from ethicclip.errors import BadInputError, StorageError
from ethicclip.files import atomic_path, read_json, require_empty_or_absent, write_json, write_text


def test_a_failed_write_leaves_the_old_file_and_no_partial(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with pytest.raises(RuntimeError), atomic_path(target) as partial:
        partial.write_text("half")
        raise RuntimeError
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="disk is full"), atomic_path(tmp_path / "a"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_json_refuses_nan_and_keeps_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert list(tmp_path.iterdir()) == []


def test_broken_json_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("{")
    with pytest.raises(BadInputError, match=r"a\.json"):
        read_json(path)
    with pytest.raises(BadInputError, match="gone"):
        read_json(tmp_path / "gone.json")


def test_an_occupied_output_is_refused_and_partials_do_not_count(tmp_path: Path) -> None:
    require_empty_or_absent(tmp_path / "new")
    (tmp_path / ".x.1.partial").write_text("")
    require_empty_or_absent(tmp_path)
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(BadInputError, match=r"mine\.txt"):
        require_empty_or_absent(tmp_path)
    with pytest.raises(BadInputError, match="is a file"):
        require_empty_or_absent(tmp_path / "mine.txt")
