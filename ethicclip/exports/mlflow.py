"""Runs, parameters and metrics into an MLflow tracking store on disk; needs the extra ``ethicclip[mlflow]``."""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path
from typing import Any

from ethicclip.errors import UsageError
from ethicclip.exports.scope import Scope, digest_of, name_of

_LONGEST = 500


def log_runs(scope: Scope, out: Path) -> int:
    """Write every run of a scope into a SQLite tracking store below `out`; the number written.

    Raises:
        UsageError: mlflow is not installed.
    """
    # This program sends nothing anywhere; mlflow would report its use.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        from mlflow import MlflowClient  # noqa: PLC0415 - an extra
        from mlflow.entities import Metric, Param, RunTag  # noqa: PLC0415
    except ImportError:
        raise UsageError(
            "the export to MLflow needs mlflow, which is not installed", next_step="pip install 'ethicclip[mlflow]'"
        ) from None
    out.mkdir(parents=True, exist_ok=True)
    client = MlflowClient(tracking_uri=f"sqlite:///{(out / 'mlflow.db').absolute()}")
    experiment = client.create_experiment(
        f"ethicclip {scope.snapshot.ledger_id}", artifact_location=(out / "artifacts").absolute().as_uri()
    )
    for run in scope.runs:
        began = _milliseconds(run.started)
        made = client.create_run(experiment, start_time=began, run_name=f"{run.verb} {run.run_id}")
        ended = _milliseconds(run.ended) if run.ended else began
        metrics = [
            Metric(_key(f"{metric.name}{part}"), float(value), ended, 0)
            for metric in scope.snapshot.metrics_of(run.run_id)
            for part, value in (("", metric.estimate), ("/low", metric.low), ("/high", metric.high))
            if value is not None
        ]
        params = [Param(_key(name), str(value)[:_LONGEST]) for name, value in _flat(run.settings)]
        tags = {"verb": run.verb, "verdict": run.verdict or "", "settings_sha256": run.settings_sha256}
        for role in ("used", "generated"):
            for number, record in enumerate(scope.of(run, role)):
                (algorithm, digest), *_ = digest_of(record).items()
                tags[f"{role}.{number}"] = f"{record.kind} {name_of(record)} {algorithm}:{digest}"
        found = [RunTag(f"ethicclip.{_key(name)}", value[:_LONGEST]) for name, value in tags.items()]
        for start in range(0, max(len(metrics), len(params), len(found), 1), 100):
            part = slice(start, start + 100)
            client.log_batch(made.info.run_id, metrics[part], params[part], found[part])
        status = {"finished": "FINISHED", "interrupted": "KILLED", "unfinished": "RUNNING"}.get(run.status, "FAILED")
        client.set_terminated(made.info.run_id, status=status, end_time=ended)
    return len(scope.runs)


def _flat(values: Any, prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for name, value in values.items():
        found += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", value)]
    return found


def _milliseconds(time: str) -> int:
    return int(datetime.fromisoformat(time).timestamp() * 1000)


def _key(name: str) -> str:
    """MLflow admits letters, digits and a few signs."""
    return "".join(c if c.isascii() and (c.isalnum() or c in "_-./ ") else "_" for c in name)[:250]
