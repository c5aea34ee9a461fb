"""`fit-generator --engine evolution`: a recipe for the phantom that patients voted for, with a patient-level epsilon.

Private Evolution over a simulator's parameters (Lin et al. 2025, "Sim-PE", 2502.05505). Each round renders candidates,
lets every unit vote for those nearest to its pictures, adds Gaussian noise to the sum, and makes the next candidates
from the noisy votes alone. What leaves the house is the recipe: a function of the noisy votes. Nothing else that was
computed from patients' pictures is kept or shown.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ethicclip.errors import BadInputError
from ethicclip.files import canonical_json, require_empty_or_absent, sha256_bytes, sha256_file, write_json, write_text
from ethicclip.generation.evolution.candidates import CLASSES, Candidate, first_candidates, next_candidates
from ethicclip.generation.evolution.embedding import Embed, Floats, standard_embedding
from ethicclip.generation.evolution.settings import EvolutionSettings
from ethicclip.generation.evolution.voting import SENSITIVITY, Doubles, Electorate, thresholded
from ethicclip.generation.learning import LearningSet, refuse_empty
from ethicclip.generation.phantom import GENERATOR, PhantomEngine
from ethicclip.generation.settings import Component, GenerateSettings
from ethicclip.generation.streams import GENERATED, stream
from ethicclip.privacy import (
    Budget,
    GeneratorMechanism,
    PrivacyStatement,
    Purpose,
    SampledGaussian,
    Terms,
    Unit,
    noise_for,
)
from ethicclip.privacy.mechanisms import default_delta
from ethicclip.privacy.statement import FILE as STATEMENT_FILE
from ethicclip.privacy.statement import PICTURES, StepsPart, statement
from ethicclip.privacy.units import Entropy, units_of
from ethicclip.progress import SILENT, Progress
from ethicclip.provenance import KeyStore
from ethicclip.terms import Condition

RECIPE_FILE = "recipe.yaml"
_LEAST_SEATS = 1
_MOST_COMPONENTS = 64
_EVOLUTION = 4
"""Last word of the key of the changes' random stream."""

_HEAD = """\
# A recipe for `ethicclip generate --config THIS_FILE --count N --out PAIRS`, made by
# `ethicclip fit-generator --engine evolution`. Patients' pictures entered through noisy votes only; the statement
# beside it (privacy.json) says what that costs whom.
"""


@dataclass(frozen=True, kw_only=True)
class EvolutionResult:
    """A finished recipe.

    Attributes:
        out: Its folder: recipe.yaml and privacy.json.
        statement: What may be said of its privacy.
        components: Parts of the mixture.
        shares: Share of each condition in it: of noisy votes, so released with the recipe.
        seconds: Wall clock of the call.
    """

    out: Path
    statement: PrivacyStatement
    components: int
    shares: dict[str, float]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """JSON types."""
        return {
            "out": str(self.out),
            "engine": "evolution",
            "components": self.components,
            "shares": self.shares,
            "privacy": self.statement.to_json(),
            "seconds": round(self.seconds, 3),
        }

    def lines(self) -> tuple[str, ...]:
        """What a person reads."""
        listed = ", ".join(f"{name} {share:.2f}" for name, share in self.shares.items())
        return (
            f"a recipe of {self.components} parts in {self.out / RECIPE_FILE} ({self.seconds:.0f} s): {listed}",
            *self.statement.lines(),
            f"draw from it: ethicclip generate --config {self.out / RECIPE_FILE} --count N --out PAIRS",
        )


