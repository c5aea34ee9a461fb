"""The whole audit on simple simulated eyes: planted copies are found, clean sets pass, the rest is inconclusive."""

from __future__ import annotations

import csv
import json
import stat
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from ethicclip.audits import AuditResult, AuditSettings, audit_leakage, leakage, prepare_real
from ethicclip.audits.ladder import plant
from ethicclip.cohorts import Cohort
from ethicclip.errors import BadInputError, UsageError
from ethicclip.imaging import Pixels
from ethicclip.pairs import open_images

from .eyes import Images, cohort_of, draw_eye

PATIENTS = 40
SMALL = {
    "side": 192,
    "keypoints": 200,
    "voting_keypoints": 120,
    "candidates": 3,
    "impostor_pictures": 48,
    "power_copies": 12,
    "required_kinds": ("flip", "jpeg50"),
    "exchangeable": True,
    "max_leak_rate": 0.2,
}


def settings(**over: object) -> AuditSettings:
    return AuditSettings.build({**SMALL, **over})


@pytest.fixture(scope="module")
def eyes() -> dict[str, list[Pixels]]:
    return {
        "reference": [draw_eye(i) for i in range(PATIENTS)],
        "control": [draw_eye(1000 + i) for i in range(PATIENTS)],
        "clean": [draw_eye(2000 + i) for i in range(40)],
    }


@pytest.fixture(scope="module")
def sides(eyes: dict[str, list[Pixels]], tmp_path_factory: pytest.TempPathFactory) -> tuple[Cohort, Cohort]:
    folder = tmp_path_factory.mktemp("cohorts")
    return (
        cohort_of(folder / "r", eyes["reference"], [f"R{i:03d}" for i in range(PATIENTS)], "reference"),
        cohort_of(folder / "c", eyes["control"], [f"C{i:03d}" for i in range(PATIENTS)], "control"),
    )


@pytest.fixture(scope="module")
def planted(eyes: dict[str, list[Pixels]]) -> Images:
    kinds = ("jpeg50", "flip", "rotation15", "crop90")
    copies = [plant(kinds[i % 4], eyes["reference"][i], np.random.default_rng(i)) for i in range(24)]
    names = [f"clean{i}.png" for i in range(40)] + [f"copy{i}.png" for i in range(24)]
    return Images([*eyes["clean"], *copies], names)


@pytest.fixture(scope="module")
def leak(
    planted: Images, sides: tuple[Cohort, Cohort], tmp_path_factory: pytest.TempPathFactory
) -> tuple[AuditResult, Path]:
    out = tmp_path_factory.mktemp("audits") / "leak"
    return audit_leakage(settings(scores=True), planted, *sides, out), out


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_planted_copies_are_found_and_named(leak: tuple[AuditResult, Path], sides: tuple[Cohort, Cohort]) -> None:
    result, out = leak
    assert result.verdict == "LEAK"
    flagged = rows(out / "flagged.csv")
    copies = [row for row in flagged if row["file"].startswith("copy")]
    assert len(copies) >= 23
    assert len(flagged) - len(copies) <= 2
    for row in copies:
        number = int(row["file"].removeprefix("copy").removesuffix(".png"))
        assert row["reference_file"] == str(sides[0].files[number])
        assert ("flip" in row["transformation"]) == (number % 4 == 1)
        assert row["verified"] in {"yes", "no"}
    turned = [row["transformation"] for row in copies if int(row["file"][4:-4]) % 4 == 2]
    assert sum("rotation 15" in name or "rotation -15" in name for name in turned) >= 4


def test_scores_rank_every_image_without_ties(leak: tuple[AuditResult, Path]) -> None:
    scores = {row["file"]: float(row["score"]) for row in rows(leak[1] / "scores.csv")}
    assert len(scores) == 64
    positive = [score for score in scores.values() if score > 0]
    assert len(set(positive)) == len(positive)
    copies = [score for name, score in scores.items() if name.startswith("copy")]
    clean = [score for name, score in scores.items() if name.startswith("clean")]
    assert sum(score > max(clean) for score in copies) >= 23


