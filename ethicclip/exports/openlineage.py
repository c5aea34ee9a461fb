"""OpenLineage run events: a START and a COMPLETE or FAIL for each run, its artifacts as input and output datasets."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

from ethicclip.exports.scope import Scope, digest_of, name_of
from ethicclip.provenance import RunRecord

PRODUCER = "urn:ethicclip:exports:openlineage:1"
SCHEMA_URL = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_VERSION_URL = (
    "https://openlineage.io/spec/facets/1-0-1/DatasetVersionDatasetFacet.json#/$defs/DatasetVersionDatasetFacet"
)
_SPACE = uuid.UUID("5f1e4c2a-8f0e-5b8e-9d59-3a4d0c6a7b11")


def events(scope: Scope) -> Iterator[dict[str, Any]]:
    """The events of a scope in the order of their times."""
    found = [event for run in scope.runs for event in _events_of(scope, run)]
    yield from sorted(found, key=lambda event: (event["eventTime"], event["run"]["runId"], event["eventType"]))


def _events_of(scope: Scope, run: RunRecord) -> Iterator[dict[str, Any]]:
    base = {
        # OpenLineage wants a UUID; the run's own id stands in the job's facet-free name space.
        "run": {"runId": str(uuid.uuid5(_SPACE, f"{scope.snapshot.ledger_id}/{run.run_id}"))},
        "job": {"namespace": f"ethicclip:{scope.snapshot.ledger_id}", "name": f"{run.verb}"},
        "producer": PRODUCER,
        "schemaURL": SCHEMA_URL,
        "inputs": [_dataset(scope, record) for record in scope.of(run, "used")],
    }
    yield {**base, "eventType": "START", "eventTime": run.started, "outputs": []}
    if run.ended is not None:
        kind = {"finished": "COMPLETE", "interrupted": "ABORT"}.get(run.status, "FAIL")
        outputs = [_dataset(scope, record) for record in scope.of(run, "generated")]
        yield {**base, "eventType": kind, "eventTime": run.ended, "outputs": outputs}


def _dataset(scope: Scope, record: Any) -> dict[str, Any]:
    (algorithm, digest), *_ = digest_of(record).items()
    version = {"_producer": PRODUCER, "_schemaURL": _VERSION_URL, "datasetVersion": f"{algorithm}:{digest}"}
    return {
        "namespace": f"ethicclip:{scope.snapshot.ledger_id}",
        "name": name_of(record),
        "facets": {"version": version},
    }
