"""What the report says of a comparison, from the file that `compare` writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ethicclip.cli.recording import file_artifact, record_comparison_metrics
from ethicclip.cohorts import read_cohort
from ethicclip.evaluation import CompareSettings, compare
from ethicclip.provenance import commit_cohort
from ethicclip.reports import ReportSettings, write_report
from tests.evaluation.test_compare import Bilingual, Blind
from tests.evaluation.worlds import make_cohort, three_classes


@pytest.fixture
def compared(world, tmp_path: Path) -> Any:
    """A ledger with a real comparison of painted eyes; the comparison's folder."""
    eyes = make_cohort(tmp_path / "eyes", [{"colour": "normal", **row} for row in three_classes()])
    with world.record("compare", {"label_column": "label"}) as run:
        run.use(commit_cohort(["cd" * 32], "clinic/test-2", world.keys, kind="cohort", origin="real"))
        settings = CompareSettings.build({"bootstrap": 200, "permutations": 50, "neighbours": 4})
        names = ("<b>run</b>", "builtin")
        out = world.folder / "comparison"
        result = compare(settings, Blind(), Bilingual(), read_cohort(eyes), out, names=names)
        run.generate(file_artifact("comparison", result.out / "comparison.json"))
        for path in sorted(result.out.glob("*.svg")):
            run.generate(file_artifact("figure", path))
        record_comparison_metrics(run, result.document)
    return result


def write(world, out: Path) -> Any:
    settings = ReportSettings(formats=("html", "json", "pdf"), subject="pairs")
    return write_report(settings, world.ledger, out, keys=world.keys)


def test_both_models_their_difference_and_their_likeness_are_told(world, compared, tmp_path: Path) -> None:
    result = write(world, tmp_path / "report")
    (part,) = result.report.comparisons
    assert part.cohort == "clinic/test-2" and part.unit == "patient"
    assert part.scores.columns == ("a: <b>run</b>", "b: builtin")
    rows = {row[0].name: row for row in part.scores.rows}
    first, second, gap = rows["Accuracy"]
    assert (first.estimate, second.estimate, gap.estimate) == pytest.approx((8 / 24, 23 / 24, 15 / 24))
    assert gap.low is not None and gap.low < 15 / 24 <= gap.high
    assert gap.low is not None and rows["Macro f1"][0].note == "" and "rarest class" in rows["Macro f1"][2].note
    assert "AUROC, cataract against the rest" in rows
    assert {score.name.partition(" ")[0] for score in part.likeness} == {"CKA", "Overlap"}
    assert "for unrelated pictures" in part.likeness[0].note and "by labels alone" in part.likeness[0].note
    assert [table.columns for table in part.languages] == [("English", "Chinese")] * 2
    assert part.languages[1].title == "b: builtin" and not part.recorded
    assert [picture.key for picture in part.figures] == ["differences", "likeness"]
    html = (result.out / "report.html").read_text(encoding="utf-8")
    assert "a: &lt;b&gt;run&lt;/b&gt; and b: builtin on clinic/test-2" in html and "<b>run</b>" not in html
    assert "b less a" in html and "b: builtin, asked in two languages" in html


def test_without_the_file_the_ledger_tells_the_differences(world, compared, tmp_path: Path) -> None:
    (compared.out / "comparison.json").write_text("{}")
    (part,) = write(world, tmp_path / "report").report.comparisons
    assert not part.scores.rows and "comparison.json" in part.paper
    recorded = {score.name: score for score in part.recorded}
    assert recorded["B minus a / accuracy"].estimate == pytest.approx(15 / 24)