def test_the_folder_is_restricted_and_the_verdict_names_nobody(
    leak: tuple[AuditResult, Path], sides: tuple[Cohort, Cohort]
) -> None:
    result, out = leak
    assert stat.S_IMODE(out.stat().st_mode) == 0o700
    assert "RESTRICTED" in (out / "RESTRICTED.txt").read_text()
    assert (out / "contact_sheet.png").stat().st_size > 10_000
    text = (out / "verdict.json").read_text()
    document = json.loads(text)
    assert document == json.loads(json.dumps(result.document))
    assert document["schema"] == "ethicclip/verdict/1"
    for cohort in sides:
        assert not any(file.name in text or str(file) in text for file in cohort.files)
        assert cohort.patient_ids is not None
        assert not any(f'"{patient}"' in text for patient in cohort.patient_ids)


def test_swapping_the_sides_mirrors_the_result(
    leak: tuple[AuditResult, Path], planted: Images, sides: tuple[Cohort, Cohort], tmp_path: Path
) -> None:
    before = leak[0].document
    after = audit_leakage(settings(power_copies=0), planted, sides[1], sides[0], tmp_path / "out").document
    assert after["target_decoy"]["reference_wins"] == before["target_decoy"]["control_wins"]
    assert after["target_decoy"]["control_wins"] == before["target_decoy"]["reference_wins"]
    assert after["target_decoy"]["rejected_patients"] == 0
    assert after["confirmed"]["images"] == 0
    assert after["confirmed"]["impostor_tail"]["n"] == before["confirmed"]["impostor_tail"]["n"]
    assert after["reference_share"]["estimate"] == pytest.approx(1 - before["reference_share"]["estimate"])
    assert after["verdict"] == "INCONCLUSIVE"


def test_same_inputs_same_bytes_for_any_number_of_workers(
    leak: tuple[AuditResult, Path], planted: Images, sides: tuple[Cohort, Cohort], tmp_path: Path
) -> None:
    audit_leakage(settings(scores=True), planted, *sides, tmp_path / "out", workers=1)
    files = [file for file in sorted(leak[1].rglob("*")) if file.is_file()]
    assert any(file.parent.name == "pairs" for file in files)
    for file in files:
        again = tmp_path / "out" / file.relative_to(leak[1])
        assert again.read_bytes() == file.read_bytes(), file.name


