"""Whole model audits on small worlds: a memorising model is caught, a lie about epsilon is exit 12."""

from __future__ import annotations

import io
import json
import stat
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from ethicclip.audits.models import ModelAuditSettings, audit_model
from ethicclip.audits.models import audit as audit_module
from ethicclip.cli.audit_model import EXIT_CODES
from ethicclip.errors import BadInputError, ExitCode, UsageError
from ethicclip.pairs import Origin, Pair
from ethicclip.pairs.canaries import CanarySource, canary

STATED = {"epsilon": 1.0, "delta": 1e-5, "unit": "patient", "mechanism": "grouped", "adjacency": "add or remove"}


@dataclass(frozen=True, kw_only=True)
class Eyes:
    """Noise pictures, each with a caption of its own; two a patient."""

    first: int
    count: int = 60
    origin: Origin = Origin.REAL
    licence: str = "none"
    digest: str = "eyes"

    def __len__(self) -> int:
        return self.count

    def image(self, index: int):
        return np.random.default_rng(self.first + index).integers(0, 255, (16, 16, 3), dtype=np.uint8)

    def read(self, index: int) -> Pair:
        stream = io.BytesIO()
        Image.fromarray(self.image(index)).save(stream, "PNG")
        number = self.first + index
        return Pair(
            key=f"{number}",
            image=stream.getvalue(),
            suffix="png",
            caption=f"eye {number}",
            record={"labels": ["normal"]},
        )

    def patient_id(self, index: int) -> str:
        return f"p{(self.first + index) // 2}"


class Oracle:
    """A model that knows a picture's caption with strength `known(caption)`; everything else is noise."""

    logit_scale = 10.0

    def __init__(self, sources, known) -> None:
        self._captions = {
            source.image(index).tobytes(): source.read(index).caption
            for source in sources
            for index in range(len(source))
        }
        self._known = known

    def _vector(self, text: str):
        vector = np.random.default_rng(list(text.encode())).normal(size=32)
        return vector / np.linalg.norm(vector)

    def encode_texts(self, texts):
        return np.stack([self._vector(text) for text in texts]).astype(np.float32)

    def encode_images(self, images, **_):
        rows = []
        for image in images:
            caption = self._captions[image.tobytes()]
            row = self._vector(f"picture of {caption}") + self._known(caption) * self._vector(caption)
            rows.append(row / np.linalg.norm(row))
        return np.stack(rows).astype(np.float32)


MEMBERS, OTHERS = Eyes(first=0), Eyes(first=1000)


def member(caption: str) -> float:
    return 1.5 if int(caption.split()[1]) < 1000 else 0.0


def test_a_memorising_model_is_seen_and_the_control_is_at_chance(tmp_path):
    model = Oracle([MEMBERS, OTHERS], member)
    result = audit_model(ModelAuditSettings(), model, MEMBERS, OTHERS, tmp_path / "out")
    document = json.loads((tmp_path / "out" / "model_audit.json").read_text())
    assert document == result.to_json()
    assert result.verdict == "CONSISTENT"
    population = document["attacks"]["population"]
    assert population["auc"]["low"] > 0.9
    assert population["0.001"]["state"] == population["0.01"]["state"] == "NOT_RUN"
    assert document["counts"] == {"members": 30, "non_members": 30}
    assert document["control"]["low"] <= 0.5 <= document["control"]["high"]
    blind = document["attacks"]["blind (no model)"]["auc"]
    assert blind["low"] < 0.5 < blind["high"]
    assert document["exchangeable"] is True
    assert document["canaries"]["state"] == document["attacks"]["lira"]["state"] == "NOT_RUN"
    assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == 0o700
    assert "population: AUC" in "\n".join(result.lines())


def test_a_model_that_knows_nobody_is_at_chance(tmp_path):
    model = Oracle([MEMBERS, OTHERS], lambda caption: 0.7)
    document = audit_model(ModelAuditSettings(), model, MEMBERS, OTHERS, tmp_path / "out").to_json()
    assert document["attacks"]["population"]["auc"]["low"] < 0.5 < document["attacks"]["population"]["auc"]["high"]


