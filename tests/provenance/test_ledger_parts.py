"""Workers' part files: their number changes nothing, a crash costs its half line only, mistakes are named."""

from __future__ import annotations

import json
import multiprocessing
import time
from pathlib import Path

import pytest

from ethicclip.errors import BadInputError
from ethicclip.provenance import Artifact, KeyStore, PartWriter, artifact_of_file, read_ledger, verify_ledger
from ethicclip.provenance.parts import read_parts


def work(folder: Path, ledger: Path, worker: int, workers: int, shards: int = 24) -> None:
    with PartWriter(folder, f"worker-{worker}", ledger=ledger) as part:
        for shard in range(worker, shards, workers):
            artifact = Artifact(
                kind="shard", sha256=f"{shard:064x}", origin="synthetic", path=ledger.parent / f"{shard:06d}.tar"
            )
            part.generate(artifact, order=shard)
            part.metric("pairs", 1000.0, order=shard, n=1000, unit="pair")


def test_the_number_of_workers_changes_nothing(tmp_path: Path, fresh_record) -> None:
    heads = []
    for workers in (1, 3):
        ledger = tmp_path / str(workers) / "l.duckdb"
        parts = tmp_path / f"parts-{workers}"
        for worker in range(workers):
            work(parts, ledger, worker, workers)
        with fresh_record()(ledger) as run:
            run.use(Artifact(kind="settings", sha256="f" * 64))
            run.ingest(parts)
        snapshot = read_ledger(ledger)
        assert [a.path for a in snapshot.artifacts[1:]] == [f"{i:06d}.tar" for i in range(24)]
        assert len(snapshot.artifacts_of(run.run_id, "generated")) == 24
        assert [m.n for m in snapshot.metrics] == [1000] * 24
        said = next(event for event in snapshot.events if event.kind == "parts_ingested")
        assert said.payload == {"files": workers, "artifacts": 24, "metrics": 24, "cut": []}
        assert verify_ledger(ledger).ok
        heads.append([row.id for row in snapshot.artifacts])
    assert heads[0] == heads[1]


def test_workers_are_processes_of_their_own(tmp_path: Path, record) -> None:
    ledger, parts = tmp_path / "l.duckdb", tmp_path / "parts"
    context = multiprocessing.get_context("spawn")
    with record(ledger) as run:
        workers = [context.Process(target=work, args=(parts, ledger, i, 2)) for i in range(2)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        run.ingest(parts)
    assert len(read_ledger(ledger).artifacts) == 24


def test_a_killed_worker_costs_its_half_line_and_goes_on(tmp_path: Path, record) -> None:
    parts, ledger = tmp_path / "parts", tmp_path / "l.duckdb"
    work(parts, ledger, 0, 1, shards=4)
    file = parts / "worker-0.part.jsonl"
    whole = file.read_bytes()
    file.write_bytes(whole[:-9])
    found = read_parts(parts)
    assert (found.cut, len(found.artifacts), len(found.metrics)) == (("worker-0.part.jsonl",), 4, 3)
    # The worker starts again, cuts its half line and says everything once more; each shard still counts once.
    work(parts, ledger, 0, 1, shards=4)
    with record(ledger) as run:
        run.ingest(parts)
    assert len(read_ledger(ledger).artifacts) == 4 and len(read_ledger(ledger).metrics) == 4


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"id": "sha256:xyz"}, "without a sha256"),
        ({"id": None}, "without a sha256"),
        ({"kind": None}, "without a kind"),
        ({"origin": "imaginary"}, "origin"),
        ({"origin": "real"}, "real patients"),
        ({"role": "stolen"}, "role"),
        ({"order": None}, "no order"),
        ({"patient": "Anna"}, "cannot be read"),
        ({"order": "first"}, "cannot be read"),
    ],
)
def test_a_line_that_may_not_enter_is_named(tmp_path: Path, record, change, word: str) -> None:
    parts, ledger = tmp_path / "parts", tmp_path / "l.duckdb"
    work(parts, ledger, 0, 1, shards=3)
    file = parts / "worker-0.part.jsonl"
    lines = file.read_text().splitlines()
    values = {name: value for name, value in (json.loads(lines[2]) | change).items() if value is not None}
    file.write_text("\n".join([*lines[:2], json.dumps(values), *lines[3:]]) + "\n")
    with pytest.raises(BadInputError, match=word) as caught, record(ledger) as run:
        run.ingest(parts)
    assert "worker-0.part.jsonl" in caught.value.what
    if word not in ("cannot be read",):
        assert "line 3" in caught.value.what
    with pytest.raises(BadInputError, match="no folder"):
        read_parts(tmp_path / "absent")


def test_a_hundred_thousand_artifacts_take_seconds(tmp_path: Path, record) -> None:
    ledger, parts, count = tmp_path / "l.duckdb", tmp_path / "parts", 20_000
    with PartWriter(parts, "worker-0", ledger=ledger) as part:
        for i in range(count):
            part.generate(Artifact(kind="pair", sha256=f"{i:064x}", path=tmp_path / "pairs" / f"{i}.jpg"), order=i)
    start = time.process_time()
    with record(ledger) as run:
        run.ingest(parts)
    # 100k within 10 s of one core, here a fifth of it; docs/ledger.md has the measured figure.
    assert time.process_time() - start < 2
    assert len(read_ledger(ledger).artifacts) == count


def test_a_file_made_again_as_it_once_was_is_intact(tmp_path: Path, record, keys: KeyStore) -> None:
    file, ledger = tmp_path / "run.json", tmp_path / "l.duckdb"
    for text in ("one", "two", "one"):
        file.write_text(text)
        with record(ledger) as run:
            run.generate(artifact_of_file(file, kind="training_run"))
    outcome = verify_ledger(ledger)
    assert outcome.ok and outcome.checked["artifact files"] == 1
