"""What every export holds to: the same bytes, nothing of a patient, hostile names harmless, mistakes named."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from ethicclip.cli.export import FormatName
from ethicclip.errors import BadInputError, UsageError
from ethicclip.exports import Format, export
from ethicclip.exports.markdown import plain
from ethicclip.provenance import read_ledger
from tests.reports.test_report_page import HOSTILE

FILES = (Format.PROV, Format.INTOTO, Format.OPENLINEAGE, Format.DATASET_CARD, Format.MODEL_CARD)


def test_the_verb_knows_every_format() -> None:
    assert [name.value for name in FormatName] == [format_.value for format_ in Format]


@pytest.mark.parametrize("format_", [*FILES, Format.RO_CRATE])
def test_same_ledger_same_bytes_and_nothing_of_a_patient(world, tmp_path: Path, format_: Format) -> None:
    written = []
    for name in ("one", "two"):
        out = export(format_, world.ledger, tmp_path / name, keys=world.keys).out
        files = sorted(path for path in (out.rglob("*") if out.is_dir() else [out]) if path.is_file())
        written.append({path.relative_to(tmp_path / name).as_posix(): path.read_bytes() for path in files})
    assert written[0] == written[1] and written[0]
    for data in written[0].values():
        assert not any(secret.encode() in data for secret in world.secrets)
        assert str(world.folder).encode() not in data


def test_a_run_or_an_artifact_can_be_asked_for(world, tmp_path: Path) -> None:
    run = read_ledger(world.ledger).runs[1]
    out = export(Format.PROV, world.ledger, tmp_path / "run.json", subject=run.run_id, keys=world.keys).out
    assert list(json.loads(out.read_text())["activity"]) == [f"run:{run.run_id}"]
    out = export(Format.PROV, world.ledger, tmp_path / "pairs.json", subject="pairs", keys=world.keys).out
    assert len(json.loads(out.read_text())["activity"]) == 4, "made by one run, used by an audit, a training, a score"
    with pytest.raises(UsageError, match="not model"):
        export(Format.MODEL_CARD, world.ledger, tmp_path / "x", subject="pairs", keys=world.keys)
    with pytest.raises(BadInputError, match="answer to"):
        export(Format.PROV, world.ledger, tmp_path / "x", subject="nothing", keys=world.keys)
    with pytest.raises(UsageError, match="needs a pair set"):
        export(Format.CLIP_BENCHMARK, world.ledger, tmp_path / "x", keys=world.keys)
    with pytest.raises(BadInputError, match="no ledger"):
        export(Format.PROV, tmp_path / "absent.duckdb", tmp_path / "x", keys=world.keys)


def test_a_broken_ledger_is_said(world, tmp_path: Path) -> None:
    connection = duckdb.connect(str(world.ledger))
    connection.execute("UPDATE runs SET verb = 'x' WHERE row = 1").fetchall()
    connection.close()
    result = export(Format.PROV, world.ledger, tmp_path / "x", keys=world.keys)
    assert any("does not verify" in note for note in result.notes)


def test_hostile_names_stay_text(make_world, tmp_path: Path) -> None:
    world = make_world(captions=HOSTILE, cohort="[x](javascript:alert(1))<img src=x onerror=alert(1)>\u202e|`")
    markup = "\n\n# Heading\n---\nlicense: mit\n<script>alert(1)</script> ![x](http://evil.example/x.png) | a | b"
    with world.record("generate", {"engine": markup, "note": "x" * 5000}) as run:
        run.note_exit(0, markup)
    for format_ in FILES:
        out = export(format_, world.ledger, tmp_path / str(format_), keys=world.keys).out
        text = out.read_text(encoding="utf-8")
        if format_ in (Format.DATASET_CARD, Format.MODEL_CARD):
            body = text.split("\n---\n", 1)[1]
            assert (
                "<" not in body and not re.search(r"(?<!\\)\]\(", body) and "://" not in body and "\u202e" not in body
            )
            assert text.count("\n---\n") == 1 and not re.search(r"^# Heading", body, re.MULTILINE)


def test_text_in_markdown_is_text() -> None:
    assert plain("a *b* [c](d) <e> | f\n# g") == "a \\*b\\* \\[c\\](d) &#60;e&#62; &#124; f \\# g"
    assert (
        plain("- item") == "\\- item"
        and plain("1. item") == "1 . item"
        and plain("0.66 [a]") == "0.66 \\[a\\]"
        and plain("well-lit") == "well-lit"
    )


def test_torch_is_never_imported(world, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from ethicclip.exports import Format, export;"
        "from ethicclip.provenance import KeyStore\n"
        f"for f in (Format.PROV, Format.INTOTO, Format.MODEL_CARD):\n"
        f"    export(f, Path({str(world.ledger)!r}), Path({str(tmp_path / 'out')!r}),"
        f" keys=KeyStore(Path({str(world.keys.folder)!r})))\n"
        "assert not {'torch', 'faiss', 'cv2', 'matplotlib'} & set(sys.modules), 'heavy'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
