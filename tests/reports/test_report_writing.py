from __future__ import annotations

import json
import stat
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest

from ethicclip.errors import BadInputError
from ethicclip.files import read_json
from ethicclip.provenance import verify
from ethicclip.reports import Report, ReportSettings, verify_report, write_report
from ethicclip.reports.document import schema


@pytest.fixture
def write(tmp_path: Path):
    def run(world, name: str = "report", **settings):
        # Typst takes its time: the PDF has tests of its own.
        chosen = ReportSettings(**{"formats": ("html", "json"), **settings})
        return write_report(chosen, world.ledger, tmp_path / name, keys=world.keys)

    return run


def page(result) -> str:
    return (result.out / "report.html").read_text()


def test_the_same_ledger_gives_the_same_bytes(world, write) -> None:
    formats = ("html", "json", "pdf")
    one, two = write(world, "one", formats=formats), write(world, "two", formats=formats)
    names = sorted(path.name for path in one.out.iterdir())
    assert names == ["manifest.json", "report.html", "report.json", "report.pdf"]
    assert all((one.out / name).read_bytes() == (two.out / name).read_bytes() for name in names)
    assert one.manifest_sha256 == two.manifest_sha256
    assert one.report.written == one.report.ledger.head_signed


def test_it_is_small_and_quick(world, write) -> None:
    start = time.process_time()
    result = write(world, audience="restricted", formats=("html", "json", "pdf"))
    assert time.process_time() - start < 5, "CPU time, all threads: a loaded machine does not decide this"
    assert result.size_bytes < 10_000_000


def test_the_json_follows_the_published_schema(world, write) -> None:
    published = Path(__file__).parents[2] / "docs" / "schemas" / "report.schema.json"
    assert read_json(published) == schema(), "run `make docs`"
    written = read_json(write(world).out / "report.json")
    assert Report.model_validate_json(json.dumps(written)).to_json() == written
    assert written["schema"] == "ethicclip/report/1"


def test_the_first_page_says_what_matters(world, write) -> None:
    result = write(world, released_to="The eye clinic of the example hospital", purpose="Teaching")
    first = result.report.first_page
    assert (first.subject, first.verdict) == ("pairs", "PASS")
    assert "40 image-text pairs" in first.released
    assert first.released_to == "The eye clinic of the example hospital"
    assert "Fewer than 22 copies" in first.bound
    assert first.look_again == "2031-03-04" and first.audits_of_subject == 1
    assert [check.name for check in first.tested][:2] == ["Copies by local features", "Near-exact copies by pixels"]
    assert {"Membership inference", "Differential privacy"} <= {check.name for check in first.not_tested}
    text = page(result)
    assert "No differential privacy was requested; no epsilon is claimed." in text
    assert "Positive control" in text and "another set, not the released one" in text
    assert json.loads(json.dumps(result.to_json()))["verdict"] == "PASS"
    assert any("ethicclip verify" in line for line in result.lines())


@pytest.mark.parametrize(
    ("verdict", "word"), [("LEAK", "must not be released"), ("INCONCLUSIVE", "could not say"), ("PASS", "not a proof")]
)
def test_every_verdict_is_put_in_plain_words(make_world, write, verdict: str, word: str) -> None:
    result = write(make_world(verdict=verdict))
    assert result.report.first_page.verdict == verdict and word in page(result)


def test_a_set_that_nobody_audited_says_so(world, write) -> None:
    result = write(world, subject="sha256:" + world_model(world))
    assert result.report.first_page.verdict == "NOT RUN"
    assert result.report.first_page.look_again == "before any release"


def world_model(world) -> str:
    from ethicclip.provenance import lineage

    return lineage(world.ledger, "run/model.safetensors").focus.id.removeprefix("sha256:")


@pytest.mark.parametrize("word", ["compliant", "compliance", "anonymous", "guarantee of"])
def test_words_that_promise_too_much_do_not_stand_there(world, write, word: str) -> None:
    assert word not in page(write(world)).lower()


def test_simulated_eyes_are_called_so_everywhere(make_world, write) -> None:
    result = write(make_world(origin="synthetic"))
    assert result.report.simulated
    text = page(result)
    assert text.count("simulated") > 5 and "say nothing about real patients" in text
    rows = [row for framework in result.report.frameworks for row in framework.requirements]
    assert not any(row.state == "evidenced" and "leakage audit" in row.evidence for row in rows)
    assert not any(row.state == "evidenced" and "Zero-shot" in row.evidence for row in rows)