def evolve(
    settings: EvolutionSettings,
    learning: LearningSet,
    out: Path,
    *,
    budget: Path | None = None,
    keys: KeyStore | None = None,
    embed: Embed | None = None,
    entropy: Entropy = os.urandom,
    progress: Progress = SILENT,
) -> EvolutionResult:
    """Evolve a recipe for the phantom.

    Args:
        settings: Budget, rounds, candidates.
        learning: The patients' pictures; with patient ids where the unit is the patient.
        out: Folder of the recipe: new or empty.
        budget: Joint budget of these patients, in which the votes are reserved before the first.
        keys: Seal the budget; the machine's own by default.
        embed: Where pictures lie; `standard_embedding` by default. It must not depend on the private pictures.
        entropy: Seeds the noise; an argument for tests.
        progress: Where to report; no figure of a patient is among it.

    Raises:
        BadInputError: A picture without a patient where patients are protected, an empty set, a folder in use.
        UsageError: An epsilon out of reach, or over the joint budget.
    """
    started = time.monotonic()
    require_empty_or_absent(out)
    refuse_empty(learning)
    if settings.candidates < _LEAST_SEATS * len(CLASSES):
        raise BadInputError(f"{settings.candidates} candidates are fewer than the {len(CLASSES)} conditions")
    units = units_of(learning.patient_ids, settings.unit)
    terms = terms_of(settings, units=len(units))
    store = keys or KeyStore.default()
    number = sha256_bytes(os.urandom(16))[:16]
    if budget is not None:
        event = terms.event(terms.allowed_steps)
        Budget(budget, store).reserve(
            number, Purpose.GENERATOR, f"evolution of {learning.alias}", event, unit=settings.unit
        )
    placed = embed or standard_embedding(settings.appearance)
    with progress.task("embedding pictures", total=len(learning), unit="images") as bar:

        def pictures() -> Any:
            for row in range(len(learning)):
                bar.advance()
                yield learning.image(row, 2 * settings.size)

        electorate = Electorate(points=placed(pictures()), known=learning.known, units=units)
    candidates, weights = _elect(settings, electorate, terms, placed, entropy, progress)
    if budget is not None:
        Budget(budget, store).settle(number, terms.allowed_steps)
    said = statement(
        terms,
        steps=StepsPart(planned=settings.votes, accounted=settings.votes, lost_to_interruptions=0),
        unit=settings.unit,
        mechanism=GeneratorMechanism.VOTES,
        max_grad_norm=SENSITIVITY,
        normaliser=1.0,
        origins=[str(learning.origin)],
        rate_configured=False,
        trained="nothing: the recipe's parameters follow from noisy votes",
        frozen=[],
        public_inputs=[
            f"the renderer {GENERATOR} and its priors",
            "the built-in CLIP model and a thumbnail of colours, as the space in which pictures vote",
        ],
        tuning=settings.tuning,
        canaries=0,
        caveats=_caveats(settings.unit),
        data=PICTURES,
    )
    mixture = _mixture(candidates, weights, settings)
    _write(out, settings, mixture, said)
    shares = {
        condition.value: round(sum(part.weight for part, item in mixture if item.condition is condition), 4)
        for condition in Condition
    }
    return EvolutionResult(
        out=out,
        statement=said,
        components=len(mixture),
        shares={name: share for name, share in sorted(shares.items(), key=lambda item: -item[1]) if share},
        seconds=time.monotonic() - started,
    )


def terms_of(settings: EvolutionSettings, *, units: int) -> Terms:
    """What the votes may cost: `settings.votes` releases in which every unit takes part.

    Raises:
        UsageError: An epsilon that no noise reaches.
    """
    delta = default_delta(units) if settings.delta is None else settings.delta
    sigma = noise_for(settings.epsilon, delta, sample_rate=1.0, steps=settings.votes)
    SampledGaussian(noise_multiplier=sigma, sample_rate=1.0, steps=settings.votes)
    return Terms(
        run=sha256_bytes(canonical_json(settings.resolved())),
        epsilon=settings.epsilon,
        delta=delta,
        noise_multiplier=sigma,
        sample_rate=1.0,
        allowed_steps=settings.votes,
    )


