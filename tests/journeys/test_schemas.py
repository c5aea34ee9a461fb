"""Every JSON that is written follows a published schema, and every schema that code names is published."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from .conftest import World, call

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "docs" / "schemas"
WITHOUT_FIELD = {"head", "part-line", "error"}
FOREIGN = {"croissant.json", "open_clip_config.json", "tokenizer.json", "tokenizer_config.json"}
"""Documents in other people's formats, held to those by tests of their rooms."""


def schema(name: str) -> dict[str, Any]:
    return json.loads((SCHEMAS / f"{name}.schema.json").read_text())


def check(document: Any, name: str | None = None) -> str:
    """Validate a document against the schema it names."""
    found = name or str(document["schema"]).split("/")[1]
    jsonschema.validate(document, schema(found), cls=jsonschema.Draft202012Validator)
    return found


def named_in_code() -> set[str]:
    """Every schema that a module names: not what a signature is taken over, which names purpose and version too."""
    found = set()
    for path in (ROOT / "ethicclip").rglob("*.py"):
        found |= set(re.findall(r'(?<!b)"ethicclip/([a-z-]+)/\d+"', path.read_text(encoding="utf-8")))
    return found


def test_every_schema_is_well_formed_and_every_name_is_published() -> None:
    published = {path.name.removesuffix(".schema.json") for path in SCHEMAS.glob("*.schema.json")}
    for name in published:
        jsonschema.Draft202012Validator.check_schema(schema(name))
        if name not in WITHOUT_FIELD | {"policy"} and "properties" in schema(name) and "$id" in schema(name):
            assert "schema" in schema(name)["properties"], name
    assert named_in_code() - published - {"verdict"} == set()


@pytest.fixture(scope="module")
def journey(world: World) -> World:
    """The small world with one run of every verb that writes JSON of the evidence."""
    root = world.root
    model = root / "model.bin"
    model.write_bytes(b"weights")
    answer = world.call("report", "--out", root / "report", "--json")
    assert answer.code == 0 and check(answer.json()) == "report-result"
    return world


def test_every_file_follows_its_schema(journey: World) -> None:
    seen = set()
    for path in sorted(journey.root.rglob("*.json")):
        if path.name not in FOREIGN and "checkpoints" not in path.parts:
            document = json.loads(path.read_text())
            if document.get("schema") != "ethicclip/verdict/1" or (SCHEMAS / "verdict.schema.json").exists():
                seen.add(check(document))
    assert {"pairset", "split", "simulated", "report", "manifest"} <= seen
    heads = journey.ledger.with_name(journey.ledger.name + ".heads").read_text().splitlines()
    assert heads and all(check(json.loads(line), "head") for line in heads)


def test_what_verbs_print_follows_its_schema(journey: World, tmp_path: Path) -> None:
    policy = {"metric": "audit/flagged_share", "maximum": 0.01, "rationale": "r", "owner": "o"}
    document = {"schema": "ethicclip/policy/1", "name": "p", "owner": "o", "rules": [policy]}
    check(document)
    (tmp_path / "policy.yaml").write_text(json.dumps(document))
    patient = (journey.root / "population" / "cohort.csv").read_text().splitlines()[1].split(",")[1]
    for name, code, arguments in (
        ("runs", 0, ["runs"]),
        ("verify", 0, ["verify", journey.ledger]),
        ("verify", 0, ["verify", journey.root / "report"]),
        ("verify", 0, ["verify", journey.root / "pairs"]),
        ("lineage", 0, ["lineage", "pairs"]),
        ("withdrawal", 0, ["withdraw", patient]),
        ("keys", 0, ["keys", "show"]),
        ("gate", 11, ["gate", "--policy", tmp_path / "policy.yaml"]),
        ("export", 0, ["export", "prov", "--out", tmp_path / "prov.json"]),
        ("error", 3, ["lineage", "nothing of that name"]),
        ("error", 2, ["report"]),
    ):
        answer = journey.call(*arguments, "--json")
        assert answer.code == code, (arguments, answer.err)
        assert check(answer.json(), name) == name


def test_documents_written_by_hand_are_told_apart(journey: World) -> None:
    manifest = json.loads((journey.root / "report" / "manifest.json").read_text())
    for change in ({"signature": "x"}, {"extra": 1}, {"public_key": None}, {"schema": "ethicclip/manifest/2"}):
        with pytest.raises(jsonschema.ValidationError):
            check({**manifest, **change}, "manifest")


def test_part_lines_follow_their_schema(tmp_path: Path) -> None:
    from ethicclip.provenance import Artifact, PartWriter

    with PartWriter(tmp_path, "worker-0", ledger=tmp_path / "l.duckdb") as part:
        part.generate(Artifact(kind="shard", sha256="a" * 64, path=tmp_path / "x"), order=1)
        part.metric("pairs", 10, order=1, n=10)
    for line in (tmp_path / "worker-0.part.jsonl").read_text().splitlines():
        check(json.loads(line), "part-line")


def test_a_patient_is_followed_from_the_command_line(journey: World, tmp_path: Path) -> None:
    patient = (journey.root / "split" / "control" / "cohort.csv").read_text().splitlines()[1].split(",")[1]
    answer = journey.call("withdraw", patient)
    assert answer.code == 0 and "population/control" in answer.out and patient not in answer.out
    assert "population/reference" not in answer.out
    picture = tmp_path / "lineage.svg"
    assert journey.call("lineage", "pairs", "--out", picture).code == 0 and picture.read_text().startswith("<svg")
    assert call("keys", "admit").code == 2 and journey.call("keys", "init").code == 0
