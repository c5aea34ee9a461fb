"""Every export is read by its own ecosystem's library; one that is not installed is named as the reason for a skip."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ethicclip.exports import Format, export
from ethicclip.exports.intoto import PAYLOAD_TYPE, pre_authentication
from ethicclip.provenance import read_ledger
from ethicclip.provenance.keys import signature_holds


@pytest.fixture
def write(tmp_path: Path, world) -> Callable[..., Path]:
    def run(format_: Format, subject: str | None = None) -> Path:
        return export(format_, world.ledger, tmp_path / "exported", subject=subject, keys=world.keys).out

    return run


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_prov_reads_prov_json(write, world) -> None:
    model = pytest.importorskip("prov.model", reason="prov is not installed")
    document = model.ProvDocument.deserialize(write(Format.PROV), format="json")
    runs = read_ledger(world.ledger).runs
    records = [type(record).__name__ for record in document.get_records()]
    assert records.count("ProvActivity") == len(runs) == 6
    assert records.count("ProvEntity") > 10 and records.count("ProvGeneration") > 5
    members = [record for record in document.get_records() if type(record).__name__ == "ProvMembership"]
    assert len(members) == 1, "the one shard of the pair set is a member of it"
    again = model.ProvDocument.deserialize(content=document.serialize(format="json"), format="json")
    assert again == document


def test_in_toto_accepts_every_statement_and_the_signatures_hold(write, world) -> None:
    statement = pytest.importorskip("in_toto_attestation.v1.statement", reason="in-toto-attestation is not installed")
    from google.protobuf import json_format
    from in_toto_attestation.predicates.provenance.v1 import provenance_pb2

    envelopes = lines(write(Format.INTOTO))
    assert len(envelopes) == 6
    for envelope in envelopes:
        payload = base64.b64decode(envelope["payload"])
        (signature,) = envelope["signatures"]
        signed = pre_authentication(PAYLOAD_TYPE, payload)
        assert signature_holds(world.keys.public_key(), signed, base64.b64decode(signature["sig"]).hex())
        values = json.loads(payload)
        proto = json_format.Parse(json.dumps(values), statement.spb.Statement())
        statement.Statement.copy_from_pb(proto).validate()
        # The predicate's own message refuses every field that SLSA provenance does not have.
        predicate = json_format.Parse(json.dumps(values["predicate"]), provenance_pb2.Provenance())
        assert predicate.run_details.metadata.started_on.seconds > 0
        for entry in [*values["subject"], *values["predicate"]["buildDefinition"].get("resolvedDependencies", [])]:
            hidden = entry.get("annotations", {}).get("origin") in ("real", "mixed")
            assert set(entry["digest"]) == {"ethicclip-hmac-sha256" if hidden else "sha256"}


def test_securesystemslib_verifies_the_envelopes(write, world) -> None:
    dsse = pytest.importorskip("securesystemslib.dsse", reason="securesystemslib is not installed")
    from securesystemslib.exceptions import VerificationError
    from securesystemslib.signer import SSlibKey

    key = SSlibKey(world.keys.public_key(), "ed25519", "ed25519", {"public": world.keys.public_key()})
    for values in lines(write(Format.INTOTO)):
        envelope = dsse.Envelope.from_dict(values)
        assert set(envelope.verify([key], 1)) == {world.keys.public_key()}
        envelope.payload = envelope.payload.replace(b"sha256", b"sha255", 1)
        with pytest.raises(VerificationError):
            envelope.verify([key], 1)


def test_openlineage_reads_every_event(write) -> None:
    event_v2 = pytest.importorskip("openlineage.client.event_v2", reason="openlineage-python is not installed")
    events = lines(write(Format.OPENLINEAGE))
    assert [event["eventType"] for event in events].count("START") == 6
    for event in events:
        state = event_v2.RunState(event["eventType"])
        run = event_v2.Run(**event["run"])
        job = event_v2.Job(**event["job"])
        datasets = [event_v2.InputDataset(d["namespace"], d["name"]) for d in event["inputs"]]
        outputs = [event_v2.OutputDataset(d["namespace"], d["name"]) for d in event["outputs"]]
        made = event_v2.RunEvent(
            eventTime=event["eventTime"],
            producer="https://example.org/producer",
            run=run,
            job=job,
            eventType=state,
            inputs=datasets,
            outputs=outputs,
        )
        assert made.run.runId == event["run"]["runId"]


def test_huggingface_reads_the_cards(write) -> None:
    cards = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    card = cards.DatasetCard.load(write(Format.DATASET_CARD))
    assert card.data.license == "cc0-1.0" and card.data.size_categories == ["n<1K"] and "Fewer than 22" in card.text
    write(Format.DATASET_CARD).unlink()
    model = cards.ModelCard.load(write(Format.MODEL_CARD))
    assert model.data.library_name == "open_clip" and model.data.license == "cc0-1.0"
    by_name = {result.metric_type: result for result in model.data.eval_results}
    assert by_name["balanced_accuracy"].metric_value == 0.66
    assert "[0.59, 0.72]" in by_name["balanced_accuracy"].metric_name
    assert "no epsilon is claimed" in model.text


def test_rocrate_opens_the_crate(write, world) -> None:
    rocrate = pytest.importorskip("rocrate.rocrate", reason="rocrate is not installed")
    out = write(Format.RO_CRATE)
    crate = rocrate.ROCrate(str(out))
    actions = [entity for entity in crate.get_entities() if entity.type == "CreateAction"]
    assert len(actions) == 6 and crate.license == "CC0-1.0"
    files = [entity for entity in crate.get_entities() if "File" in entity.type]
    assert len(files) >= 6 and all((out / entity.id).is_file() for entity in files)
    names = {path.name for path in out.rglob("*")}
    assert not any("flagged" in name or "contact" in name or name.endswith((".jpg", ".png")) for name in names)
    for path in out.rglob("*"):
        if path.is_file():
            assert not any(secret.encode() in path.read_bytes() for secret in world.secrets), path


@pytest.fixture(scope="module")
def real_set(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pair set that the generator made, in a ledger."""
    from tests.journeys.conftest import call

    root = tmp_path_factory.mktemp("pairs")
    ledger = ["--ledger", root / "l.duckdb"]
    assert call("generate", "--count", 24, "--size", 128, "--out", root / "pairs", *ledger).code == 0
    return root


