"""The ledger: runs, artifacts, metrics and lineage in one DuckDB file; hash chain, signed heads, verification."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ethicclip.provenance.ancestry import LineageGraph as LineageGraph
    from ethicclip.provenance.ancestry import graph_of as graph_of
    from ethicclip.provenance.ancestry import lineage as lineage
    from ethicclip.provenance.artifacts import Artifact as Artifact
    from ethicclip.provenance.artifacts import Origin as Origin
    from ethicclip.provenance.artifacts import artifact_of_file as artifact_of_file
    from ethicclip.provenance.artifacts import artifact_of_folder as artifact_of_folder
    from ethicclip.provenance.artifacts import commit_cohort as commit_cohort
    from ethicclip.provenance.bundles import seal_folder as seal_folder
    from ethicclip.provenance.bundles import verify_folder as verify_folder
    from ethicclip.provenance.chain import Head as Head
    from ethicclip.provenance.findings import Finding as Finding
    from ethicclip.provenance.findings import VerifyResult as VerifyResult
    from ethicclip.provenance.keys import KeyStore as KeyStore
    from ethicclip.provenance.reading import ArtifactRecord as ArtifactRecord
    from ethicclip.provenance.reading import LedgerSnapshot as LedgerSnapshot
    from ethicclip.provenance.reading import MetricRecord as MetricRecord
    from ethicclip.provenance.reading import RunRecord as RunRecord
    from ethicclip.provenance.reading import latest as latest
    from ethicclip.provenance.reading import list_runs as list_runs
    from ethicclip.provenance.reading import read_ledger as read_ledger
    from ethicclip.provenance.recording import Run as Run
    from ethicclip.provenance.recording import record_run as record_run
    from ethicclip.provenance.signers import admit_signer as admit_signer
    from ethicclip.provenance.targets import verify as verify
    from ethicclip.provenance.verification import verify_ledger as verify_ledger

_HOMES = {
    "Artifact": "artifacts",
    "ArtifactRecord": "reading",
    "Finding": "findings",
    "Head": "chain",
    "KeyStore": "keys",
    "LedgerSnapshot": "reading",
    "LineageGraph": "ancestry",
    "MetricRecord": "reading",
    "Origin": "artifacts",
    "Run": "recording",
    "RunRecord": "reading",
    "VerifyResult": "findings",
    "admit_signer": "signers",
    "artifact_of_file": "artifacts",
    "artifact_of_folder": "artifacts",
    "commit_cohort": "artifacts",
    "graph_of": "ancestry",
    "latest": "reading",
    "lineage": "ancestry",
    "list_runs": "reading",
    "read_ledger": "reading",
    "record_run": "recording",
    "seal_folder": "bundles",
    "verify": "targets",
    "verify_folder": "bundles",
    "verify_ledger": "verification",
}

__all__ = [
    "Artifact",
    "ArtifactRecord",
    "Finding",
    "Head",
    "KeyStore",
    "LedgerSnapshot",
    "LineageGraph",
    "MetricRecord",
    "Origin",
    "Run",
    "RunRecord",
    "VerifyResult",
    "admit_signer",
    "artifact_of_file",
    "artifact_of_folder",
    "commit_cohort",
    "graph_of",
    "latest",
    "lineage",
    "list_runs",
    "read_ledger",
    "record_run",
    "seal_folder",
    "verify",
    "verify_folder",
    "verify_ledger",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib  # noqa: PLC0415 - the front door opens a room only when asked

        return getattr(importlib.import_module(f"ethicclip.provenance.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