def test_a_side_prepared_once_gives_the_audits_of_a_whole_one(
    planted: Images, sides: tuple[Cohort, Cohort], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two checks against one prepared side: every file is what a whole audit writes; only the set is described anew."""
    asked = settings(power_copies=0, impostor_pictures=8, descriptor="local,copy", scores=True)
    few = (sides[0].subset(range(6)), sides[1].subset(range(6)))
    images = Images(planted.pictures[38:43], planted.names[38:43])
    real = prepare_real(asked, *few)
    described: list[str] = []
    plainly = leakage.describe

    def noted(*given: Any, **named: Any) -> Any:
        described.append(str(named["what"]))
        return plainly(*given, **named)

    monkeypatch.setattr(leakage, "describe", noted)
    for name in ("first", "second"):
        audit_leakage(asked, images, *few, tmp_path / name, real=real)
    assert described == ["the synthetic set"] * 2
    audit_leakage(asked, images, *few, tmp_path / "whole")
    files = [file.relative_to(tmp_path / "whole") for file in (tmp_path / "whole").rglob("*") if file.is_file()]
    assert Path("verdict.json") in files and len(rows(tmp_path / "whole" / "flagged.csv")) >= 2
    # A whole audit keeps the vectors of both sides; a check keeps its samples' only.
    for file in (file for file in files if file.parts[0] != "embeddings"):
        whole = (tmp_path / "whole" / file).read_bytes()
        assert whole == (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes(), file
    with pytest.raises(UsageError, match="other settings or cohorts"):
        audit_leakage(settings(), images, *few, tmp_path / "other", real=real)
    with pytest.raises(UsageError, match="other settings or cohorts"):
        audit_leakage(asked, images, few[1], few[0], tmp_path / "other", real=real)


def test_a_clean_set_passes_with_a_bound(
    eyes: dict[str, list[Pixels]], sides: tuple[Cohort, Cohort], tmp_path: Path
) -> None:
    result = audit_leakage(settings(), Images(eyes["clean"]), *sides, tmp_path / "out")
    assert result.verdict == "PASS", result.reason
    bound = result.document["bound"]
    # The reason and the bound name one and the same kind.
    assert f"(hardest: {bound['kind']})" in result.reason
    assert bound["m"] <= 8
    assert bound["n"] == 40
    assert "Fewer than" in bound["statement"]
    assert [row["kind"] for row in result.document["power"]] == ["flip", "jpeg50"]
    assert rows(tmp_path / "out" / "flagged.csv") == []
    ran = {attack["name"]: attack["ran"] for attack in result.document["attacks"]}
    assert any(ran.values())
    assert not all(ran.values())


def test_too_few_images_for_the_rate_is_inconclusive(
    eyes: dict[str, list[Pixels]], sides: tuple[Cohort, Cohort], tmp_path: Path
) -> None:
    result = audit_leakage(settings(max_leak_rate=0.02), Images(eyes["clean"]), *sides, tmp_path / "out")
    assert result.verdict == "INCONCLUSIVE"
    assert "too little power" in result.reason
    assert result.document["bound"] is None


def test_without_a_control_there_is_no_pass(
    eyes: dict[str, list[Pixels]], sides: tuple[Cohort, Cohort], tmp_path: Path
) -> None:
    clean = audit_leakage(settings(), Images(eyes["clean"][:6]), sides[0], None, tmp_path / "clean")
    assert (clean.verdict, "no control" in clean.reason) == ("INCONCLUSIVE", True)
    assert clean.document["far_half"] is None
    copied = audit_leakage(settings(), Images(eyes["reference"][:2]), sides[0], None, tmp_path / "copied")
    assert copied.verdict == "LEAK"


@pytest.mark.parametrize("case", ["one", "identical", "black", "tiny", "noise", "all copies"])
def test_degenerate_sets_get_a_verdict(
    case: str, eyes: dict[str, list[Pixels]], sides: tuple[Cohort, Cohort], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    pictures = {
        "one": eyes["clean"][:1],
        "identical": [eyes["clean"][0]] * 5,
        "black": [np.zeros((200, 200, 3), np.uint8)] * 5,
        "tiny": [draw_eye(3000, side=20)],
        "noise": [rng.integers(0, 256, (100, 100, 3), dtype=np.uint8) for _ in range(4)],
        "all copies": eyes["reference"][:25],
    }[case]
    result = audit_leakage(
        settings(required_kinds=("flip",), power_copies=4), Images(pictures), *sides, tmp_path / "out"
    )
    assert result.verdict == ("LEAK" if case == "all copies" else "INCONCLUSIVE"), result.reason
    if case == "black":
        assert result.document["counts"]["synthetic_undescribed"] == 5


def test_a_control_of_five_patients_is_inconclusive_but_still_finds_copies(
    eyes: dict[str, list[Pixels]], sides: tuple[Cohort, Cohort], tmp_path: Path
) -> None:
    few = sides[1].subset(range(5))
    clean = audit_leakage(settings(power_copies=0), Images(eyes["clean"][:5]), sides[0], few, tmp_path / "a")
    assert (clean.verdict, "5 patients" in clean.reason) == ("INCONCLUSIVE", True)
    copied = audit_leakage(settings(power_copies=0), Images(eyes["reference"][:3]), sides[0], few, tmp_path / "b")
    assert copied.verdict == "LEAK"


def test_a_leaky_control_is_deduplicated_first(
    eyes: dict[str, list[Pixels]], sides: tuple[Cohort, Cohort], tmp_path: Path
) -> None:
    again = [plant("rotation5", eyes["reference"][i], np.random.default_rng(i)) for i in range(4)]
    leaky = cohort_of(tmp_path / "c", [*eyes["control"], *again], [f"C{i:03d}" for i in range(PATIENTS + 4)], "leaky")
    result = audit_leakage(settings(power_copies=0), Images(eyes["reference"][:4]), sides[0], leaky, tmp_path / "out")
    assert result.document["counts"]["control_dropped"] == 4
    assert result.document["counts"]["control_patients"] == PATIENTS
    assert result.verdict == "LEAK"


def test_copies_are_found_in_whatever_form_they_are_stored(
    eyes: dict[str, list[Pixels]], sides: tuple[Cohort, Cohort], tmp_path: Path
) -> None:
    """16-bit grey, 8-bit grey, CMYK and a picture that only EXIF turns upright: each is a copy like any other."""
    folder, reference = tmp_path / "set", eyes["reference"]
    folder.mkdir()
    deep = cv2.cvtColor(reference[0], cv2.COLOR_RGB2GRAY).astype(np.uint16) * 257
    cv2.imwrite(str(folder / "deep.png"), deep)
    Image.fromarray(reference[1]).convert("L").save(folder / "grey.jpg", quality=90)
    Image.fromarray(reference[2]).convert("CMYK").save(folder / "ink.jpg", quality=90)
    turned, exif = Image.fromarray(np.ascontiguousarray(np.rot90(reference[3]))), Image.Exif()
    exif[0x0112] = 6
    turned.save(folder / "turned.jpg", quality=90, exif=exif)
    result = audit_leakage(settings(power_copies=0), open_images(folder), *sides, tmp_path / "out")
    found = {Path(row["file"]).stem: row for row in rows(tmp_path / "out" / "flagged.csv")}
    assert result.verdict == "LEAK"
    assert {name: row["reference_file"] for name, row in found.items()} == {
        name: str(sides[0].files[i]) for i, name in enumerate(("deep", "grey", "ink", "turned"))
    }
    assert found["turned"]["transformation"] == "same framing"
    assert {found[name]["relation"] for name in ("grey", "ink", "turned")} == {"copy"}


def test_what_cannot_be_read_is_named_with_the_next_step(sides: tuple[Cohort, Cohort], tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    cv2.imwrite(str(folder / "dot.png"), np.zeros((8, 8, 3), np.uint8))
    (folder / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 torn")
    cv2.imwrite(str(folder / "good.png"), draw_eye(1))
    with pytest.raises(BadInputError) as caught:
        audit_leakage(settings(power_copies=0), open_images(folder), *sides, tmp_path / "out")
    assert "2 of 3 images of the synthetic set cannot be read" in caught.value.what
    assert {"dot.png", "torn.jpg"} <= {Path(word).name for line in caught.value.details for word in line.split()}
    assert "Remove or replace" in str(caught.value.next_step)
    assert not (tmp_path / "out" / "verdict.json").exists()


def test_unknown_patients_are_said_so(
    eyes: dict[str, list[Pixels]], sides: tuple[Cohort, Cohort], tmp_path: Path
) -> None:
    unknown = cohort_of(tmp_path / "c", eyes["control"][:40], None, "folder")
    result = audit_leakage(settings(power_copies=0), Images(eyes["clean"][:2]), sides[0], unknown, tmp_path / "out")
    assert result.document["patients_known"] == {"reference": True, "control": False}
    assert result.document["counts"]["control_patients"] == 40
    assert any("could not be told apart" in caveat for caveat in result.document["caveats"])


def test_sides_that_share_a_patient_are_refused_by_number_not_by_name(
    sides: tuple[Cohort, Cohort], tmp_path: Path
) -> None:
    with pytest.raises(BadInputError) as caught:
        audit_leakage(settings(), Images([draw_eye(1)]), sides[0], sides[0].subset(range(3)), tmp_path / "out")
    assert "share 3 patients" in str(caught.value)
    assert "R001" not in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_bad_requests_are_refused_before_anything_is_read(sides: tuple[Cohort, Cohort], tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="empty"):
        audit_leakage(settings(), Images([]), *sides, tmp_path / "out")
    with pytest.raises(UsageError, match="sideways"):
        audit_leakage(settings(required_kinds=("sideways",)), Images([draw_eye(1)]), *sides, tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    with pytest.raises(BadInputError, match="already holds"):
        audit_leakage(settings(), Images([draw_eye(1)]), *sides, tmp_path / "full")


def test_an_audit_that_was_cut_off_is_written_anew_and_a_finished_one_is_kept(
    eyes: dict[str, list[Pixels]], sides: tuple[Cohort, Cohort], tmp_path: Path
) -> None:
    """Pixels alone find exact and flipped copies, in a folder that an earlier audit left without a verdict."""
    out = tmp_path / "out"
    out.mkdir()
    (out / "flagged.csv").write_text("half a tab")
    copies = [eyes["reference"][3], np.ascontiguousarray(eyes["reference"][5][:, ::-1])]
    quick = settings(descriptor="pixel", power_copies=0)
    result = audit_leakage(quick, Images([*copies, eyes["clean"][0]]), *sides, out)
    assert result.verdict == "LEAK"
    found = {row["file"]: (row["reference_file"], row["rule"]) for row in rows(out / "flagged.csv")}
    assert found == {
        "image0000.png": (str(sides[0].files[3]), "pixels"),
        "image0001.png": (str(sides[0].files[5]), "pixels"),
    }
    with pytest.raises(BadInputError, match="already holds"):
        audit_leakage(quick, Images(copies), *sides, out)