def test_mlcroissant_and_our_own_check_accept_the_set(real_set: Path, tmp_path: Path) -> None:
    croissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    from ethicclip.exports.croissant import problems

    out = real_set / "pairs" / "exported.json"
    result = export(Format.CROISSANT, real_set / "l.duckdb", out)
    assert result.notes == ()
    dataset = croissant.Dataset(jsonld=str(out))
    assert not dataset.metadata.ctx.issues.errors
    assert dataset.metadata.name and [records.uuid for records in dataset.metadata.record_sets]
    document = json.loads(out.read_text())
    assert problems(document, real_set / "pairs") == ()
    for change, word in BROKEN:
        broken = json.loads(out.read_text())
        change(broken)
        assert any(word in problem for problem in problems(broken, real_set / "pairs")), word


def _set(path: list[Any], value: Any) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        place: Any = document
        for step in path[:-1]:
            place = place[step]
        place[path[-1]] = value

    return change


BROKEN = [
    (_set(["license"], ""), "license is missing"),
    (_set(["conformsTo"], "http://mlcommons.org/croissant/0.8"), "Croissant 1.0"),
    (_set(["distribution", 0, "sha256"], "0" * 64), "another sha256"),
    (_set(["distribution", 0, "contentUrl"], "gone.parquet"), "is not there"),
    (_set(["distribution", 0, "contentUrl"], "../l.duckdb"), "outside"),
    (_set(["recordSet", 0, "field", 0, "source", "extract", "column"], "nothing"), "which index does not have"),
    (_set(["recordSet", 0, "field", 0, "source", "fileObject", "@id"], "nowhere"), "does not list"),
    (_set(["recordSet", 0, "field", 0, "dataType"], None), "no dataType"),
    (_set(["rai:dataLimitations"], []), "rai:dataLimitations is missing"),
    (_set(["distribution"], []), "lists no file"),
]


def test_webdataset_reads_the_clip_benchmark_layout(real_set: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="webdataset is not installed")
    out = tmp_path / "cb"
    result = export(Format.CLIP_BENCHMARK, real_set / "l.duckdb", out, subject=str(real_set / "pairs"))
    names = (out / "classnames.txt").read_text().splitlines()
    shards = int((out / "test" / "nshards.txt").read_text())
    templates = (out / "zeroshot_classification_templates.txt").read_text().splitlines()
    assert all("{c}" in template for template in templates)
    assert (out / "dataset_type.txt").read_text().strip() == "classification"
    urls = [str(out / "test" / f"{i}.tar") for i in range(shards)]
    reader = webdataset.WebDataset(urls, shardshuffle=False).decode("pil").to_tuple("jpg;png;webp", "cls")
    samples = list(reader)
    assert len(samples) == result.counts["images"] and {label for _, label in samples} == set(range(len(names)))
    assert all(image.size == (128, 128) for image, _ in samples)


def test_mlflow_reads_the_store(write) -> None:
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed (extra mlflow)")
    out = write(Format.MLFLOW)
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{out / 'mlflow.db'}")
    (experiment,) = [one for one in client.search_experiments() if one.name.startswith("ethicclip ")]
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 6 and all(run.info.status == "FINISHED" for run in runs)
    scored = next(run for run in runs if run.data.tags["ethicclip.verb"] == "evaluate")
    assert scored.data.metrics["balanced_accuracy"] == 0.66 and scored.data.metrics["balanced_accuracy/low"] == 0.59
