"""The audit by canaries: can the model tell which were put in, and does a canary's caption bring back its picture?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ethicclip.audits.models.membership import proportion_interval
from ethicclip.audits.models.one_run import OneRunBound, one_run_bound
from ethicclip.audits.models.signals import label_scores, pair_scores
from ethicclip.clip import ClipModel
from ethicclip.pairs.canaries import CanarySource


@dataclass(frozen=True, kw_only=True)
class CanaryResult:
    """What the canaries showed.

    Attributes:
        bound: Lower bound on epsilon at the ordinary confidence.
        gate: The same at the confidence of the gate.
        retrieved: Of canaries put in and left out: how often a caption brings back its own picture first, of how many.
        chance: Probability of that by chance.
        extracted: Whether the share of those put in is over that of the others, intervals apart.
    """

    bound: OneRunBound
    gate: OneRunBound
    retrieved: dict[str, dict[str, Any]]
    chance: float
    extracted: bool

    def to_json(self) -> dict[str, Any]:
        """JSON types."""
        return {
            "epsilon_lower_bound": self.bound.to_json(),
            "epsilon_lower_bound_gate": self.gate.to_json(),
            "extraction": {"retrieved": self.retrieved, "chance": self.chance, "extracted": self.extracted},
        }


def audit_canaries(
    model: ClipModel,
    record: dict[str, Any],
    *,
    mechanism: str | None,
    delta: float,
    confidence: float,
    gate_confidence: float,
) -> CanaryResult:
    """Score every canary without its coin, then turn the coins.

    A canary's score is how well the model knows what training showed of it: its label among all conditions where the
    mechanism reads labels only (prompt-bank), its caption among all canaries' captions otherwise.

    Args:
        model: Under audit.
        record: From `pairs.canaries.read_canaries`.
        mechanism: The run's, None for a plain run.
        delta: Of the mechanism under test.
        confidence: Of the bound to print.
        gate_confidence: Of the bound for the gate.
    """
    source = CanarySource(range(record["count"]), record["family"])
    captions = [source.caption(index) for index in range(len(source))]
    scores = label_scores(model, source) if mechanism == "prompt-bank" else pair_scores(model, source, captions)
    included = np.array(record["coins"], dtype=bool)
    bounds = [one_run_bound(scores, included, delta=delta, confidence=level) for level in (confidence, gate_confidence)]
    found = _retrieved(model, source, captions)
    shares: dict[str, dict[str, Any]] = {}
    for name, chosen in (("put in", included), ("left out", ~included)):
        hits, total = int(found[chosen].sum()), int(chosen.sum())
        low, high = proportion_interval(hits, max(1, total), confidence)
        shares[name] = {"estimate": hits / max(1, total), "low": low, "high": high, "n": total}
    return CanaryResult(
        bound=bounds[0],
        gate=bounds[1],
        retrieved=shares,
        chance=1 / len(source),
        extracted=shares["put in"]["low"] > shares["left out"]["high"],
    )


def _retrieved(model: ClipModel, source: CanarySource, captions: list[str]) -> npt.NDArray[np.bool_]:
    """Whether each caption's nearest picture among all canaries is its own."""
    images = model.encode_images(source.image(index) for index in range(len(source)))
    texts = model.encode_texts(captions)
    return np.asarray((texts @ images.T).argmax(1) == np.arange(len(captions)))
