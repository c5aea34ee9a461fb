"""The section on runs, their settings and environments."""

from __future__ import annotations

from ethicclip.provenance import RunRecord
from ethicclip.reports.document import Fact, RunPart
from ethicclip.reports.evidence import Evidence
from ethicclip.reports.reading_json import as_facts, settings_facts
from ethicclip.reports.wording import clean, clean_all, facts_of


def run_parts(evidence: Evidence) -> tuple[tuple[RunPart, ...], tuple[tuple[Fact, ...], ...]]:
    """All runs, and the distinct environments that they ran in."""
    environments: list[tuple[Fact, ...]] = []
    parts = []
    for run in evidence.snapshot.runs:
        facts = as_facts(facts_of({"ethicclip": run.version, **clean_all(run.environment)}))
        if facts not in environments:
            environments.append(facts)
        parts.append(_run(run, environments.index(facts) + 1))
    return tuple(parts), tuple(environments)


def _run(run: RunRecord, environment: int) -> RunPart:
    return RunPart(
        run_id=run.run_id,
        verb=clean(run.verb, 60),
        started=run.started,
        seconds=None if run.seconds is None else round(run.seconds, 1),
        status=run.status,
        exit_code=run.exit_code,
        verdict=None if run.verdict is None else clean(run.verdict, 60),
        seed=run.seed,
        settings=settings_facts(run.settings),
        settings_sha256=run.settings_sha256,
        environment=environment,
    )
