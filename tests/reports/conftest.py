from __future__ import annotations

import csv
import io
import json
import shutil
import tarfile
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ethicclip.files import sha256_bytes, sha256_file, write_json
from ethicclip.provenance import Artifact, KeyStore, artifact_of_file, commit_cohort, record_run

LABELS = ("normal", "diabetic_retinopathy", "glaucoma", "cataract")


def eye(seed: int, side: int = 96) -> Image.Image:
    """A disc of colour with a bright spot: enough to tell pictures apart."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:side, 0:side] / side - 0.5
    inside = (rows**2 + columns**2 < 0.23)[..., None]
    base = np.array([190, 90, 40]) + rng.integers(-25, 25, 3)
    spot = np.exp(-((rows - rng.uniform(-0.2, 0.2)) ** 2 + (columns - rng.uniform(-0.2, 0.2)) ** 2) / 0.006)[..., None]
    coarse = Image.fromarray(rng.normal(0, 22, (7, 7)).astype(np.float32)).resize(
        (side, side), Image.Resampling.BICUBIC
    )
    texture = np.asarray(coarse)[..., None]
    return Image.fromarray(np.clip((base + 70 * spot + texture) * inside, 0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "JPEG") -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, quality=92)
    return stream.getvalue()


@dataclass
class World:
    """A ledger of a whole journey, made by hand, and the secrets that a shareable report must not show."""

    folder: Path
    keys: KeyStore
    secrets: list[str] = field(default_factory=list)
    real: list[np.ndarray] = field(default_factory=list)
    moment: datetime = datetime(2030, 3, 4, 5, 6, 7, tzinfo=UTC)
    count: int = 0

    @property
    def ledger(self) -> Path:
        return self.folder / "evidence.duckdb"

    def clock(self) -> datetime:
        self.moment += timedelta(seconds=7)
        return self.moment

    def new_id(self, moment: datetime) -> str:
        self.count += 1
        return f"01RUN{self.count:021d}"

    def record(self, verb: str, settings: dict[str, Any], **more: Any):
        env = {"python": "3.11.7", "system": "Linux x86_64", "cpus": 2, "packages": {"torch": "2.14.1"}}
        given = {"verb": verb, "settings": settings, "seed": 0, "env": env, "keys": self.keys}
        return record_run(self.ledger, clock=self.clock, ids=self.new_id, **{**given, **more})

    def cohort(self, alias: str, origin: str) -> Artifact:
        return commit_cohort([sha256_bytes(alias.encode())], alias, self.keys, origin=origin)

    def pair_set(
        self, name: str, count: int, captions: list[str] | None = None, images: list[bytes] | None = None
    ) -> Path:
        folder = self.folder / name
        (folder / "shards").mkdir(parents=True)
        shard = folder / "shards" / "000000.tar"
        labels = dict.fromkeys(LABELS, 0)
        with tarfile.open(shard, "w") as archive:
            for i in range(count):
                label = LABELS[i % len(LABELS)]
                labels[label] += 1
                caption = captions[i % len(captions)] if captions else f"A fundus photograph of {label}, number {i}."
                image = images[i] if images else encoded(eye(1000 + i))
                record = {"labels": [label], "captions": {"en": [caption], "zh": ["眼底照片"]}, "seed": 0, "index": i}
                for suffix, data in (("jpg", image), ("txt", caption.encode()), ("json", json.dumps(record).encode())):
                    info = tarfile.TarInfo(f"pair-{i:04d}.{suffix}")
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
        manifest = {
            "schema": "ethicclip/pairs/1",
            "name": name,
            "origin": "synthetic",
            "licence": "CC0-1.0",
            "marking": "XMP digitalSourceType algorithmicMedia in every image",
            "generator": {"engine": "phantom", "settings": {"size": 96}},
            "counts": {"pairs": count, "shards": 1, "labels": labels},
            "shards": [{"file": "shards/000000.tar", "sha256": sha256_file(shard), "pairs": count}],
            "notes": ["At 96 px one pixel is 131 micrometres; microaneurysms cannot be seen."],
        }
        write_json(folder / "manifest.json", manifest)
        return folder / "manifest.json"

    def audit_files(self, name: str, verdict: dict[str, Any], flagged: list[dict[str, str]]) -> list[Artifact]:
        folder = self.folder / name
        folder.mkdir()
        write_json(folder / "verdict.json", verdict)
        with (folder / "flagged.csv").open("w", newline="") as stream:
            writer = csv.DictWriter(stream, ["file", "reference_file", "score", "rule"])
            writer.writeheader()
            writer.writerows(flagged)
        sheet = Image.new("RGB", (192, 96))
        sheet.paste(eye(1), (0, 0))
        sheet.paste(eye(2), (96, 0))
        (folder / "contact_sheet.png").write_bytes(encoded(sheet, "PNG"))
        kinds = {"verdict.json": "verdict", "flagged.csv": "flagged"}
        return [artifact_of_file(folder / n, kind=k, alias=f"{name}/{n}") for n, k in kinds.items()]


def estimate(value: float, low: float, high: float, n: int) -> dict[str, Any]:
    return {"estimate": value, "low": low, "high": high, "n": n, "level": 0.95, "method": "clopper-pearson"}


def verdict_file(verdict: str, *, flagged: int, synthetic: int) -> dict[str, Any]:
    recalls = {"jpeg30": 0.98, "flip": 0.97, "rotation15": 0.92, "crop70": 0.83, "blur": 0.9, "combination": 0.71}
    reasons = {
        "PASS": "No patient is rejected, no pair is confirmed, and the power check holds for every required kind.",
        "LEAK": "31 patients are rejected at alpha 0.05 and 34 pairs are confirmed by geometry.",
        "INCONCLUSIVE": "The power check does not hold for combination: 41 of 1,500 copies would stay unseen.",
    }
    statement = f"Fewer than 22 copies of kind combination among {synthetic} would stay unseen (95 %)."
    return {
        "schema": "ethicclip/verdict/1",
        "verdict": verdict,
        "reason": reasons[verdict],
        "counts": {
            "synthetic": synthetic,
            "reference_images": 410,
            "reference_patients": 240,
            "control_images": 405,
            "control_patients": 239,
            "control_dropped": 1,
            "flagged_images": flagged,
            "flagged_patients": flagged,
        },
        "target_decoy": {"threshold": 0.412, "rejected_patients": 0 if verdict != "LEAK" else 31, "alpha": 0.05},
        "confirmed": {"pairs": 0 if verdict != "LEAK" else 34, "expected_false": 0.05},
        "far_half": {**estimate(0.507, 0.46, 0.55, synthetic // 2), "expected": 0.501, "excludes_expected": False},
        "power": [
            {"kind": kind, "m": 8 + i * 3, "n": synthetic, "recall": estimate(r, r - 0.08, min(1, r + 0.04), 24)}
            for i, (kind, r) in enumerate(recalls.items())
        ],
        "bound": {"statement": statement, "kind": "combination", "m": 22, "n": synthetic, "rate": 0.015}
        if verdict == "PASS"
        else None,
        "attacks": [
            {"name": "copies by local features", "ran": True, "note": "Target-decoy by patient and geometry."},
            {"name": "near-exact copies by pixels", "ran": True, "note": "Tile maximum inside the field of view."},
            {"name": "membership inference", "ran": False, "note": "Needs a trained model: audit-model."},
            {"name": "attribute inference", "ran": False, "note": ""},
            {"name": "linkability of captions", "ran": False, "note": ""},
            {"name": "identifiers in captions and metadata", "ran": False, "note": ""},
        ],
        "settings": {"alpha": 0.05},
        "settings_sha256": "0" * 64,
        "patients_known": {"reference": True, "control": True},
        "caveats": ["The user states that reference and control are a random split of one pool."],
    }


def metrics_file() -> dict[str, Any]:
    def by_patient(value: float, low: float, high: float) -> dict[str, Any]:
        return {**estimate(value, low, high, 230), "patients": 140}

    return {
        "schema": "ethicclip/metrics/1",
        "classes": list(LABELS),
        "class_names": {"normal": "Normal", "glaucoma": "Glaucoma"},
        "counts": {"images": 230, "patients": 140, "cohort_images": 260, "by_class": {}},
        "skipped": {"other": 22, "multiple": 8},
        "left_out": {},
        "unit": "patient",
        "accuracy": by_patient(0.71, 0.65, 0.77),
        "balanced_accuracy": by_patient(0.66, 0.59, 0.72),
        "macro_f1": {"estimate": None, "reason": "a class has no image", "n": 0, "patients": 0},
        "auroc_one_vs_rest": {
            "normal": by_patient(0.81, 0.75, 0.86),
            "diabetic_retinopathy": by_patient(0.63, 0.55, 0.71),
            "glaucoma": by_patient(0.42, 0.31, 0.54),
            "cataract": by_patient(0.96, 0.93, 0.99),
        },
        "confusion": {"counts": [[70, 12, 5, 2], [14, 30, 9, 1], [9, 8, 20, 0], [1, 2, 0, 47]]},
        "single_statistics": {
            "by_statistic": {"sharpness": {"auroc_one_vs_rest": {"cataract": by_patient(0.95, 0.9, 0.98)}}}
        },
        "subgroups": {"sex": {"F": {"balanced_accuracy": by_patient(0.64, 0.55, 0.72)}, "M": {"reason": "too few"}}},
        "caveats": ["classes of fewer than 50 patients: glaucoma (37)"],
    }


def build(
    folder: Path,
    *,
    origin: str = "real",
    verdict: str = "PASS",
    captions: list[str] | None = None,
    cohort: str = "clinic",
    engine: str = "phantom",
    text: dict[str, Any] | None = None,
) -> World:
    """The journey of the demo: split, generate, two audits, train, evaluate."""
    folder.mkdir(parents=True)
    world = World(folder=folder / "house", keys=KeyStore(folder / "keys"))
    world.folder.mkdir()
    world.real = [np.asarray(eye(seed)) for seed in (1, 2)]
    world.secrets = ["patient-0042", "Mueller_Anna_left.jpg", "/data/clinic/eyes"]
    reference, control, test = (world.cohort(f"{cohort}/{part}", origin) for part in ("reference", "control", "test"))
    with world.record("split", {"parts": {"reference": 0.4, "control": 0.4, "test": 0.2}}) as run:
        run.use(world.cohort(cohort, origin))
        for part, artifact, patients in zip(
            ("reference", "control", "test"), (reference, control, test), (240, 239, 140), strict=True
        ):
            run.generate(artifact)
            run.metric(f"images/{part}", patients * 1.7 // 1)
            run.metric(f"patients/{part}", patients)
    with world.record("generate", {"count": 40, "engine": engine, "size": 96}) as run:
        pairs = artifact_of_file(
            world.pair_set("pairs", 40, captions), kind="pair_set", origin="synthetic", alias="pairs"
        )
        run.generate(pairs)
        run.metric("pairs", 40)
    flagged = [{"file": "pair-0003", "reference_file": f"{world.secrets[2]}/{world.secrets[0]}/{world.secrets[1]}"}]
    rows = flagged if verdict != "PASS" else []
    with world.record(
        "audit-leakage", {"alpha": 0.05, "prompts": "/data/clinic/eyes/p.yaml", "more": {"list": ["/data/clinic/eyes"]}}
    ) as run:
        for artifact in (pairs, reference, control):
            run.use(artifact)
        written = verdict_file(verdict, flagged=len(rows), synthetic=1500) | ({} if text is None else {"text": text})
        for artifact in world.audit_files("audit", written, rows):
            run.generate(artifact)
        run.note_exit({"PASS": 0, "LEAK": 10, "INCONCLUSIVE": 11}[verdict], verdict)
    with world.record("audit-leakage", {"alpha": 0.05}) as run:
        planted = commit_cohort(["ab" * 32], "planted/images", world.keys, kind="image_set", origin="mixed")
        for artifact in (planted, reference, control):
            run.use(artifact)
        for artifact in world.audit_files("audit-planted", verdict_file("LEAK", flagged=1, synthetic=1540), flagged):
            run.generate(artifact)
        run.event("positive_control", {"note": "Copies of 40 reference patients were planted on purpose."})
        run.note_exit(10, "LEAK")
    with world.record("train", {"model": "tiny", "epochs": 6}) as run:
        out = world.folder / "run"
        out.mkdir()
        training = {"schema": "ethicclip/run/1", "steps": 120, "final_loss": 1.912, "differential_privacy": None}
        write_json(out / "run.json", {**training, "model": {"name": "tiny", "parameters": 5_120_000}})
        (out / "model.safetensors").write_bytes(b"weights")
        log = "".join(f"{i},0,{4.1 * 0.985**i + 1.5 + 0.1 * (-1) ** i},0.001,90\n" for i in range(1, 121))
        (out / "log.csv").write_text("step,epoch,loss,learning_rate,samples_per_s\n" + log)
        run.use(pairs)
        for name, kind in (
            ("model.safetensors", "model"),
            ("run.json", "training_run"),
            ("log.csv", "training_log"),
        ):
            run.generate(artifact_of_file(out / name, kind=kind, alias=f"run/{name}"))
        run.metric("loss/last", 1.912)
        model = artifact_of_file(out / "model.safetensors", kind="model", alias="run/model.safetensors")
    with world.record("evaluate", {"label_column": "label"}) as run:
        write_json(world.folder / "metrics.json", metrics_file())
        run.use(model)
        run.use(test)
        run.generate(artifact_of_file(world.folder / "metrics.json", kind="metrics", alias="evaluation/metrics.json"))
        run.metric("balanced_accuracy", 0.66, 0.59, 0.72, 230, "patient")
    return world


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, World]:
    """Worlds made so far, by their options; tests work on copies."""
    return {}


@pytest.fixture
def make_world(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, built: dict[str, World]):
    def make(name: str = "world", **options: Any) -> World:
        kind = json.dumps(options, sort_keys=True)
        if kind not in built:
            built[kind] = build(tmp_path_factory.mktemp("built") / "world", **options)
        made = built[kind]
        shutil.copytree(made.folder.parent, tmp_path / name)
        return replace(made, folder=tmp_path / name / "house", keys=KeyStore(tmp_path / name / "keys"))

    return make


@pytest.fixture
def world(make_world) -> World:
    return make_world()
