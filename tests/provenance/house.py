"""A small house of evidence: every verb, every table and every kind of file, made in seconds."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from ethicclip.files import sha256_bytes, sha256_file, write_json
from ethicclip.provenance import Artifact, KeyStore, artifact_of_file, commit_cohort, record_run
from ethicclip.reports import ReportSettings, write_report


@dataclass(frozen=True)
class House:
    """Where the evidence lies."""

    folder: Path
    keys: KeyStore

    @property
    def ledger(self) -> Path:
        """The ledger."""
        return self.folder / "evidence.duckdb"

    @property
    def heads(self) -> Path:
        """Its heads file."""
        return self.folder / "evidence.duckdb.heads"

    @property
    def report(self) -> Path:
        """A sealed report on it."""
        return self.folder / "report"

    def copy(self, to: Path) -> House:
        """The same house in another place."""
        shutil.rmtree(to, ignore_errors=True)
        shutil.copytree(self.folder, to)
        return House(to, self.keys)


def build(folder: Path) -> House:
    """Split, generate, audit, train, evaluate, withdraw, review, report: every table and every kind of file."""
    house = House(folder / "house", KeyStore(folder / "keys"))
    house.folder.mkdir(parents=True)
    moment = [datetime(2030, 1, 1, tzinfo=UTC)]
    count = [0]

    def clock() -> datetime:
        moment[0] += timedelta(seconds=5)
        return moment[0]

    def ids(_: datetime) -> str:
        count[0] += 1
        return f"RUN{count[0]:023d}"

    def run(verb: str, **settings: Any) -> Any:
        return record_run(house.ledger, verb=verb, settings=settings, seed=1, clock=clock, ids=ids, keys=house.keys)

    def file(kind: str, name: str, data: bytes, **more: Any) -> Artifact:
        place = house.folder / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(data)
        return artifact_of_file(place, kind=kind, alias=name, **more)

    people = {part: [f"{part}-{i}" for i in range(4)] for part in ("reference", "control")}
    cohorts = {
        part: commit_cohort([sha256_bytes(part.encode())], f"clinic/{part}", house.keys, patients=people[part])
        for part in people
    }
    with run("split", parts=2) as recorded:
        for part, cohort in cohorts.items():
            recorded.generate(cohort)
            recorded.metric(f"patients/{part}", 4)
    with run("generate", engine="phantom") as recorded:
        shards = [_shard(house.folder / "pairs" / "shards" / f"{i:06d}.tar", i) for i in range(2)]
        index = house.folder / "pairs" / "index.parquet"
        index.write_bytes(b"PAR1 a small index PAR1")
        manifest = {
            "schema": "ethicclip/pairset/1",
            "name": "pairs",
            "origin": "synthetic",
            "licence": "CC0-1.0",
            "counts": {"pairs": 8, "labels": {"normal": 8}},
            "shards": shards,
            "index": {"file": "index.parquet", "sha256": sha256_file(index)},
        }
        write_json(house.folder / "pairs" / "manifest.json", manifest)
        pairs = artifact_of_file(
            house.folder / "pairs" / "manifest.json", kind="pair_set", origin="synthetic", alias="pairs"
        )
        recorded.generate(pairs)
        recorded.metric("pairs", 8)
        recorded.event("resumed", {"shards": 0})
    with run("audit-leakage", alpha=0.05) as recorded:
        for artifact in (pairs, *cohorts.values()):
            recorded.use(artifact)
        verdict = {"schema": "ethicclip/verdict/1", "verdict": "PASS", "counts": {"flagged_images": 0}}
        recorded.generate(file("verdict", "audit/verdict.json", json.dumps(verdict).encode()))
        recorded.generate(file("flagged", "audit/flagged.csv", b"file,reference_file\n"))
        recorded.metric("audit/flagged_share", 0.0, 0.0, 0.3, 8, "image")
        recorded.note_exit(0, "PASS")
    with run("train", epochs=1) as recorded:
        recorded.use(pairs)
        model = file("model", "run/model.safetensors", bytes(range(256)) * 8)
        recorded.generate(model)
        recorded.generate(file("training_run", "run/run.json", b'{"schema": "ethicclip/run/1"}'))
        recorded.metric("loss/last", 1.5)
    with run("evaluate") as recorded:
        recorded.use(model)
        recorded.generate(file("metrics", "evaluation/metrics.json", b'{"schema": "ethicclip/metrics/1"}'))
        recorded.generate(file("figure", "evaluation/roc.svg", b"<svg xmlns='http://www.w3.org/2000/svg'></svg>"))
        recorded.metric("balanced_accuracy", 0.5, 0.4, 0.6, 30, "patient")
        recorded.event("reviewed", {"pair": 3, "verdict": "same pathology"})
    write_report(ReportSettings(formats=("html", "json", "pdf")), house.ledger, house.report, keys=house.keys)
    return house


def _shard(place: Path, number: int) -> dict[str, Any]:
    place.parent.mkdir(parents=True, exist_ok=True)
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for i in range(4):
            info = tarfile.TarInfo(f"{number}-{i}.txt")
            info.size = 4
            archive.addfile(info, io.BytesIO(b"text"))
    place.write_bytes(stream.getvalue())
    size = len(stream.getvalue())
    return {"file": f"shards/{place.name}", "sha256": sha256_file(place), "pairs": 4, "size_bytes": size}