def test_an_edited_report_is_named(world, write) -> None:
    out = write(world).out
    assert verify(out).ok and verify_report(out, head=verify(world.ledger).head).ok
    path = out / "report.html"
    path.write_text(path.read_text().replace("PASS", "FINE"))
    outcome = verify(out)
    assert [finding.record for finding in outcome.findings] == ["report.html"]
    path.unlink()
    assert "missing" in verify(out).findings[0].problem


def test_a_broken_ledger_is_said_first(world, write) -> None:
    connection = duckdb.connect(str(world.ledger))
    connection.execute("UPDATE endings SET verdict = 'PASS', exit_code = 0 WHERE verdict = 'LEAK'").fetchall()
    connection.close()
    result = write(world)
    assert result.report.ledger.status == "broken"
    assert any("does not verify" in banner for banner in result.report.banners)
    assert any("endings row" in finding for finding in result.report.ledger.findings)
    states = {
        row.state for f in result.report.frameworks for row in f.requirements if "does not verify" in row.evidence
    }
    assert states == {"failed"}
    # File and ledger disagree about the planted set: the worse of the two stands.
    planted = next(audit for audit in result.report.audits if not audit.is_subject)
    assert planted.verdict == "LEAK"


def test_absent_and_changed_files_are_said(world, write) -> None:
    (world.folder / "metrics.json").unlink()
    (world.folder / "run" / "run.json").write_text("{}")
    result = write(world)
    evaluation, training = result.report.evaluations[0], result.report.trainings[0]
    assert "not where the ledger says" in evaluation.paper
    assert [(score.name, score.estimate) for score in evaluation.scores] == [("Balanced accuracy", 0.66)]
    assert "was changed after it was recorded" in training.paper
    assert training.facts[0].text == "1.912"
    verdict = world.folder / "audit" / "verdict.json"
    verdict.write_text(verdict.read_text().replace("is rejected", "is in danger"))
    result = write(world, "again")
    assert result.report.first_page.verdict == "PASS", "the ledger's own record of the verdict stands"
    assert "in danger" not in page(result) and "was changed" in result.report.audits[0].paper


def test_a_set_written_over_is_stale(world, write) -> None:
    from ethicclip.provenance import artifact_of_file

    manifest = world.folder / "pairs" / "manifest.json"
    manifest.write_text(manifest.read_text() + " ")
    with world.record("generate", {"count": 40, "engine": "phantom"}) as run:
        run.generate(artifact_of_file(manifest, kind="pair_set", origin="synthetic", alias="pairs"))
    result = write(world)
    assert result.report.first_page.stale and "Stale:" in page(result)


def test_a_restricted_report_is_marked_and_private(world, write) -> None:
    result = write(world, audience="restricted")
    assert stat.S_IMODE(result.out.stat().st_mode) == 0o700
    assert page(result).count("Restricted") >= 3
    planted = next(audit for audit in result.report.audits if not audit.is_subject)
    assert planted.sheet is not None and planted.flagged[0][1] == "reference_file"


def test_what_cannot_be_reported_is_bad_input(world, write, tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="answer to"):
        write(world, subject="nothing of that name")
    with pytest.raises(BadInputError, match="no ledger"):
        write_report(ReportSettings(), tmp_path / "absent.duckdb", tmp_path / "x", keys=world.keys)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("x")
    with pytest.raises(BadInputError, match="already holds"):
        write(world, "full")
    assert not any(path.name.endswith(".partial") for path in tmp_path.iterdir())


def test_a_ledger_of_one_failed_run_can_be_reported(tmp_path: Path, write, world) -> None:
    world.folder = tmp_path / "bare"
    with pytest.raises(RuntimeError), world.record("generate", {"count": 1}):
        raise RuntimeError
    result = write(world)
    assert result.report.first_page.verdict == "NOT RUN"
    assert "No synthetic set is recorded" in page(result)


def test_torch_is_never_imported(world, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from ethicclip.provenance import KeyStore;"
        "from ethicclip.reports import ReportSettings; assert 'duckdb' not in sys.modules;"
        "from ethicclip.reports import write_report;"
        f"write_report(ReportSettings(), Path({str(world.ledger)!r}), Path({str(tmp_path / 'out')!r}),"
        f" keys=KeyStore(Path({str(world.keys.folder)!r})));"
        "assert not {'torch', 'faiss', 'cv2', 'matplotlib'} & set(sys.modules), 'heavy'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
