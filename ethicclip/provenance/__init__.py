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
    from ethicclip.provenance.artifacts import commit_patients as commit_patients
    from ethicclip.provenance.bundles import seal_folder as seal_folder
    from ethicclip.provenance.bundles import verify_folder as verify_folder
    from ethicclip.provenance.chain import Head as Head
    from ethicclip.provenance.findings import Finding as Finding
    from ethicclip.provenance.findings import VerifyResult as VerifyResult
    from ethicclip.provenance.keys import KeyStore as KeyStore
    from ethicclip.provenance.parts import PartWriter as PartWriter
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
    from ethicclip.provenance.staleness import Reason as Reason
    from ethicclip.provenance.staleness import stale_audits as stale_audits
    from ethicclip.provenance.staleness import stale_reasons as stale_reasons
    from ethicclip.provenance.targets import verify as verify
    from ethicclip.provenance.verification import read_verified as read_verified
    from ethicclip.provenance.verification import verify_ledger as verify_ledger
    from ethicclip.provenance.withdrawal import Reach as Reach
    from ethicclip.provenance.withdrawal import withdraw as withdraw

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
    "PartWriter": "parts",
    "Reach": "withdrawal",
    "Reason": "staleness",
    "Run": "recording",
    "RunRecord": "reading",
    "VerifyResult": "findings",
    "admit_signer": "signers",
    "artifact_of_file": "artifacts",
    "artifact_of_folder": "artifacts",
    "commit_cohort": "artifacts",
    "commit_patients": "artifacts",
    "graph_of": "ancestry",
    "latest": "reading",
    "lineage": "ancestry",
    "list_runs": "reading",
    "read_ledger": "reading",
    "read_verified": "verification",
    "record_run": "recording",
    "seal_folder": "bundles",
    "stale_audits": "staleness",
    "stale_reasons": "staleness",
    "verify": "targets",
    "verify_folder": "bundles",
    "verify_ledger": "verification",
    "withdraw": "withdrawal",
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
    "PartWriter",
    "Reach",
    "Reason",
    "Run",
    "RunRecord",
    "VerifyResult",
    "admit_signer",
    "artifact_of_file",
    "artifact_of_folder",
    "commit_cohort",
    "commit_patients",
    "graph_of",
    "latest",
    "lineage",
    "list_runs",
    "read_ledger",
    "read_verified",
    "record_run",
    "seal_folder",
    "stale_audits",
    "stale_reasons",
    "verify",
    "verify_folder",
    "verify_ledger",
    "withdraw",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib  # noqa: PLC0415 - the front door opens a room only when asked

        return getattr(importlib.import_module(f"ethicclip.provenance.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
