"""A run that learned from real patients: scores on them are refused, by id through the ledger and by picture."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from ethicclip.cli.unseen import training_of

from .conftest import Answer, World, call
from .test_schemas import check

QUICK = ("--set", "bootstrap=100", "--set", "figures=false", "--set", "single_statistics=false")


@dataclass(frozen=True)
class Clinic:
    """A population, its split, the pairs of one part, and what was trained on them."""

    world: World
    run: Path
    pairs: Path
    learned: Path
    others: Path


@pytest.fixture(scope="module")
def clinic(tmp_path_factory: pytest.TempPathFactory) -> Clinic:
    from ethicclip.generation import simulate_cohort

    root = tmp_path_factory.mktemp("clinic")
    world = World(root=root, ledger=root / "ledger.duckdb")
    simulate_cohort(root / "population", patients=16, seed=5, size=128)
    # From here on nothing says that these people are simulated: to the verbs they are real.
    (root / "population" / "simulated.json").unlink()
    parts = ("--parts", "learned=0.5,others=0.5")
    for arguments in (
        ("split", root / "population", "--out", root / "split", *parts),
        ("import", "cohort", root / "split" / "learned", "--out", root / "pairs", "--licence", "clinic only"),
        ("train", root / "pairs", "--out", root / "run", "--epochs", 1, "--batch-size", 8),
    ):
        answer = world.call(*arguments)
        assert answer.code == 0, answer.err
    return Clinic(
        world=world,
        run=root / "run",
        pairs=root / "pairs",
        learned=root / "split" / "learned",
        others=root / "split" / "others",
    )


def rewritten(cohort: Path, out: Path, change: Callable[[int, dict[str, str]], None]) -> Path:
    """A copy of a cohort's table with rows changed."""
    with (cohort / "cohort.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    for number, row in enumerate(rows):
        change(number, row)
    out.mkdir()
    with (out / "cohort.csv").open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return out


def evaluated(clinic: Clinic, cohort: Path, out: Path, *more: object) -> Answer:
    return clinic.world.call("evaluate", clinic.run, "--cohort", cohort, "--out", out, *QUICK, *more)


def test_patients_of_the_lineage_are_refused_without_being_named(clinic: Clinic, tmp_path: Path) -> None:
    answer = evaluated(clinic, clinic.learned, tmp_path / "out", "--json")
    assert answer.code == 3
    error = answer.json()["error"]
    assert "8 patient(s), 16 image(s) of population/learned" in error["details"][0]
    assert "--known-overlap population/learned" in error["next_step"]
    patients = {row["patient_id"] for row in csv.DictReader((clinic.learned / "cohort.csv").open())}
    assert not any(patient in answer.err for patient in patients)
    assert not (tmp_path / "out").exists()


def test_the_other_part_of_the_split_is_clear(clinic: Clinic, tmp_path: Path) -> None:
    answer = evaluated(clinic, clinic.others, tmp_path / "out", "--json")
    assert answer.code == 0, answer.err
    assert check(answer.json()) == "metrics"
    found = answer.json()["contamination"]
    assert (found["state"], found["shared"], found["compared"]) == ("CLEAR", [], ["population/learned"])
    assert any("its pictures were not" in caveat for caveat in answer.json()["caveats"])
    answer = evaluated(clinic, clinic.others, tmp_path / "pictures", "--json", "--trained-on", clinic.pairs)
    assert answer.code == 0, answer.err
    found = answer.json()["contamination"]
    assert (found["state"], found["caveats"]) == ("CLEAR", [])
    assert found["compared"] == ["population/learned", "pairs"]


def test_an_overlap_that_is_named_is_scored_and_said(clinic: Clinic, tmp_path: Path) -> None:
    answer = evaluated(clinic, clinic.learned, tmp_path / "out", "--json", "--known-overlap", "population/learned")
    assert answer.code == 0, answer.err
    document = answer.json()
    assert document["contamination"]["state"] == "SHARED"
    assert document["contamination"]["shared"][0]["patients"] == 8
    assert any("trained on eyes of this cohort" in caveat for caveat in document["caveats"])
    # Naming another source does not help.
    assert evaluated(clinic, clinic.learned, tmp_path / "two", "--known-overlap", "elsewhere").code == 3


def test_pictures_under_other_ids_and_encodings_are_found(clinic: Clinic, tmp_path: Path) -> None:
    # Eyes with several conditions did not become pairs; behind a cataract there is little to recognise.
    with (clinic.learned / "cohort.csv").open(encoding="utf-8", newline="") as stream:
        first = [
            number for number, row in enumerate(csv.DictReader(stream)) if row["label"] in ("normal", "dr", "myopia")
        ][:2]

    def disguise(number: int, row: dict[str, str]) -> None:
        row["patient_id"] = f"someone-{number // 2}"
        if number in first:
            with Image.open(row["file"]) as picture:
                row["file"] = str(tmp_path / f"again{number}.jpg")
                picture.resize((120, 120)).save(row["file"], quality=90)

    def keep_two(source: Path, out: Path) -> Path:
        lines = (source / "cohort.csv").read_text().splitlines()
        out.mkdir()
        others = (clinic.others / "cohort.csv").read_text().splitlines()[1:]
        (out / "cohort.csv").write_text("\n".join([lines[0], *(lines[1 + number] for number in first), *others]) + "\n")
        return out

    disguised = keep_two(rewritten(clinic.learned, tmp_path / "disguised", disguise), tmp_path / "mixed")
    assert evaluated(clinic, disguised, tmp_path / "blind", "--json").json()["contamination"]["state"] == "CLEAR"
    answer = evaluated(clinic, disguised, tmp_path / "out", "--json", "--trained-on", clinic.pairs)
    assert answer.code == 3
    assert answer.json()["error"]["details"] == ["2 near-duplicate(s) of pairs"]


def test_what_cannot_be_compared_is_said(clinic: Clinic, tmp_path: Path) -> None:
    elsewhere = ("--ledger", tmp_path / "new.duckdb")
    arguments = ("evaluate", clinic.run, "--cohort", clinic.learned, *QUICK, "--json", *elsewhere)
    answer = call(*arguments, "--out", tmp_path / "out")
    assert answer.code == 0, answer.err
    assert answer.json()["contamination"]["state"] == "NOT_CHECKED"
    assert any("could not be compared" in caveat for caveat in answer.json()["caveats"])
    # The pair set on disk tells without any ledger.
    answer = call(*arguments, "--out", tmp_path / "two", "--trained-on", clinic.pairs)
    assert answer.code == 3
    assert "6 patient(s), 12 near-duplicate(s) of pairs" in answer.err
    foreign = tmp_path / "foreign"
    shutil.copytree(clinic.run, foreign)
    (foreign / "run.json").unlink()
    answer = call("evaluate", foreign, "--cohort", clinic.others, *QUICK, "--json", *elsewhere, "--out", tmp_path / "f")
    assert "is not known" in answer.json()["contamination"]["caveats"][0]


def test_the_ledger_knows_weights_without_a_run_record(clinic: Clinic, tmp_path: Path) -> None:
    foreign = tmp_path / "foreign"
    shutil.copytree(clinic.run, foreign)
    (foreign / "run.json").unlink()
    arguments = ("evaluate", foreign, *QUICK, "--json", "--out", tmp_path / "out")
    assert clinic.world.call(*arguments, "--cohort", clinic.learned).code == 3
    # Without patients nothing can be said by id, and the pictures were not compared.
    with (clinic.others / "cohort.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    (tmp_path / "nameless").mkdir()
    lines = []
    for number, row in enumerate(rows):
        shutil.copy(row["file"], tmp_path / "nameless" / f"{number}.jpg")
        lines.append(f"{number}.jpg,{row['label']}")
    (tmp_path / "nameless" / "cohort.csv").write_text("\n".join(["file,label", *lines]) + "\n")
    answer = clinic.world.call(*arguments, "--cohort", tmp_path / "nameless")
    assert answer.code == 0, answer.err
    assert answer.json()["contamination"]["state"] == "NOT_CHECKED"
    assert any("could not be compared" in caveat for caveat in answer.json()["caveats"])


def test_a_set_that_it_was_not_trained_on_is_a_usage_error(clinic: Clinic, tmp_path: Path) -> None:
    answer = clinic.world.call("generate", "--count", 2, "--size", 128, "--out", tmp_path / "pairs")
    assert answer.code == 0
    answer = evaluated(clinic, clinic.others, tmp_path / "out", "--trained-on", tmp_path / "pairs")
    assert answer.code == 2
    assert "other digests" in answer.err


def test_a_run_that_goes_on_from_another_inherits_what_it_saw(clinic: Clinic, tmp_path: Path) -> None:
    record = json.loads((clinic.run / "run.json").read_text())
    record["data"] = [{"digest": "0" * 64, "origin": "synthetic", "pairs": 1, "licence": "CC0-1.0"}]
    record["settings"]["privacy"] = {"start": str(clinic.run)}
    (tmp_path / "run.json").write_text(json.dumps(record))
    found = training_of(tmp_path)
    assert found.data is not None
    assert len(found.data) == 2
    assert found.weights == training_of(clinic.run).weights
    assert found.real_digests == training_of(clinic.run).real_digests != frozenset()


def test_compare_asks_for_both_runs_and_writes_one_document(clinic: Clinic, tmp_path: Path) -> None:
    out, quick = tmp_path / "out", ("--set", "bootstrap=100", "--set", "permutations=20")
    arguments = ("compare", "builtin", clinic.run, "--cohort", clinic.learned, "--out", out, *quick)
    assert clinic.world.call(*arguments).code == 3
    arguments = ("compare", "builtin", clinic.run, "--cohort", clinic.others, "--out", out, *quick, "--json")
    answer = clinic.world.call(*arguments)
    assert answer.code == 0, answer.err
    document = answer.json()
    assert check(document) == "comparison"
    assert [document["models"][side]["name"] for side in "ab"] == ["builtin", "run"]
    assert document["contamination"]["a"]["state"] == "NO_REAL_DATA"
    assert document["contamination"]["b"]["state"] == "CLEAR"
    assert any(caveat.startswith("b: the patients") for caveat in document["caveats"])
    shown = clinic.world.call("runs", "--json").json()["runs"][-1]
    assert (shown["verb"], shown["status"]) == ("compare", "finished")


def test_retrieval_through_the_command_line(clinic: Clinic, tmp_path: Path) -> None:
    answer = clinic.world.call("evaluate", "builtin", "--pairs", clinic.pairs, "--out", tmp_path / "out", "--json")
    assert answer.code == 0, answer.err
    assert check(answer.json()) == "retrieval"
    assert answer.json()["counts"]["units"] == 6
    for wrong in (
        ("evaluate", "builtin", "--out", tmp_path / "x"),
        ("evaluate", "builtin", "--pairs", clinic.pairs, "--cohort", clinic.others, "--out", tmp_path / "x"),
        ("evaluate", "builtin", "--pairs", clinic.pairs, "--classes", "normal,dr", "--out", tmp_path / "x"),
    ):
        assert clinic.world.call(*wrong).code == 2
    assert not (tmp_path / "x").exists()