def _elect(
    settings: EvolutionSettings,
    electorate: Electorate,
    terms: Terms,
    embed: Embed,
    entropy: Entropy,
    progress: Progress,
) -> tuple[list[Candidate], Doubles]:
    """All rounds; the last candidates with their thresholded noisy votes."""
    random = stream(GENERATED, settings.seed, 0, _EVOLUTION)
    candidates = first_candidates(settings.candidates, settings.seed)
    weights = np.zeros(len(candidates))
    with progress.task("voting", total=settings.votes, unit="rounds") as bar:
        for vote in range(settings.votes):
            if vote:
                spread = max(settings.kernel, settings.spread * 0.5 ** (vote - 1))
                candidates = next_candidates(candidates, weights, spread=spread, least=_LEAST_SEATS, random=random)
            places = _places(settings, candidates, vote, embed)
            votes = electorate.noisy_votes(candidates, places, terms.noise_multiplier, entropy)
            weights = thresholded(votes, terms.noise_multiplier)
            bar.advance()
    return candidates, weights


def _places(settings: EvolutionSettings, candidates: Sequence[Candidate], vote: int, embed: Embed) -> Floats:
    """Mean embedding of each candidate's phantoms, float32 (candidates, d)."""

    def pictures() -> Any:
        for number, candidate in enumerate(candidates):
            asked = GenerateSettings(
                count=1, size=settings.size, seed=settings.seed, masks=False, findings=candidate.findings(0.0)
            )
            engine = PhantomEngine(asked)
            for shot in range(settings.renders):
                # Other eyes in every round and of every candidate, and none that a small set would show.
                yield engine.image(2**40 + (vote * len(candidates) + number) * settings.renders + shot)

    points = embed(pictures())
    return np.asarray(points.reshape(len(candidates), settings.renders, -1).mean(axis=1), dtype=np.float32)


def _mixture(
    candidates: Sequence[Candidate], weights: Doubles, settings: EvolutionSettings
) -> list[tuple[Component, Candidate]]:
    """The strongest candidates as parts of a recipe; all alike where noise left no vote at all."""
    if weights.sum() <= 0:
        weights = np.ones(len(candidates))
    order = np.argsort(-weights, kind="stable")[:_MOST_COMPONENTS]
    kept = [int(row) for row in order if weights[row] > 0]
    total = float(weights[kept].sum())
    return [
        (
            Component(weight=float(f"{weights[row] / total:.6g}"), findings=candidates[row].findings(settings.kernel)),
            candidates[row],
        )
        for row in kept
    ]


def _write(
    out: Path, settings: EvolutionSettings, mixture: Sequence[tuple[Component, Candidate]], said: PrivacyStatement
) -> None:
    """The statement first: a recipe without one must not exist."""
    write_json(out / STATEMENT_FILE, said.to_json())
    fitted = {
        "whose": said.scope.whose,
        "epsilon": said.epsilon,
        "delta": said.delta,
        "unit": str(said.unit),
        "statement_sha256": sha256_file(out / STATEMENT_FILE),
    }
    recipe = {
        "generate": {
            "fitted": fitted,
            "mixture": [
                {
                    "weight": part.weight,
                    "findings": part.findings.model_dump(mode="json", exclude_defaults=True),
                }
                for part, _ in mixture
            ],
        },
        "fit-generator": settings.resolved(),
    }
    write_text(out / RECIPE_FILE, _HEAD + yaml.safe_dump(recipe, sort_keys=True, default_flow_style=None, width=120))


def _caveats(unit: Unit) -> list[str]:
    lines = ["The number of units is treated as public: unless given, delta follows from it."]
    if unit is Unit.PATIENT:
        lines.append("A patient is what one patient id names; photographs of one person under two ids are two units.")
    lines.append(
        "Whatever is drawn from the recipe is post-processing of it and costs nothing more. A filter that looks at "
        "patients again, such as `generate --guard`, is not: it ends this epsilon."
    )
    return lines
