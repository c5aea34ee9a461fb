"""SynFundus-1M in every form that is read: labels and words by hand; what cannot be understood is refused by name."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from ethicclip.errors import BadInputError
from ethicclip.importing import SynFundusSettings, import_synfundus
from ethicclip.pairs import PairSet

from .conftest import fingerprint, picture

FLAGS = ("amd", "aon", "crp", "dm", "dme", "em", "gc", "htr", "pm", "rvo")
READABLE = ("is_fundus", "is_macular_readable", "is_optic_disc_readable", "is_retinal_region_readable")


def row(
    number: int, *, grade: int | str = 0, eye: int | str = 0, bad: tuple[str, ...] = (), **set_: int
) -> dict[str, Any]:
    """One row of the published table."""
    flags = {f"is_{name}": set_.get(name, 0) for name in FLAGS}
    readable = {name: int(name not in bad) for name in READABLE}
    return {"file_name": f"{number}.png", "dr_grade": grade, "eye_side": eye, **flags, **readable}


def as_csv(path: Path, rows: list[dict[str, Any]]) -> Path:
    names = list(rows[0])
    lines = [",".join(names), *(",".join(str(item[name]) for name in names) for item in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return as_csv(
        tmp_path / "SynFundus-1M_annotation.csv",
        [
            row(0),
            row(1, grade=2, dme=1, eye=1),
            row(2, gc=1, bad=("is_macular_readable",)),
            row(3, aon=1),
            row(4, dm=1),
            row(5, amd=1, rvo=1),
            row(6, bad=("is_fundus",)),
            row(7, grade="3.0", eye="OS"),
        ],
    )


def test_the_published_table_becomes_a_pair_set(table: Path, images: Path, tmp_path: Path) -> None:
    result = import_synfundus(table, images, tmp_path / "pairs")
    pairs = PairSet.open(tmp_path / "pairs", verify=True)
    records = [pair.record for pair in pairs]
    assert [record["labels"] for record in records] == [
        ["normal"],
        ["diabetic_retinopathy", "diabetic_macular_oedema"],
        ["glaucoma"],
        [],
        ["age_related_macular_degeneration", "retinal_vein_occlusion"],
        ["diabetic_retinopathy"],
    ]
    assert [(record["grade"], record["eye"]) for record in records] == [
        (0, "right"), (2, "left"), (0, "right"), (0, "right"), (0, "right"), (3, "left"),
    ]  # fmt: skip
    assert pairs.caption(1) == (
        "Colour fundus photograph of the left eye: moderate non-proliferative diabetic retinopathy and "
        "diabetic macular oedema."
    )
    assert records[1]["captions"]["zh"][0] == "左眼彩色眼底照片，诊断：中度非增殖性糖尿病视网膜病变、糖尿病性黄斑水肿。"
    assert records[2]["captions"]["en"][0].endswith("glaucoma. The macula cannot be read.")
    assert records[2]["captions"]["en"][1] == "Glaucoma, right eye."
    assert records[3]["captions"]["en"][1] == "Anomaly of the optic nerve, right eye."
    assert records[2]["readability"]["macula"] is False
    # DM alone has no name that sources agree on: nothing is said of it, and the picture is not called healthy.
    assert result.left_out == {
        "flagged as no fundus": 1,
        "nothing to say: no known disease, not known to be healthy, no advice": 1,
    }
    assert (pairs.origin, pairs.licence) == ("synthetic", "CC-BY-NC-SA-4.0")
    # Pictures keep their bytes, and with them whatever mark their maker put in.
    assert pairs.read(0).image == (images / "0.png").read_bytes()
    assert "no mark" in pairs.manifest["marking"]
    assert pairs.manifest["generator"]["left_out"] == result.left_out
    assert any("Research use only" in note for note in pairs.manifest["notes"])


def advice(number: int, text: Any, **more: Any) -> dict[str, Any]:
    return {"image": f"{number}.png", "diagnosticAdvice": text, "isGc": True, "eyeSide": "右眼", **more}


@pytest.mark.parametrize("form", ["list", "mapping", "wrapped", "lines"])
def test_json_with_chinese_advice_is_read_in_every_form(form: str, images: Path, tmp_path: Path) -> None:
    items = [advice(0, "右眼杯盘比增大，考虑青光眼，建议眼压及视野检查。"), advice(1, ["建议复查。", "青光眼可能。"])]
    path = tmp_path / ("annotations.jsonl" if form == "lines" else "annotations.json")
    document: Any = items
    if form == "mapping":
        document = {item["image"]: {name: value for name, value in item.items() if name != "image"} for item in items}
    elif form == "wrapped":
        document = {"version": 1, "annotations": items}
    text = json.dumps(document, ensure_ascii=False)
    if form == "lines":
        text = "\n".join(json.dumps(item, ensure_ascii=False) for item in items)
    path.write_text(text, encoding="utf-8")
    import_synfundus(path, images, tmp_path / "pairs")
    first, second = PairSet.open(tmp_path / "pairs")
    assert first.record["captions"]["zh"][0] == "右眼杯盘比增大，考虑青光眼，建议眼压及视野检查。"
    assert first.record["captions"]["zh"][1] == "右眼彩色眼底照片，诊断：青光眼。"
    assert second.record["captions"]["zh"][:2] == ["建议复查。", "青光眼可能。"]
    assert first.caption == "Colour fundus photograph of the right eye: glaucoma."
    assert first.record["labels"] == ["glaucoma"]


def test_advice_alone_is_a_caption_and_no_label(images: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"file_name": "0.png", "diagnosticAdvice": "左眼未见明显异常。"}]), encoding="utf-8")
    import_synfundus(path, images, tmp_path / "pairs")
    pair = PairSet.open(tmp_path / "pairs").read(0)
    assert (pair.caption, pair.record["labels"], pair.record["captions"]) == (
        "左眼未见明显异常。", [], {"zh": ["左眼未见明显异常。"]},
    )  # fmt: skip


def test_numbers_name_files_and_gradings_of_readability_choose(images: Path, tmp_path: Path) -> None:
    rows = [{**row(number), "file_name": number} for number in range(3)]
    rows[1]["is_optic_disc_readable"] = 0
    path = as_csv(
        tmp_path / "a.csv", [{"idx" if name == "file_name" else name: v for name, v in r.items()} for r in rows]
    )
    result = import_synfundus(path, images, tmp_path / "pairs", SynFundusSettings(readable="all"))
    assert [pair.record["source_file"] for pair in PairSet.open(tmp_path / "pairs")] == ["0.png", "2.png"]
    assert result.left_out == {"a part cannot be read": 1}


HOSTILE = {
    "twice in one object": ('[{"file": "0.png", "is_gc": 1, "is_gc": 0}]', "'is_gc' twice"),
    "not json": ('[{"file": "0.png"', "not JSON"),
    "nan": ('[{"file": "0.png", "is_gc": NaN}]', "NaN"),
    "deep": ("[" * 200_000, "nested|not JSON"),
    "huge number": ('[{"file": "0.png", "is_gc": ' + "9" * 5000 + "}]", "not JSON|is_gc"),
    "no object": ("[3]", "not an annotation"),
    "empty": ("[]", "no annotation"),
    "empty file": ("", "not JSON"),
    "outside": ('[{"file": "../secret.png", "is_gc": 1}]', "hostile|inside"),
    "absolute": ('[{"file": "/etc/passwd", "is_gc": 1}]', "inside"),
    "backslash": ('[{"file": "..\\\\secret.png", "is_gc": 1}]', "inside"),
    "the folder itself": ('[{"file": ".", "is_gc": 1}]', "inside"),
    "same file twice": ('[{"file": "0.png", "is_gc": 1}, {"file": "x/../0.png", "is_gc": 1}]', "more than one row"),
    "unknown flag": ('[{"file": "0.png", "is_gc": 1, "is_lupus": 0}]', "is_lupus"),
    "unknown disease": ('[{"file": "0.png", "is_gc": 0, "retinoblastoma": true}]', "retinoblastoma"),
    "two of one": ('[{"file": "0.png", "is_gc": 1, "Glaucoma (GC)": 0}]', "mean the same"),
    "strange value": ('[{"file": "0.png", "is_gc": "perhaps"}]', "'perhaps'"),
    "strange grade": ('[{"file": "0.png", "dr_grade": 7}]', "'7'"),
    "strange eye": ('[{"file": "0.png", "is_gc": 1, "eye": "middle"}]', "'middle'"),
    "advice is no text": ('[{"file": "0.png", "diagnosticAdvice": {"a": 1}}]', "a text"),
    "advice is a book": (json.dumps([{"file": "0.png", "diagnosticAdvice": "眼" * 20_000}]), "20000 characters"),
    "nothing said": ('[{"file": "0.png", "city": "X"}]', "neither"),
    "no file": ('[{"is_gc": 1}]', "names the picture"),
    "missing picture": ('[{"file": "gone.png", "is_gc": 1}]', r"gone\.png"),
    "control characters": ('[{"file": "0\\u0000.png", "is_gc": 1}]', "inside"),
}  # fmt: skip


@pytest.mark.parametrize("name", list(HOSTILE))
def test_what_cannot_be_understood_is_refused_by_name(name: str, images: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(picture(99))
    text, said = HOSTILE[name]
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    with pytest.raises(BadInputError, match=said):
        import_synfundus(tmp_path / "a.json", images, tmp_path / "pairs")
    assert not (tmp_path / "pairs" / "manifest.json").exists()


def bomb() -> bytes:
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(stream, "PNG")
    return stream.getvalue()


def test_a_broken_picture_stops_or_is_left_out_and_counted(table: Path, images: Path, tmp_path: Path) -> None:
    (images / "1.png").write_bytes(bomb())
    (images / "2.png").write_bytes((images / "2.png").read_bytes()[:200])
    (images / "3.png").unlink()
    with pytest.raises(BadInputError, match=r"1\.png.*(bomb|pixels)"):
        import_synfundus(table, images, tmp_path / "pairs")
    settings = SynFundusSettings(broken="skip")
    result = import_synfundus(table, images, tmp_path / "other", settings, workers=1)
    assert (result.count, result.left_out["missing or unreadable"]) == (3, 3)
    assert len(PairSet.open(tmp_path / "other", verify=True)) == 3
    # A repaired picture lets the first import go on: its folder still belongs to the same rows.
    for number in (1, 2, 3):
        (images / f"{number}.png").write_bytes(picture(number))
    assert import_synfundus(table, images, tmp_path / "pairs").count == 6


def test_workers_and_a_kill_change_no_byte(images: Path, tmp_path: Path) -> None:
    for number in range(8, 120):
        (images / f"{number}.png").write_bytes(picture(number, side=200))
    path = as_csv(tmp_path / "a.csv", [row(number, gc=number % 2) for number in range(120)])
    settings = {"shard_size": 10}
    straight = import_synfundus(path, images, tmp_path / "straight", SynFundusSettings.build(settings), workers=2)
    assert straight.count == 120
    root = Path(__file__).parents[2]
    code = (
        "from pathlib import Path\nfrom ethicclip.importing import *\nfrom ethicclip.importing import pictures\n"
        "import time\nhonest = pictures.PictureRules.bring_in\n"
        "def slow(self, path):\n    time.sleep(0.02)\n    return honest(self, path)\n"
        "pictures.PictureRules.bring_in = slow\n"
        f"import_synfundus(Path({str(path)!r}), Path({str(images)!r}), Path({str(tmp_path / 'killed')!r}),\n"
        f"    SynFundusSettings.build({settings!r}))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], cwd=root)
    deadline = time.monotonic() + 60
    while len(list((tmp_path / "killed").glob("shards/*.tar"))) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (tmp_path / "killed" / "manifest.json").exists()
    import_synfundus(path, images, tmp_path / "killed", SynFundusSettings.build(settings))
    assert fingerprint(tmp_path / "killed") == fingerprint(tmp_path / "straight")
    with pytest.raises(BadInputError, match="other settings"):
        import_synfundus(path, images, tmp_path / "killed", SynFundusSettings.build({**settings, "max_side": 64}))


def test_large_pictures_are_shrunk_when_asked(images: Path, tmp_path: Path) -> None:
    (images / "0.png").write_bytes(picture(0, side=300))
    path = as_csv(tmp_path / "a.csv", [row(0), row(1)])
    import_synfundus(path, images, tmp_path / "pairs", SynFundusSettings(max_side=64))
    pairs = PairSet.open(tmp_path / "pairs")
    assert [pairs.image(index).shape[0] for index in (0, 1)] == [64, 32]
    assert [pairs.name(index).rpartition(".")[2] for index in (0, 1)] == ["jpg", "png"]
