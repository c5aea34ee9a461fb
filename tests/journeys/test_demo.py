"""The whole journey at a small size, with sockets refused; then the evidence is tampered with."""

from __future__ import annotations

import json
import shutil
import socket
from pathlib import Path
from typing import Any

import duckdb
import pytest

from .conftest import Answer, call


class NetworkTouchedError(AssertionError):
    """Something asked for an address."""


@pytest.fixture(scope="module")
def journey(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Answer]:
    """A finished demo of 60 simulated patients, made while every socket to the world was refused."""

    def refuse(*arguments: Any, **_: Any) -> Any:
        raise NetworkTouchedError(arguments)

    out = tmp_path_factory.mktemp("journey") / "demo"
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(socket.socket, "connect", refuse)
        patched.setattr(socket.socket, "connect_ex", refuse)
        patched.setattr(socket, "create_connection", refuse)
        patched.setattr(socket, "getaddrinfo", refuse)
        answer = call(
            "demo", "--out", out, "--ledger", out.parent / "ledger.duckdb", "--count", 96, "--workers", 1, "--json",
            *("--set", "patients=60", "--set", "planted=16", "--set", "epochs=1", "--set", "size=128"),
        )  # fmt: skip
    return out, answer


def test_the_demo_ends_as_expected(journey: tuple[Path, Answer]) -> None:
    out, answer = journey
    assert answer.code == 0, answer.err
    summary = answer.json()
    assert summary["audits"]["honest"]["verdict"] in {"PASS", "INCONCLUSIVE"}
    assert summary["audits"]["planted"] == {"verdict": "LEAK", "exit_code": 10}
    assert summary["planted"]["flagged"] >= 12
    assert summary["planted"]["others_flagged"] <= 2
    assert summary["simulated"] is True
    for name in ("report/report.html", "audit-planted/contact_sheet.png", "run/loss.svg", "evaluation/metrics.json"):
        assert (out / name).stat().st_size > 0


def test_the_report_says_that_the_eyes_are_simulated_and_shows_no_address(journey: tuple[Path, Answer]) -> None:
    page = (journey[0] / "report" / "report.html").read_text(encoding="utf-8")
    assert "simulated" in page
    assert "Content-Security-Policy" in page
    assert "<script" not in page
    for start in ('src="http', "src='http", 'href="http', "url(http", "@import"):
        assert start not in page


def test_every_verb_is_in_the_ledger(journey: tuple[Path, Answer]) -> None:
    ledger = journey[0].parent / "ledger.duckdb"
    runs = call("runs", "--ledger", ledger, "--json").json()["runs"]
    assert [run["verb"] for run in runs] == [
        "split", "generate", "audit-leakage", "audit-leakage", "train", "evaluate", "report",
    ]  # fmt: skip
    assert {run["status"] for run in runs} == {"finished"}
    assert call("verify", ledger).code == 0
    assert call("verify", journey[0] / "report").code == 0


def test_lineage_leads_from_the_model_to_the_generator(journey: tuple[Path, Answer]) -> None:
    out = journey[0]
    answer = call("lineage", "run/open_clip_model.safetensors", "--ledger", out.parent / "ledger.duckdb")
    assert answer.code == 0, answer.err
    assert "train" in answer.out
    assert "generate" in answer.out


def copied(journey: tuple[Path, Answer], tmp_path: Path) -> Path:
    target = tmp_path / "ledger.duckdb"
    source = journey[0].parent / "ledger.duckdb"
    shutil.copy(source, target)
    shutil.copy(f"{source}.heads", f"{target}.heads")
    return target


TAMPERINGS = {
    "edited verdict": ("UPDATE endings SET verdict='PASS' WHERE verdict='LEAK'", "endings"),
    "edited metric": ("UPDATE metrics SET estimate=0.99 WHERE name='balanced_accuracy'", "metrics"),
    "deleted metric": ("DELETE FROM metrics WHERE name='balanced_accuracy'", "metrics"),
    "inserted edge": ("INSERT INTO edges SELECT * FROM edges LIMIT 1", "edges"),
    "edited settings": ("UPDATE runs SET settings='{}' WHERE verb='train'", "runs"),
}


@pytest.mark.parametrize("name", list(TAMPERINGS))
def test_a_tampered_row_is_12_and_its_table_is_named(name: str, journey: tuple[Path, Answer], tmp_path: Path) -> None:
    ledger = copied(journey, tmp_path)
    statement, table = TAMPERINGS[name]
    with duckdb.connect(str(ledger)) as connection:
        connection.execute(statement)
    answer = call("verify", ledger)
    assert answer.code == 12, answer.out
    assert table in answer.out


def cut(ledger: Path) -> str:
    """Delete the newest event; returns the head that stood before."""
    with duckdb.connect(str(ledger)) as connection:
        head = connection.execute("SELECT hash FROM events ORDER BY seq DESC LIMIT 1").fetchone()
        connection.execute("DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)")
    assert head is not None
    return str(head[0])


def test_a_deleted_tail_is_12_by_the_heads_file(journey: tuple[Path, Answer], tmp_path: Path) -> None:
    ledger = copied(journey, tmp_path)
    cut(ledger)
    assert call("verify", ledger).code == 12


def test_a_deleted_tail_is_12_by_a_head_held_elsewhere(journey: tuple[Path, Answer], tmp_path: Path) -> None:
    ledger = copied(journey, tmp_path)
    Path(f"{ledger}.heads").unlink()
    heads = (journey[0].parent / "ledger.duckdb.heads").read_text().splitlines()
    held = json.loads(heads[-1])["hash"]
    assert call("verify", ledger, "--head", held).code == 0
    cut(ledger)
    assert call("verify", ledger, "--head", held).code == 12


def test_an_edited_report_is_12_and_the_file_is_named(journey: tuple[Path, Answer], tmp_path: Path) -> None:
    shutil.copytree(journey[0] / "report", tmp_path / "report")
    page = tmp_path / "report" / "report.html"
    page.write_text(page.read_text(encoding="utf-8").replace("LEAK", "PASS", 1), encoding="utf-8")
    answer = call("verify", tmp_path / "report")
    assert answer.code == 12
    assert "report.html" in answer.out


def test_a_second_demo_replaces_the_first_and_the_ledger_still_holds(
    journey: tuple[Path, Answer], tmp_path: Path
) -> None:
    from ethicclip.cli.journey import _claim

    shutil.copytree(journey[0], tmp_path / "demo")
    _claim(tmp_path / "demo")
    assert not (tmp_path / "demo").exists()


def test_every_json_of_the_journey_follows_its_schema(journey: tuple[Path, Answer]) -> None:
    from .test_schemas import FOREIGN, SCHEMAS, check

    seen = set()
    for path in sorted(journey[0].rglob("*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))
        name = str(document.get("schema", "")).split("/")[1:2]
        if (
            path.name not in FOREIGN
            and "checkpoints" not in path.parts
            and (SCHEMAS / f"{name[0]}.schema.json").exists()
        ):
            seen.add(check(document))
    assert {"demo", "pairset", "run", "model", "metrics", "evaluation-run", "report", "manifest", "split"} <= seen
