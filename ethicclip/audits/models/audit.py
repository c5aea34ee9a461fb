"""`audit_model`: what a model gives away of who was in its training set, and whether its epsilon can be true."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ethicclip.audits.models.canary_audit import CanaryResult, audit_canaries
from ethicclip.audits.models.membership import Estimate, Scores, auc, blind_scores, likelihood_ratios, rate_at
from ethicclip.audits.models.settings import ModelAuditSettings
from ethicclip.audits.models.shadows import Pool, shadow_halves
from ethicclip.audits.models.signals import Side, caption_pool, pair_scores, plain_features, side_of
from ethicclip.clip import ClipModel
from ethicclip.errors import BadInputError, UsageError
from ethicclip.files import require_empty_or_absent, storage_errors, write_json
from ethicclip.progress import SILENT, Progress

if TYPE_CHECKING:
    from ethicclip.pairs import PairSource

SCHEMA = "ethicclip/model-audit/1"
RESULT_FILE = "model_audit.json"

TrainFn = Callable[["PairSource", int], ClipModel]
"""Trains a shadow model on the given pairs as the audited one was trained; the number seeds it."""

_RATES = (0.001, 0.01)
_CONTROL_CONFIDENCE = 0.999

_CAVEATS = (
    "The attacks that ran are named; others may be stronger. A bound of 0 on epsilon does not mean private.",
    "These figures were computed from the training data and are outside any epsilon: treat them as restricted unless "
    "they are accounted for.",
    "Members and non-members must be a random split of one pool by patient; the blind attack shows where not.",
)

_NOT_EXCHANGEABLE = (
    "Members and non-members are told apart without the model: the membership figures show a difference between the "
    "two sets and cannot be read as the model's memory."
)


@dataclass(frozen=True, kw_only=True)
class ModelAuditResult:
    """The outcome.

    Attributes:
        verdict: "CONSISTENT" (nothing contradicts the statement), "CONTRADICTED" (the epsilon bound is over the stated
            epsilon) or "INCONCLUSIVE" (the negative control is not at chance).
        reason: One sentence.
        document: Everything, as in model_audit.json.
    """

    verdict: str
    reason: str
    document: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return self.document

    def lines(self) -> tuple[str, ...]:
        """What a person reads."""
        found = [f"{self.verdict}: {self.reason}"]
        for name, attack in self.document["attacks"].items():
            if attack["state"] == "NOT_RUN":
                found.append(f"{name}: not run ({attack['reason']})")
                continue
            found.append(f"{name}: AUC {_words(attack['auc'])}")
            found += [
                f"  true positives at {rate} false: {_words(value)}"
                for rate, value in attack.items()
                if rate.startswith("0.")
            ]
        found.append(f"control, members against members: AUC {_words(self.document['control'])}")
        if not self.document["exchangeable"]:
            found.append(f"NOTE: {_NOT_EXCHANGEABLE}")
        canaries = self.document["canaries"]
        if canaries["state"] == "DONE":
            bound = canaries["epsilon_lower_bound"]
            found.append(
                f"epsilon is at least {bound['epsilon']:.2f} with {bound['confidence']:.0%} confidence "
                f"({bound['correct']} of {bound['guesses']} guesses right, {bound['canaries']} canaries)"
            )
        else:
            found.append(f"canaries: not run ({canaries['reason']})")
        return tuple(found)


def audit_model(
    settings: ModelAuditSettings,
    model: ClipModel,
    members: PairSource,
    non_members: PairSource,
    out: Path,
    *,
    canaries: Mapping[str, Any] | None = None,
    statement: Mapping[str, Any] | None = None,
    train_fn: TrainFn | None = None,
    progress: Progress = SILENT,
) -> ModelAuditResult:
    """Attack a model and write what came of it.

    Args:
        settings: Which attacks, which confidence.
        model: Under audit.
        members: Pairs it was trained on, or some of them.
        non_members: Pairs of other patients of the same pool.
        out: New or empty; made with mode 0700.
        canaries: Record of the canaries' coins, where the run had some.
        statement: The run's privacy statement, where it has one.
        train_fn: Trains shadow models; needed when `settings.shadows` is not 0.
        progress: Where to report.

    Raises:
        BadInputError: A set is too small, or a patient is in both.
        UsageError: Shadows are wanted and nothing can train them.
    """
    require_empty_or_absent(out)
    if settings.shadows and (train_fn is None or settings.shadows < 4):
        raise UsageError(
            f"LiRA with {settings.shadows} shadow models cannot run", next_step="Use an even number of at least 4."
        )
    inside, outside = side_of(members), side_of(non_members)
    _require_disjoint(inside, outside)
    pool = caption_pool([members, non_members], settings.pool, settings.seed)
    scores_in = inside.by_unit(pair_scores(model, members, pool, progress=progress))
    scores_out = outside.by_unit(pair_scores(model, non_members, pool, progress=progress))
    blind = blind_scores(
        inside.by_unit(plain_features(members)), outside.by_unit(plain_features(non_members)), seed=settings.seed
    )
    attacks = {
        "population": _figures(scores_in, scores_out, settings),
        "blind (no model)": _figures(*blind, settings),
        "lira": {"state": "NOT_RUN", "reason": "no shadow models were asked for (--shadows)"},
    }
    if settings.shadows and train_fn is not None:
        ratios = _lira(settings, train_fn, inside, outside, (scores_in, scores_out), pool, progress)
        attacks["lira"] = _figures(*ratios, settings)
    control = _control(scores_in, settings)
    found = None
    if canaries is not None:
        found = audit_canaries(
            model,
            dict(canaries),
            mechanism=str(statement["mechanism"]) if statement else None,
            delta=float(statement["delta"]) if statement else 0.0,
            confidence=settings.confidence,
            gate_confidence=settings.gate_confidence,
        )
    verdict, reason = _verdict(control, found, statement, settings)
    told_apart = float(attacks["blind (no model)"]["auc"]["low"]) > 0.5
    caveats = [_NOT_EXCHANGEABLE, *_CAVEATS] if told_apart else list(_CAVEATS)
    document = {
        "schema": SCHEMA,
        "verdict": verdict,
        "reason": reason,
        "unit": "patient" if inside.patients and outside.patients else "pair",
        "counts": {"members": len(scores_in), "non_members": len(scores_out)},
        "attacks": attacks,
        "control": control.to_json(),
        "canaries": {"state": "DONE", **found.to_json()}
        if found
        else {"state": "NOT_RUN", "reason": "the run had no canaries (train --canaries)"},
        "stated": None
        if statement is None
        else {name: statement[name] for name in ("epsilon", "delta", "unit", "mechanism", "adjacency")},
        "settings": settings.resolved(),
        "exchangeable": not told_apart,
        "caveats": caveats,
    }
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        out.chmod(0o700)
    write_json(out / RESULT_FILE, document)
    return ModelAuditResult(verdict=verdict, reason=reason, document=document)


def _require_disjoint(inside: Side, outside: Side) -> None:
    if inside.patients and outside.patients:
        both = set(inside.units) & set(outside.units)
        if both:
            raise BadInputError(
                f"{len(both)} patients are among members and non-members alike",
                next_step="Split by patient (`ethicclip split`), then import each part.",
            )
    for name, side in (("members", inside), ("non-members", outside)):
        if len(side.names) < 20:
            raise BadInputError(
                f"{len(side.names)} units are too few {name} to say anything", next_step="Give at least 20."
            )


def _figures(members: Scores, others: Scores, settings: ModelAuditSettings) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "state": "DONE",
        "auc": auc(members, others, confidence=settings.confidence).to_json(),
    }
    for rate in _RATES:
        figures[f"{rate:g}"] = rate_at(members, others, rate, confidence=settings.confidence).to_json()
    return figures


def _control(members: Scores, settings: ModelAuditSettings) -> Estimate:
    """Members against members, halves drawn at random: an attack that tells them apart is broken."""
    order = np.random.default_rng([settings.seed, 0xC7]).permutation(len(members))
    half = len(order) // 2
    return auc(members[order[:half]], members[order[half:]], confidence=_CONTROL_CONFIDENCE)


def _lira(
    settings: ModelAuditSettings,
    train_fn: TrainFn,
    inside: Side,
    outside: Side,
    target: tuple[Scores, Scores],
    pool: list[str],
    progress: Progress,
) -> tuple[Scores, Scores]:
    everyone = Pool(inside, outside)
    halves = shadow_halves(everyone.units, settings.shadows, settings.seed)
    scores = np.empty(halves.shape)
    for number, chosen in enumerate(halves):
        progress.say(f"shadow model {number + 1} of {len(halves)}")
        shadow = train_fn(everyone.subset(chosen), number)
        scores[number] = np.concatenate(
            [side.by_unit(pair_scores(shadow, side.source, pool)) for side in (inside, outside)]
        )
    ratios = likelihood_ratios(np.concatenate(target), scores, halves)
    return ratios[: len(target[0])], ratios[len(target[0]) :]


def _verdict(
    control: Estimate, found: CanaryResult | None, statement: Mapping[str, Any] | None, settings: ModelAuditSettings
) -> tuple[str, str]:
    if found is not None and statement is not None and found.gate.epsilon > float(statement["epsilon"]):
        return (
            "CONTRADICTED",
            f"the run states epsilon {float(statement['epsilon']):.3f}; its canaries show at least "
            f"{found.gate.epsilon:.3f} with {settings.gate_confidence:.1%} confidence: the implementation or its "
            "description is wrong",
        )
    if control.low is None or control.high is None or not control.low <= 0.5 <= control.high:
        return "INCONCLUSIVE", "members are told apart from members: the attack's figures mean nothing here"
    if statement is None:
        return "CONSISTENT", "the run states no epsilon; the figures say what these attacks found"
    if found is None:
        return "CONSISTENT", "no canaries were planted: the stated epsilon was not put to the test"
    return (
        "CONSISTENT",
        f"the canaries show epsilon at least {found.gate.epsilon:.3f} with {settings.gate_confidence:.1%} confidence, "
        f"the run states {float(statement['epsilon']):.3f}",
    )


def _words(value: Mapping[str, Any]) -> str:
    if value.get("estimate") is None:
        return f"not run ({value.get('reason', '')})"
    return f"{value['estimate']:.4f} [{value.get('low', 0.0):.4f}, {value.get('high', 0.0):.4f}] (n {value['n']})"
