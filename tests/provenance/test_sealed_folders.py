from __future__ import annotations

import json
from pathlib import Path

import pytest

from ethicclip.errors import BadInputError
from ethicclip.provenance import KeyStore, read_ledger, seal_folder, verify


@pytest.fixture
def sealed(ledger: Path, keys: KeyStore, tmp_path: Path) -> Path:
    folder = tmp_path / "report"
    (folder / "pictures").mkdir(parents=True)
    (folder / "report.html").write_text("<p>all good</p>")
    (folder / "pictures" / "a.png").write_bytes(b"png")
    seal_folder(folder, kind="report", snapshot=read_ledger(ledger), keys=keys, time="2030", facts={"audience": "x"})
    return folder


def named(folder: Path, **more) -> list[str]:
    return [f"{finding.table} {finding.record}" for finding in verify(folder, **more).findings]


def test_an_untouched_folder_is_intact(sealed: Path, ledger: Path, keys: KeyStore) -> None:
    head = read_ledger(ledger).heads[-1].hash
    for target in (sealed, sealed / "manifest.json", sealed / "report.html"):
        outcome = verify(target, head=head, known_key=keys.public_key())
        assert outcome.ok and outcome.kind == "report" and outcome.checked == {"files": 2}


def test_edited_missing_and_added_files_are_named(sealed: Path) -> None:
    (sealed / "report.html").write_text("<p>all better</p>")
    (sealed / "pictures" / "a.png").unlink()
    (sealed / "extra").write_text("x")
    assert named(sealed) == ["file pictures/a.png", "file report.html"]
    assert any("extra was added" in note for note in verify(sealed).notes)


def test_an_edited_manifest_is_named(sealed: Path, tmp_path: Path) -> None:
    path = sealed / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "facts": {"audience": "y"}}))
    assert named(sealed) == ["manifest.json signature"]
    path.write_text(json.dumps({**manifest, "ledger_head": {**manifest["ledger_head"], "seq": 1}}))
    assert named(sealed) == ["manifest.json signature", "manifest.json ledger_head"]
    path.write_text(json.dumps({**manifest, "files": [{"path": "../keys/signing.key", "sha256": "0"}]}))
    assert "manifest.json file '../keys/signing.key'" in named(sealed)
    path.write_text("{")
    with pytest.raises(BadInputError):
        verify(sealed)


def test_a_folder_signed_anew_by_another_is_caught(sealed: Path, ledger: Path, keys: KeyStore, tmp_path: Path) -> None:
    thief = KeyStore(tmp_path / "thief")
    (sealed / "report.html").write_text("<p>all better</p>")
    seal_folder(sealed, kind="report", snapshot=read_ledger(ledger), keys=thief, time="2030", facts={})
    assert named(sealed) == [f"manifest.json key {thief.public_key()}"]
    assert len(named(sealed, known_key=keys.public_key())) == 2


def test_a_head_held_elsewhere_is_compared(sealed: Path) -> None:
    assert named(sealed, head="0" * 64) == ["manifest.json ledger_head"]


def test_what_is_nothing_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="nothing at"):
        verify(tmp_path / "absent")
    with pytest.raises(BadInputError, match="neither"):
        verify(tmp_path)
