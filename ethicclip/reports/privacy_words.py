"""A privacy statement and a model audit in the order in which an expert reads them, every number with its meaning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ethicclip.reports.document import Check, Score
from ethicclip.reports.reading_json import as_number, as_score, fields, items
from ethicclip.reports.wording import clean, facts_of, interval, label, number

_ATTACKS = {
    "population": "population attack",
    "blind (no model)": "blind attack, which sees no model",
    "lira": "LiRA with shadow models",
}
_MEASURES = {
    "auc": "AUC",
    "0.001": "true positives at 0.1 % false positives",
    "0.01": "true positives at 1 % false positives",
}


def privacy_facts(claim: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The statement's fields as rows; fields that this release does not know follow under their own names."""
    noise, sampling, steps = (fields(claim, name) for name in ("noise", "sampling", "steps"))
    accountant, scope = fields(claim, "accountant"), fields(claim, "scope")
    replaced = as_number(claim.get("epsilon_replace_one"))
    versions = ", ".join(f"{name} {version}" for name, version in fields(accountant, "versions").items())
    rows = [
        ("Epsilon", f"{_of(claim, 'epsilon')} (target {_of(claim, 'epsilon_target')})"),
        ("Delta", _of(claim, "delta")),
        ("Adjacency", _of(claim, "adjacency")),
        (
            "Epsilon for replacing one unit, same delta",
            "no finite bound" if replaced is None else f"{number(replaced)} (group of two)",
        ),
        ("Unit of privacy", _of(claim, "unit")),
        ("Whose", _of(scope, "whose")),
        ("Origin of the training data", _list(scope, "origins")),
        ("Mechanism", ": ".join(text for text in (_of(claim, "mechanism"), claim.get("mechanism_words")) if text)),
        ("Clipping norm C", _of(noise, "max_grad_norm")),
        ("Sensitivity of a step's sum", _of(noise, "sensitivity")),
        ("Noise multiplier sigma", f"{_of(noise, 'noise_multiplier')} (standard deviation {_of(noise, 'noise_std')})"),
        ("Divisor of the noised sum", f"{_of(noise, 'normaliser')} ({_of(noise, 'normaliser_is')})"),
        ("Sampling rate q", f"{_of(sampling, 'sample_rate')} ({_of(sampling, 'sample_rate_from')})"),
        ("Sampling the accountants assume", _of(sampling, "assumed")),
        (
            "Sampling that ran",
            "the same" if sampling and sampling.get("used") == sampling.get("assumed") else _of(sampling, "used"),
        ),
        (
            "Steps",
            f"{_of(steps, 'accounted')} accounted for of {_of(steps, 'planned')} planned; "
            f"{_of(steps, 'lost_to_interruptions')} lost to interruptions and paid for",
        ),
        ("Accountants", f"PRV {_of(accountant, 'prv')}, PLD {_of(accountant, 'pld')} ({versions or 'no versions'})"),
        ("Which epsilon is stated", _of(accountant, "rule")),
        ("Trained", _of(claim, "trained")),
        ("Frozen", _list(claim, "frozen")),
        ("Public inputs", _list(claim, "public_inputs", "; ")),
        ("How settings were chosen", _of(claim, "tuning")),
        ("Canaries in the training set", _of(claim, "canaries")),
    ]
    known = {
        *("schema", "caveats", "epsilon", "epsilon_target", "delta", "adjacency", "epsilon_replace_one", "unit"),
        *("scope", "mechanism", "mechanism_words", "noise", "sampling", "steps", "accountant", "trained", "frozen"),
        *("public_inputs", "tuning", "canaries"),
    }
    return [*rows, *facts_of({name: value for name, value in claim.items() if name not in known})]


def attacks_of(content: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[Check, ...]]:
    """Attacks on a model that ran, by name, and those that did not, with the reason."""
    ran, not_ran = [], []
    for name, attack in _attacks(content):
        words = _ATTACKS.get(name, clean(name, 80))
        if isinstance(attack, Mapping) and attack.get("state") == "NOT_RUN":
            not_ran.append(Check(name=words, text=str(attack.get("reason") or "")))
        else:
            ran.append(words)
    canaries = fields(content, "canaries")
    if canaries.get("state") == "DONE":
        ran += ["lower bound on epsilon from canaries", "extraction of canaries"]
    elif canaries:
        not_ran.append(Check(name="canaries", text=str(canaries.get("reason") or "")))
    return tuple(ran), tuple(not_ran)


def attack_scores(content: Mapping[str, Any]) -> list[Score]:
    """What each attack reached, with the reason where it could not be computed, and the negative control."""
    found = []
    for name, attack in _attacks(content):
        for measure, words in _MEASURES.items():
            value = attack.get(measure) if isinstance(attack, Mapping) else None
            if isinstance(value, Mapping):
                found.append(as_score(f"{_capital(_ATTACKS.get(name, name))}: {words}", value, None))
    if found:
        found.append(as_score("Negative control, members against members: AUC", content.get("control"), None))
    return found


def attack_facts(content: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Counts, the epsilon bound beside the stated epsilon, and the extraction check."""
    counts, stated, canaries = (fields(content, name) for name in ("counts", "stated", "canaries"))
    rows = [("Unit", _of(content, "unit"))] if content.get("unit") else []
    rows += [(f"{label(str(name))} attacked", number(value)) for name, value in counts.items()]
    if "exchangeable" in content:
        rows.append(
            (
                "Are the two sets alike without the model?",
                "the blind attack does not tell them apart" if content["exchangeable"] else "no: see the caveats",
            )
        )
    if stated:
        rows.append(("Epsilon that the run states", f"{_of(stated, 'epsilon')} at delta {_of(stated, 'delta')}"))
    for name, words in (("epsilon_lower_bound", ""), ("epsilon_lower_bound_gate", ", for the gate")):
        bound = fields(canaries, name)
        if bound:
            rows.append(
                (
                    f"Epsilon is at least{words}",
                    f"{_of(bound, 'epsilon')} with {100 * (as_number(bound.get('confidence')) or 0):g} % confidence "
                    f"({_of(bound, 'correct')} of {_of(bound, 'guesses')} guesses right, {_of(bound, 'canaries')} "
                    "canaries); 0 does not mean private",
                )
            )
    extraction = fields(canaries, "extraction")
    for name, value in fields(extraction, "retrieved").items():
        if isinstance(value, Mapping):
            shown = interval(*(value.get(part) for part in ("estimate", "low", "high", "n")))
            rows.append(
                (f"Canaries {name}: a caption brings back its picture", f"{shown}; chance {_of(extraction, 'chance')}")
            )
    return [*rows, *(("Caveat", str(text)) for text in items(content, "caveats"))]


def _attacks(content: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Attacks in the order of `_ATTACKS`; those of other names follow."""
    known = list(_ATTACKS)
    return sorted(
        fields(content, "attacks").items(),
        key=lambda entry: known.index(entry[0]) if entry[0] in known else len(known),
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _of(values: Mapping[str, Any], name: str) -> str:
    value = values.get(name)
    return "not stated" if value is None else value if isinstance(value, str) else number(value)


def _list(values: Mapping[str, Any], name: str, between: str = ", ") -> str:
    return between.join(str(text) for text in items(values, name)) or "none"
