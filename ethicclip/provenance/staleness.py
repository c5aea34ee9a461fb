"""What changed after an audit, so that its verdict no longer speaks of the present: STALE, with the reasons.

The ledger compares records only. It does not know of changes that nobody recorded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ethicclip.provenance.reading import ArtifactRecord, LedgerSnapshot, RunRecord
from ethicclip.provenance.withdrawal import WITHDRAWN

AUDIT_VERB = "audit-leakage"
POLICY_EVENT = "policy"
"""Kind of the event in which a verb names the policy it judged by: payload ``{"sha256": ..., "name": ...}``."""

_SET_KINDS = frozenset({"pair_set", "image_set"})
# Settings of an audit that decide how an image is described; the others that matter decide how it is judged.
_DESCRIBING = frozenset(
    {"descriptor", "side", "keypoints", "voting_keypoints", "candidates", "impostor_pictures", "model", "weights"}
)
_IDLE = frozenset({"seed", "scores", "sheet_pairs", "workers"})


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One thing that changed after an audit.

    Args:
        what: generator, set, descriptor, threshold, policy, cohort, version or withdrawal.
        text: A sentence.
        run_id: The run that changed it.
    """

    what: str
    text: str
    run_id: str


def stale_reasons(snapshot: LedgerSnapshot, audit: RunRecord) -> tuple[Reason, ...]:
    """Why the verdict of `audit` is stale; empty while nothing it rests on changed since."""
    later = [run for run in snapshot.runs if run.started > (audit.ended or audit.started) and run.verb != "report"]
    used = snapshot.artifacts_of(audit.run_id, "used")
    audited = next((record for record in used if record.kind in _SET_KINDS), None)
    cohorts = [record for record in used if record.kind == "cohort"]
    found: list[Reason] = []
    for run in later:
        made = [record for record in snapshot.artifacts if record.run_id == run.run_id]
        found += _generator(snapshot, audited, run, made)
        found += _audit_settings(audit, run)
        found += _cohorts(cohorts, run, made)
        if run.version != audit.version:
            text = f"Release {run.version} of EthicCLIP was used after the audit, which ran under {audit.version}."
            found.append(Reason(what="version", text=text, run_id=run.run_id))
    found += _policies(snapshot, audit)
    found += _withdrawals(snapshot, audit, cohorts, audited)
    return tuple({(reason.what, reason.text): reason for reason in found}.values())


def stale_audits(snapshot: LedgerSnapshot) -> dict[str, tuple[Reason, ...]]:
    """The latest audit of each set that is stale, by run id, with its reasons."""
    latest: dict[str, RunRecord] = {}
    for run in snapshot.runs:
        if run.verb == AUDIT_VERB and run.status == "finished":
            for record in snapshot.artifacts_of(run.run_id, "used"):
                if record.kind in _SET_KINDS:
                    latest[record.id] = run
    found = {run.run_id: stale_reasons(snapshot, run) for run in latest.values()}
    return {run_id: reasons for run_id, reasons in found.items() if reasons}


def _generator(
    snapshot: LedgerSnapshot, audited: ArtifactRecord | None, run: RunRecord, made: Iterable[ArtifactRecord]
) -> Iterable[Reason]:
    if audited is None or run.verb != "generate":
        return
    makers = {edge.run_id for edge in snapshot.edges if edge.artifact == audited.id and edge.role == "generated"}
    before = [snapshot.by_run[run_id] for run_id in makers if run_id in snapshot.by_run]
    for record in made:
        if record.kind in _SET_KINDS and record.id != audited.id:
            same_place = record.path is not None and record.path == audited.path
            same_name = record.alias is not None and record.alias == audited.alias
            if same_place or same_name:
                text = f"The set {audited.alias or audited.id[:24]} was made anew, with other content, after the audit."
                yield Reason(what="set", text=text, run_id=run.run_id)
                different = _differing(before[-1].settings, run.settings) if before else ()
                if different:
                    yield Reason(
                        what="generator",
                        text=f"The generator's settings changed after the audit: {_some(different)}.",
                        run_id=run.run_id,
                    )


def _audit_settings(audit: RunRecord, run: RunRecord) -> Iterable[Reason]:
    if run.verb != AUDIT_VERB:
        return
    names = _differing(audit.settings, run.settings)
    describing = [name for name in names if name.partition(".")[0] in _DESCRIBING]
    judging = [name for name in names if name.partition(".")[0] not in _DESCRIBING]
    if describing:
        text = f"A later audit describes images otherwise ({_some(describing)}); this one was not repeated with that."
        yield Reason(what="descriptor", text=text, run_id=run.run_id)
    if judging:
        text = f"A later audit judges by other thresholds ({_some(judging)}); this one was not repeated with those."
        yield Reason(what="threshold", text=text, run_id=run.run_id)


def _cohorts(cohorts: Iterable[ArtifactRecord], run: RunRecord, made: Iterable[ArtifactRecord]) -> Iterable[Reason]:
    names = {record.alias: record.id for record in cohorts if record.alias is not None}
    for record in made:
        if record.kind == "cohort" and record.alias in names and record.id != names[record.alias]:
            text = f"The cohort {record.alias} holds other images than it held at the audit."
            yield Reason(what="cohort", text=text, run_id=run.run_id)
    if run.verb == "split" and names:
        aliases = {alias.rpartition("/")[0] for alias in names if "/" in alias}
        split = {(record.alias or "").rpartition("/")[0] for record in made if record.kind == "cohort"}
        if aliases & split:
            yield Reason(what="cohort", text="A cohort of the audit was divided anew after it.", run_id=run.run_id)


def _policies(snapshot: LedgerSnapshot, audit: RunRecord) -> Iterable[Reason]:
    """A policy is judged by its content; the first one that was used at or before the audit's end is the audit's."""
    named = [event for event in snapshot.events if event.kind == POLICY_EVENT and event.payload.get("sha256")]
    own = [event for event in named if event.run_id == audit.run_id]
    ended = audit.ended or audit.started
    before = own or [event for event in named if event.time <= ended]
    after = [event for event in named if event.time > ended and event.run_id != audit.run_id]
    if before and after and after[-1].payload["sha256"] != before[-1].payload["sha256"]:
        text = "Another policy has been used since the audit."
        yield Reason(what="policy", text=text, run_id=after[-1].run_id)


def _withdrawals(
    snapshot: LedgerSnapshot, audit: RunRecord, cohorts: Iterable[ArtifactRecord], audited: ArtifactRecord | None
) -> Iterable[Reason]:
    rests_on = {record.id for record in cohorts} | ({audited.id} if audited is not None else set())
    ended = audit.ended or audit.started
    for event in snapshot.events:
        if event.kind == WITHDRAWN and event.time > ended and rests_on & set(_texts(event.payload.get("reached"))):
            text = "A patient whose images this audit or its set rests on has withdrawn since."
            yield Reason(what="withdrawal", text=text, run_id=event.run_id)


def _texts(value: Any) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []


def _some(names: Sequence[str], most: int = 6) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def _differing(one: Mapping[str, Any], two: Mapping[str, Any], prefix: str = "") -> tuple[str, ...]:
    """Dotted names of settings that differ; seeds and sizes of work do not count as a change of method.

    A setting that only one of the two has cannot be compared; it comes with another release, which is a reason itself.
    """
    names: list[str] = []
    for name in sorted(set(one) & set(two)):
        left, right = one[name], two[name]
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            names += _differing(left, right, f"{prefix}{name}.")
        elif left != right and name not in _IDLE:
            names.append(f"{prefix}{name}")
    return tuple(names)
