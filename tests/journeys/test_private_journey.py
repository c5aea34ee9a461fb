"""A private run as a user makes it: pairs of real patients, a budget, canaries, an audit, a report; and its errors."""

from __future__ import annotations

import io
import json
from pathlib import Path

import duckdb
import jsonschema
import numpy as np
import pytest
from PIL import Image

from ethicclip.pairs import Description, Origin, Pair, write_pair_set

from .conftest import call
from .test_schemas import FOREIGN, check

LABELS = ("normal", "glaucoma", "cataract")


class RealPairs:
    """Two photographs of each patient, from `first` on."""

    def __init__(self, first: int, *, patients: bool = True) -> None:
        self.first = first
        self.patients = patients

    def __call__(self, number: int) -> Pair:
        index = self.first + number
        pixels = np.random.default_rng(index).integers(0, 255, (48, 48, 3), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        label = LABELS[index // 2 % 3]
        record = {"labels": [label], "patient_id": f"p{index // 2}" if self.patients else None}
        return Pair(key=f"eye-{index:05d}", image=stream.getvalue(), suffix="png", caption=f"{label}.", record=record)


def pair_set(folder: Path, count: int, *, first: int = 0, patients: bool = True) -> Path:
    said = Description(
        name=folder.name, origin=Origin.REAL, licence="none", generator={}, settings_digest="0" * 64, marking="none"
    )
    write_pair_set(folder, RealPairs(first, patients=patients), count, description=said)
    return folder


@pytest.fixture(scope="module")
def clinic(tmp_path_factory):
    root = tmp_path_factory.mktemp("clinic")
    pair_set(root / "members", 60)
    pair_set(root / "others", 60, first=1000)
    return root


QUICK = ("--model", "nano", "--epochs", "1", "--batch-size", "10", "--set", "privacy.text_steps=0")


@pytest.fixture(scope="module")
def trained(clinic):
    """What training within a budget answered; its run is `clinic / "run"`."""
    budget = clinic / "budget.json"
    opened = call("privacy", "budget", budget, "--epsilon", 9, "--delta", "1e-5", "--population", "clinic", "--json")
    assert opened.code == 0, opened.err
    answer = call(
        "train", clinic / "members", "--out", clinic / "run", "--epsilon", 8, "--canaries", 20, "--canary-seed", 1,
        "--budget", budget, *QUICK, "--ledger", clinic / "ledger.duckdb", "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    return answer


def test_private_run_audit_and_report(clinic, trained):
    ledger, budget = clinic / "ledger.duckdb", clinic / "budget.json"
    document = trained.json()
    assert document["privacy"]["scope"]["covers_patients"]
    assert "loss" not in json.dumps(document).replace("privacy loss", "")
    spent = call("privacy", "budget", budget, "--json").json()
    assert spent["entries"][0]["settled"]
    refused = call(
        "train", clinic / "members", "--out", clinic / "more", "--epsilon", 8, "--budget", budget, *QUICK,
        "--ledger", ledger,
    )  # fmt: skip
    assert refused.code == 2
    assert "overspent" in refused.err
    audited = call(
        "audit-model", clinic / "run", "--members", clinic / "members", "--non-members", clinic / "others",
        "--out", clinic / "audit", "--ledger", ledger, "--json",
    )  # fmt: skip
    assert audited.code == 0, audited.err
    assert audited.json()["canaries"]["state"] == "DONE"
    with duckdb.connect(str(ledger), read_only=True) as connection:
        names = {name for (name,) in connection.execute("select name from metrics").fetchall()}
    assert {"privacy/epsilon", "privacy/delta", "membership/population/auc", "membership/epsilon_lower_bound"} <= names
    assert "loss/last" not in names
    assert call("report", "--out", clinic / "report", "--ledger", ledger).code == 0
    assert call("verify", ledger).code == 0
    check(spent, "privacy-budget")
    named = {
        check(json.loads(path.read_text()))
        for path in clinic.rglob("*.json")
        if path.name not in FOREIGN and "checkpoints" not in path.parts
    }
    assert {"privacy", "privacy-account", "privacy-budget", "canaries", "model-audit", "model", "run"} <= named


def test_a_private_run_that_tells_its_loss_breaks_the_schema(clinic, trained):
    run = json.loads((clinic / "run" / "run.json").read_text())
    assert check(run) == "run"
    for leak in ({"final_loss": 1.0}, {"seconds": 3.0}):
        with pytest.raises(jsonschema.ValidationError):
            check({**run, **leak})
    account = json.loads((clinic / "run" / "restricted" / "account.json").read_text())
    for wrong in ({"steps": -1}, {"extra": 1}, {"terms": {**account["terms"], "sample_rate": 1.5}}):
        with pytest.raises(jsonschema.ValidationError):
            check({**account, **wrong})


def test_a_lie_about_epsilon_is_12(clinic, trained, tmp_path, monkeypatch):
    from ethicclip.audits.models import audit as audit_module

    honest = audit_module.audit_canaries

    def certain(*arguments, **named):
        found = honest(*arguments, **named)
        object.__setattr__(found.gate, "epsilon", 99.0)
        return found

    monkeypatch.setattr(audit_module, "audit_canaries", certain)
    answer = call(
        "audit-model", clinic / "run", "--members", clinic / "members", "--non-members", clinic / "others",
        "--out", tmp_path / "audit", "--ledger", tmp_path / "l.duckdb",
    )  # fmt: skip
    assert answer.code == 12
    assert "CONTRADICTED" in answer.out


def test_errors_of_a_private_run(clinic, tmp_path):
    ids = pair_set(tmp_path / "no-ids", 20, patients=False)
    cases = [
        ((clinic / "members", "--batch-size", "31"), 2, "over 1"),
        ((clinic / "members", "--model", "RN50"), 2, "batch normalisation"),
        ((ids,), 3, "no patient id"),
        ((clinic / "members", "--mechanism", "hooks"), 2, "mechanism"),
        ((clinic / "members", "--delta", "2"), 2, "delta"),
        ((clinic / "members", "--epsilon", "-1"), 2, "epsilon"),
    ]
    for number, (arguments, code, said) in enumerate(cases):
        out = tmp_path / f"run{number}"
        # The last value of an option holds.
        answer = call("train", "--out", out, *QUICK, "--epsilon", 3, *arguments, "--ledger", tmp_path / "l.duckdb")
        assert answer.code == code, answer.err
        assert said in answer.err
        assert "Traceback" not in answer.err
        assert not out.exists()
