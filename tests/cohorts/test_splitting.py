"""Parts share no patient; the same call gives the same bytes; nothing else is overwritten."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ethicclip.cohorts import SplitSettings, read_cohort, split_cohort
from ethicclip.cohorts.assignment import LEFT_OUT, assign, quantities
from ethicclip.cohorts.joining import units
from ethicclip.errors import BadInputError, UsageError
from tests.cohorts.eyes import draw_eye, folder_of_eyes, save, touch, write_rows

NO_PICTURES = 1.0
"""A threshold at which near-duplicates are not looked for, so that files need not be pictures."""


@pytest.fixture(scope="module")
def eyes(tmp_path_factory) -> Path:
    return folder_of_eyes(tmp_path_factory.mktemp("eyes") / "clinic", [f"{i:03}" for i in range(20)])


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def unread(folder: Path, patients: list[str]) -> Path:
    """A cohort whose files are not pictures, in rows of the given patients."""
    names = [f"{i}.jpg" for i in range(len(patients))]
    touch(folder, *names)
    write_rows(folder / "cohort.csv", ("file", "patient_id"), list(zip(names, patients, strict=True)))
    return folder


def test_parts_hit_their_shares_and_share_nobody(eyes, tmp_path):
    result = split_cohort(SplitSettings(), read_cohort(eyes), tmp_path / "split")
    assert result.counts == {
        "reference": {"images": 16, "patients": 8},
        "control": {"images": 16, "patients": 8},
        "test": {"images": 8, "patients": 4},
    }
    parts = {name: read_cohort(tmp_path / "split" / name) for name in result.counts}
    assert sorted(patient for part in parts.values() for patient in part.patients()) == sorted(
        read_cohort(eyes).patients()
    )
    everyone = [set(part.patients()) for part in parts.values()]
    assert sum(map(len, everyone)) == len(set.union(*everyone)) == 20
    assert all(file.is_absolute() for file in parts["test"].files)
    assert not list((tmp_path / "split").rglob("*.jpg"))
    assert result.joined == {"exact_copy": 0, "near_duplicate": 0, "same_eye": 0}
    assert "reference: 16 images of 8 patients" in result.lines()
    assert json.loads(json.dumps(result.to_json()))["counts"] == result.counts


def test_the_same_call_again_changes_nothing_and_another_place_gets_the_same_bytes(eyes, tmp_path):
    cohort = read_cohort(eyes)
    first = split_cohort(SplitSettings(seed=3), cohort, tmp_path / "a")
    before = tree(tmp_path / "a")
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*")}
    again = split_cohort(SplitSettings(seed=3), read_cohort(eyes), tmp_path / "a")
    assert again.resumed and not first.resumed and again.counts == first.counts and again.digest == first.digest
    assert list(again.counts) == list(first.counts)
    assert times == {path: path.stat().st_mtime_ns for path in (tmp_path / "a").rglob("*")}
    split_cohort(SplitSettings(seed=3), cohort, tmp_path / "b", workers=1)
    assert tree(tmp_path / "b") == before
    split_cohort(SplitSettings(seed=4), cohort, tmp_path / "c")
    assert tree(tmp_path / "c")["test/cohort.csv"] != before["test/cohort.csv"]


def test_what_it_writes_is_for_its_owner_only(eyes, tmp_path):
    split_cohort(SplitSettings(), read_cohort(eyes), tmp_path / "split")
    for path in (tmp_path / "split" / "split.json", tmp_path / "split" / "test" / "cohort.csv"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_an_interrupted_split_is_finished_by_the_same_call(eyes, tmp_path):
    cohort = read_cohort(eyes)
    split_cohort(SplitSettings(), cohort, tmp_path / "whole")
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    (tmp_path / "cut" / "split.json").unlink()
    (tmp_path / "cut" / "test" / "cohort.csv").unlink()
    split_cohort(SplitSettings(), cohort, tmp_path / "cut")
    assert tree(tmp_path / "cut") == tree(tmp_path / "whole")


def test_a_folder_that_holds_something_else_is_refused_and_kept(eyes, tmp_path):
    cohort = read_cohort(eyes)
    out = tmp_path / "out"
    split_cohort(SplitSettings(), cohort, out)
    before = tree(out)
    with pytest.raises(BadInputError, match="other settings or another cohort"):
        split_cohort(SplitSettings(seed=9), cohort, out)
    with pytest.raises(BadInputError, match="other settings or another cohort"):
        split_cohort(SplitSettings(), cohort.subset(range(30)), out)
    assert tree(out) == before
    (out / "test" / "cohort.csv").write_text("file\n")
    with pytest.raises(BadInputError, match="was changed"):
        split_cohort(SplitSettings(), cohort, out)

    foreign = tmp_path / "foreign"
    touch(foreign, "letter.txt")
    with pytest.raises(BadInputError, match=r"letter\.txt"):
        split_cohort(SplitSettings(), cohort, foreign)
    assert list(tree(foreign)) == ["letter.txt"]
    touch(tmp_path, "plain")
    with pytest.raises(BadInputError, match="is a file"):
        split_cohort(SplitSettings(), cohort, tmp_path / "plain")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "split.json").write_text("[]")
    with pytest.raises(BadInputError, match="another kind"):
        split_cohort(SplitSettings(), cohort, tmp_path / "odd")


def test_simulated_people_stay_simulated_in_every_part(eyes, tmp_path):
    folder = shutil.copytree(eyes, tmp_path / "clinic")
    (folder / "simulated.json").write_text('{"simulated": true}')
    split_cohort(SplitSettings(), read_cohort(folder), tmp_path / "split")
    assert all(read_cohort(tmp_path / "split" / part).simulated for part in ("reference", "control", "test"))
    (tmp_path / "split" / "test" / "simulated.json").unlink()
    with pytest.raises(BadInputError, match="simulated"):
        split_cohort(SplitSettings(), read_cohort(folder), tmp_path / "split")


def test_copies_under_another_patient_keep_both_patients_together(tmp_path):
    folder = folder_of_eyes(tmp_path / "clinic", [f"{i}" for i in range(12)])
    cohort = read_cohort(folder)
    shutil.copy(cohort.files[0], cohort.files[22])  # patient 11 now holds patient 0's file
    moved = np.roll(draw_eye(2), (2, -2), axis=(0, 1))[:, ::-1]  # patient 10 has patient 1's eye: moved and mirrored
    save(cohort.files[20], np.ascontiguousarray(moved), quality=60)
    for seed in range(5):
        out = tmp_path / f"split{seed}"
        result = split_cohort(SplitSettings(seed=seed, parts={"a": 0.5, "b": 0.5}), read_cohort(folder), out)
        assert result.joined == {"exact_copy": 1, "near_duplicate": 1, "same_eye": 0}
        assert result.units == 10
        assert any("2 pairs of images" in line for line in result.lines())
        homes = {p: part for part in ("a", "b") for p in read_cohort(out / part).patients()}
        assert homes["0"] == homes["11"] and homes["1"] == homes["10"]
    joins = json.loads((tmp_path / "split0" / "split.json").read_text())["joins"]
    assert [(Path(j["file_a"]).name, j["reason"], j["mirrored"]) for j in joins] == [
        ("p0_left.jpg", "exact_copy", False),
        ("p1_left.jpg", "near_duplicate", True),
    ]


def test_a_given_matcher_joins_more(tmp_path):
    cohort = read_cohort(unread(tmp_path / "c", [f"{i}" for i in range(8)]))
    plan = SplitSettings(parts={"a": 0.5, "b": 0.5}, near_duplicate_threshold=NO_PICTURES)
    result = split_cohort(plan, cohort, tmp_path / "out", same_eye=lambda _: [(5, 0), (0, 5), (3, 3)])
    assert result.joined["same_eye"] == 1 and result.units == 7
    homes = {p: part for part in ("a", "b") for p in read_cohort(tmp_path / "out" / part).patients()}
    assert homes["0"] == homes["5"]
    with pytest.raises(BadInputError, match="other settings"):
        split_cohort(plan, cohort, tmp_path / "out")
    with pytest.raises(BadInputError, match="names rows"):
        split_cohort(plan, cohort, tmp_path / "other", same_eye=lambda _: [(0, 8)])


def test_unknown_patients_count_as_images_and_the_notes_say_so(tmp_path):
    touch(tmp_path / "c", *[f"scan{i}.jpg" for i in range(10)])
    result = split_cohort(
        SplitSettings(near_duplicate_threshold=NO_PICTURES), read_cohort(tmp_path / "c"), tmp_path / "out"
    )
    assert not result.patients_known and any("cannot be told apart" in note for note in result.notes)
    assert "reference: 4 images, patients unknown" in result.lines()
    assert read_cohort(tmp_path / "out" / "test").patient_ids is None


def test_too_few_patients_for_a_part(tmp_path):
    cohort = read_cohort(unread(tmp_path / "c", ["1", "1", "2", "2"]))
    with pytest.raises(BadInputError, match="too few patients"):
        split_cohort(SplitSettings(near_duplicate_threshold=NO_PICTURES), cohort, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_no_share_takes_is_left_out_and_said(tmp_path):
    cohort = read_cohort(unread(tmp_path / "c", [f"{i}" for i in range(10)]))
    plan = SplitSettings(parts={"small": 0.3}, near_duplicate_threshold=NO_PICTURES)
    result = split_cohort(plan, cohort, tmp_path / "out")
    assert result.counts == {"small": {"images": 3, "patients": 3}}
    assert result.left_out == {"images": 7, "patients": 7}
    assert any("left out: 7 images" in line for line in result.lines())


def test_strata_are_spread(tmp_path):
    names = [f"{i}.jpg" for i in range(40)]
    touch(tmp_path / "c", *names)
    rows = [(name, f"{i}", "rare" if i < 10 else "common") for i, name in enumerate(names)]
    write_rows(tmp_path / "c" / "cohort.csv", ("file", "patient_id", "label"), rows)
    cohort = read_cohort(tmp_path / "c")
    plan = SplitSettings(stratify="label", near_duplicate_threshold=NO_PICTURES)
    split_cohort(plan, cohort, tmp_path / "out")
    assert [read_cohort(tmp_path / "out" / p).column("label").count("rare") for p in plan.parts] == [4, 4, 2]
    with pytest.raises(BadInputError, match="no column 'lable'"):
        split_cohort(SplitSettings(stratify="lable"), cohort, tmp_path / "other")


def test_an_unreadable_image_is_named(tmp_path):
    folder = folder_of_eyes(tmp_path / "c", ["1", "2", "3"])
    (folder / "images" / "p1_left.jpg").write_bytes(b"no picture")
    with pytest.raises(BadInputError, match=r"p1_left\.jpg"):
        split_cohort(SplitSettings(), read_cohort(folder), tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "parts",
    [{}, {"a": 0.0}, {"a": -0.1, "b": 0.5}, {"a": 0.7, "b": 0.4}, {"A": 0.5}, {"../a": 0.5}, {"a b": 0.5}, {"": 0.5}],
)
def test_parts_that_cannot_be(parts):
    with pytest.raises(UsageError):
        SplitSettings.build({"parts": parts})


def test_shares_of_thirds_may_sum_to_a_hair_over_one():
    assert SplitSettings(parts={"a": 0.1 + 0.2, "b": 0.7}).parts["b"] == 0.7


patients_and_pairs = st.lists(st.integers(0, 12), min_size=1, max_size=40).flatmap(
    lambda ids: st.tuples(
        st.just([f"p{i}" for i in ids]),
        st.lists(st.tuples(st.integers(0, len(ids) - 1), st.integers(0, len(ids) - 1)), max_size=6),
    )
)


@settings(max_examples=150, deadline=None)
@given(patients_and_pairs, st.integers(0, 2**32 - 1), st.booleans())
def test_units_are_never_separated_and_the_seed_decides_all(case, seed, rest):
    patients, pairs = case
    groups = units(patients, pairs)
    assert sorted(row for rows in groups for row in rows) == list(range(len(patients)))
    shares = {"x": 0.5, "y": 0.3, "z": 0.1 if rest else 0.2}
    counts = quantities(groups, patients, None)
    parts = assign(counts, shares, np.random.default_rng(seed))
    assert parts == assign(counts, dict(reversed(shares.items())), np.random.default_rng(seed))
    assert set(parts) <= ({*shares, LEFT_OUT} if rest else set(shares))
    home = {row: part for rows, part in zip(groups, parts, strict=True) for row in rows}
    for a, b in pairs:
        assert home[a] == home[b]
    assert len({(patient, home[row]) for row, patient in enumerate(patients)}) == len(set(patients))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=20, max_size=80), st.integers(0, 2**32 - 1))
def test_shares_are_met_to_within_a_large_unit(sizes, seed):
    patients = [f"p{i}" for i, size in enumerate(sizes) for _ in range(size)]
    groups = units(patients, [])
    shares = {"x": 0.4, "y": 0.4, "z": 0.2}
    counts = quantities(groups, patients, None)
    parts = assign(counts, shares, np.random.default_rng(seed))
    for name, share in shares.items():
        mine = counts[[part == name for part in parts]].sum(axis=0)
        assert abs(mine - share * counts.sum(axis=0)).max() <= 4


def test_no_patient_is_favoured_by_place():
    counts = quantities([(i,) for i in range(10)], [f"{i}" for i in range(10)], None)
    hits = np.zeros(10)
    for seed in range(600):
        parts = assign(counts, {"a": 0.5, "b": 0.5}, np.random.default_rng(seed))
        hits += [part == "a" for part in parts]
    # Binomial(600, .5): standard deviation 12.2, so 5 of them hold for every place.
    assert (abs(hits - 300) < 62).all()