def canaries(count: int = 80):
    coins = [int(coin) for coin in np.random.default_rng(8).integers(0, 2, count)]
    return {"schema": "ethicclip/canaries/1", "count": count, "family": 3, "coins": coins}


@pytest.mark.parametrize(("honest", "verdict", "code"), [(True, "CONSISTENT", 0), (False, "CONTRADICTED", 12)])
def test_canaries_catch_a_lie_about_epsilon(tmp_path, honest, verdict, code):
    record = canaries()
    everyone = CanarySource(range(record["count"]), record["family"])
    planted = {canary(number, 3).caption for number, coin in enumerate(record["coins"]) if coin}

    def known(caption: str) -> float:
        return 4.0 if caption in planted and not honest else 0.0

    model = Oracle([MEMBERS, OTHERS, everyone], known)
    result = audit_model(
        ModelAuditSettings(), model, MEMBERS, OTHERS, tmp_path / "out", canaries=record, statement=STATED
    )
    assert result.verdict == verdict
    assert int(EXIT_CODES[result.verdict]) == code
    found = result.to_json()["canaries"]
    assert found["extraction"]["extracted"] is not honest
    assert (found["epsilon_lower_bound_gate"]["epsilon"] > STATED["epsilon"]) is not honest
    assert found["extraction"]["chance"] == 1 / 80


def test_sets_that_differ_by_themselves_are_said_to(tmp_path):
    class Dim(Eyes):
        def image(self, index: int):
            return super().image(index) // 4

    others = Dim(first=1000)
    result = audit_model(ModelAuditSettings(), Oracle([MEMBERS, others], member), MEMBERS, others, tmp_path / "out")
    assert result.to_json()["exchangeable"] is False
    assert "told apart without the model" in "\n".join(result.lines())


def test_a_broken_control_is_inconclusive(tmp_path, monkeypatch):
    broken = SimpleNamespace(estimate=0.9, low=0.7, high=0.95, to_json=lambda: {"estimate": 0.9, "n": 30})
    monkeypatch.setattr(audit_module, "_control", lambda *_: broken)
    model = Oracle([MEMBERS, OTHERS], member)
    result = audit_model(ModelAuditSettings(), model, MEMBERS, OTHERS, tmp_path / "out")
    assert EXIT_CODES[result.verdict] == ExitCode.INCONCLUSIVE


def test_lira_trains_on_balanced_halves(tmp_path):
    trained: list[set[str]] = []

    def train_fn(pairs, number: int):
        captions = {pairs.read(index).caption for index in range(len(pairs))}
        trained.append(captions)
        return Oracle([MEMBERS, OTHERS], lambda caption: 1.0 if caption in captions else 0.0)

    model = Oracle([MEMBERS, OTHERS], lambda caption: member(caption) / 1.5)
    result = audit_model(ModelAuditSettings(shadows=6), model, MEMBERS, OTHERS, tmp_path / "out", train_fn=train_fn)
    assert len(trained) == 6
    counts = {caption: sum(caption in one for one in trained) for caption in set().union(*trained)}
    assert set(counts.values()) == {3}
    assert len(counts) == 120
    lira = result.to_json()["attacks"]["lira"]
    assert lira["state"] == "DONE"
    assert lira["auc"]["low"] > 0.9


def test_what_cannot_be_audited(tmp_path):
    model = Oracle([MEMBERS, OTHERS], member)
    with pytest.raises(BadInputError, match="among members and non-members alike"):
        audit_model(ModelAuditSettings(), model, MEMBERS, MEMBERS, tmp_path / "out")
    with pytest.raises(BadInputError, match="too few"):
        audit_model(ModelAuditSettings(), model, Eyes(first=0, count=10), OTHERS, tmp_path / "out")
    with pytest.raises(UsageError, match="LiRA"):
        audit_model(ModelAuditSettings(shadows=4), model, MEMBERS, OTHERS, tmp_path / "out")
    assert not (tmp_path / "out").exists()
