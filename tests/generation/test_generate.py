"""The verb: a pair set on disk whose bytes nothing but the settings decides; a plan; a simulated population."""

from __future__ import annotations

import csv
import hashlib
import json
import re
from pathlib import Path

import pytest

from ethicclip.errors import BadInputError, UsageError
from ethicclip.generation import GenerateSettings, PhantomEngine, generate, plan, preview, simulate_cohort
from ethicclip.generation.catalogue import describe, entries
from ethicclip.generation.marking import DIGITAL_SOURCE_TYPE, source_type
from ethicclip.imaging import read_image
from ethicclip.pairs import PairSet
from ethicclip.settings import resolve


def tree_hash(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_workers_change_no_byte_and_the_set_reads_back(tmp_path: Path) -> None:
    settings = GenerateSettings(count=8, size=128, seed=2, shard_size=3)
    one = generate(settings, tmp_path / "one", workers=1)
    two = generate(settings, tmp_path / "two", workers=2)
    assert tree_hash(tmp_path / "one") == tree_hash(tmp_path / "two")
    assert one.manifest_sha256 == two.manifest_sha256
    assert sum(one.labels.values()) >= 8
    pairs = PairSet.open(tmp_path / "one", verify=True)
    engine = PhantomEngine(settings)
    for index in (0, 7):
        pair, drawn = pairs.read(index), engine.pair(index)
        assert pair.image == drawn.image
        assert pair.caption == drawn.caption
        assert pair.record["findings"] == drawn.record["findings"]
    manifest = json.loads((tmp_path / "one" / "manifest.json").read_text())
    assert manifest["origin"] == "synthetic"
    assert DIGITAL_SOURCE_TYPE in manifest["marking"]
    assert any("one pixel is" in note for note in manifest["notes"])


def test_the_same_call_again_keeps_what_is_there(tmp_path: Path) -> None:
    settings = GenerateSettings(count=4, size=128, shard_size=2)
    first = generate(settings, tmp_path / "set")
    again = generate(settings, tmp_path / "set")
    assert first.manifest_sha256 == again.manifest_sha256
    with pytest.raises(BadInputError):
        generate(GenerateSettings(count=4, size=128, shard_size=2, seed=1), tmp_path / "set")


def test_the_record_is_complete() -> None:
    record = PhantomEngine(GenerateSettings(count=1, size=128)).pair(0).record
    assert set(record) >= {
        "findings", "labels", "grade", "eye", "captions", "seed", "index", "generator", "patient_id",
    }  # fmt: skip
    assert record["patient_id"] is None
    assert record["grade"] in range(5)
    json.dumps(record, allow_nan=False)


def test_the_plan_counts_and_writes_nothing(tmp_path: Path) -> None:
    ticks = iter([10.0, 13.0])
    planned = plan(GenerateSettings(count=1000, size=128, shard_size=300), workers=2, clock=lambda: next(ticks))
    # 6 pictures in 3 s: half a second each, 1000 of them by two workers.
    assert planned.seconds == pytest.approx(250)
    assert planned.shards == 4
    assert 3_000_000 < planned.disk_bytes < 40_000_000
    assert planned.labels["normal"] > 100
    assert planned.to_json()["count"] == 1000
    assert len(planned.lines()) == 4
    assert not list(tmp_path.iterdir())


def test_balanced_and_prevalence_sampling_differ() -> None:
    ticks = iter(range(100))
    shares = {}
    for sampling in ("balanced", "prevalence"):
        settings = GenerateSettings.build({"count": 400, "size": 128, "sampling": sampling})
        shares[sampling] = plan(settings, clock=lambda: float(next(ticks))).labels["normal"] / 400
    assert shares["balanced"] < 0.3
    assert shares["prevalence"] > 0.6


@pytest.mark.parametrize(
    "override",
    [
        "size=100",
        "size=2048",
        "count=0",
        "seed=-1",
        "languages=[en, en]",
        "languages=[]",
        "format=gif",
        "findings.dr_grade=5",
        "findings.age=[80, 60]",
        "findings.pigmentation=[0, 2]",
        "findings.conditions=[]",
        "findings.conditions=[normal, glaucoma]",
        "findings.conditions=[toothache]",
        "findings.colour=red",
    ],
)
def test_impossible_settings_are_refused_by_name(override: str) -> None:
    with pytest.raises(UsageError, match=override.split("=")[0].split(".")[0]):
        resolve(GenerateSettings, verb="generate", overrides=["count=1", override])


def test_findings_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    settings = resolve(
        GenerateSettings,
        verb="generate",
        overrides=["count=1", "findings.conditions=[normal]", "findings.cup_ratio=[0.9, 0.95]"],
    )
    with pytest.raises(UsageError, match="normal"):
        generate(settings, tmp_path / "set")
    settings = resolve(GenerateSettings, verb="generate", overrides=["count=1", "findings.camera=polaroid"])
    with pytest.raises(UsageError, match="polaroid"):
        generate(settings, tmp_path / "set")


def test_a_simulated_population_looks_like_a_cohort(tmp_path: Path) -> None:
    out = simulate_cohort(tmp_path / "people", patients=5, seed=3, size=128, repeat_share=0.5)
    with (out / "cohort.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["patient_id"] for row in rows} == {f"S{number:06d}" for number in range(5)}
    assert {(row["patient_id"], row["eye"]) for row in rows} == {
        (f"S{number:06d}", side) for number in range(5) for side in ("left", "right")
    }
    assert len(rows) > 10
    assert set(rows[0]) >= {"file", "patient_id", "eye", "label", "dr_grade", "glaucoma", "amd", "cataract", "myopia"}
    for row in rows:
        assert source_type((out / row["file"]).read_bytes()) == DIGITAL_SOURCE_TYPE
    assert json.loads((out / "simulated.json").read_text())["simulated"] is True
    assert "No person here exists" in (out / "README.md").read_text()
    again = simulate_cohort(tmp_path / "again", patients=5, seed=3, size=128, repeat_share=0.5)
    assert tree_hash(out) == tree_hash(again)
    with pytest.raises(BadInputError):
        simulate_cohort(out, patients=5)


@pytest.mark.parametrize("wrong", [{"patients": 0}, {"patients": 2, "size": 64}, {"patients": 2, "repeat_share": 1.5}])
def test_an_impossible_population_is_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    with pytest.raises(UsageError, match=list(wrong)[-1]):
        simulate_cohort(tmp_path / "people", **wrong)  # type: ignore[arg-type]
    assert not (tmp_path / "people").exists()


def test_a_larger_population_begins_with_the_smaller_one(tmp_path: Path) -> None:
    few = simulate_cohort(tmp_path / "few", patients=1, seed=5, size=128)
    more = simulate_cohort(tmp_path / "more", patients=2, seed=5, size=128)
    for path in (few / "images").iterdir():
        assert path.read_bytes() == (more / "images" / path.name).read_bytes()


def test_the_contact_sheet_has_a_row_for_every_condition(tmp_path: Path) -> None:
    sheet = preview(tmp_path / "sheet.png", size=128, columns=1)
    pixels = read_image(sheet)
    # 12 conditions, retinopathy by 4 grades, AMD by 4 stages, occlusion by 2 types, 5 defects; titles of 22 pixels.
    assert len(entries()) == 12 + 3 + 3 + 1 + 5
    assert pixels.shape == (len(entries()) * (128 + 22), 128, 3)
    assert source_type(sheet.read_bytes()) == DIGITAL_SOURCE_TYPE


def test_every_entry_of_the_catalogue_says_what_it_is() -> None:
    for number, entry in enumerate(entries()):
        if number % 4 == 0:
            described = describe(entry, seed=number)
            assert described.signs
            assert described.caption
            assert re.search("[\u4e00-\u9fff]", described.caption_zh)
            assert "100 %" in described.signs[0] or entry.defect
