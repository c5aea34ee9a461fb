"""The privacy statement of a run: everything a reader needs to judge its epsilon, and whose epsilon it is.

`docs/schemas/privacy.schema.json` is this model's JSON schema; a test keeps the two alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ethicclip.privacy.account import Terms
from ethicclip.privacy.accountant import accountant_versions, epsilon_of, replace_one
from ethicclip.privacy.mechanisms import GeneratorMechanism, Mechanism, Unit

SCHEMA = "ethicclip/privacy/1"
FILE = "privacy.json"

_POISSON = "Poisson: each unit enters each step by its own coin with probability q; sampling coins secret"

_EVERY = "none: every unit takes part in every step"

_PAIRS = "pairs this run was trained on"
PICTURES = "pictures this generator was fitted to"

_WORDS: dict[Mechanism | GeneratorMechanism, tuple[str, str]] = {
    Mechanism.PROMPT_BANK: (
        "each picture against a fixed bank of public captions; the gradient of each unit is clipped to C and summed",
        "expected units a step, a configured constant",
    ),
    Mechanism.GROUPED: (
        "each sampled unit joins one of G groups at random; contrast inside groups; the gradient of each group is "
        "clipped to C and summed, so that one unit moves the sum by at most 2C",
        "groups a step, a configured constant",
    ),
    GeneratorMechanism.VOTES: (
        "each unit votes for the candidates nearest to its pictures; its votes are not negative and sum to at most 1, "
        "so that their L2 norm, which stands here as C, is at most 1; votes are summed by candidate",
        "nothing is divided",
    ),
    GeneratorMechanism.DENOISING: (
        "the denoising loss of each picture alone; the gradient of each unit is clipped to C and summed",
        "expected units a step, a configured constant",
    ),
}
"""What a mechanism does, and what its sum is divided by."""

_CAVEATS = (
    "Noise is floating-point Gaussian noise from PyTorch's generator, seeded anew from the operating system at every "
    "step; the seeds are not kept. Attacks on the low bits of floating-point noise (Mironov 2012) are not excluded.",
    "The guarantee covers what the run released: its weights, including those of its checkpoints. It does not cover "
    "the restricted folder, the time that steps took, or anything else computed from the same data.",
    "Upper bounds by the accountants hold for the mechanism described here. `audit-model` can show that an "
    "implementation breaks the bound; it cannot show that one keeps it.",
)


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AccountantPart(_Part):
    """What each accountant said, for adding or removing one unit."""

    prv: float
    pld: float
    versions: dict[str, str]
    rule: str = "the larger of two upper bounds; a difference over max(0.02, 1 %) stops the run"


class SamplingPart(_Part):
    """What the accountants assume of sampling, and what ran."""

    assumed: str
    used: str
    sample_rate: float
    sample_rate_from: Literal[
        "configured", "expected batch over the number of units, which is declared public", "there is no sampling"
    ]


class StepsPart(_Part):
    """Steps planned, accounted for, and lost: accounted, with no effect on the weights."""

    planned: int
    accounted: int
    lost_to_interruptions: int


class NoisePart(_Part):
    """The noise of a step's sum."""

    noise_multiplier: float
    max_grad_norm: float
    sensitivity: float
    noise_std: float
    normaliser: float
    normaliser_is: str


class ScopePart(_Part):
    """Whose epsilon it is."""

    whose: str
    origins: list[str]
    covers_patients: bool


class PrivacyStatement(_Part):
    """See the module; every field is public."""

    schema_: Literal["ethicclip/privacy/1"]
    epsilon: float
    delta: float
    epsilon_target: float
    epsilon_replace_one: float | None
    adjacency: str
    unit: Unit
    mechanism: Mechanism | GeneratorMechanism
    mechanism_words: str
    scope: ScopePart
    sampling: SamplingPart
    noise: NoisePart
    steps: StepsPart
    accountant: AccountantPart
    trained: str
    frozen: list[str]
    public_inputs: list[str]
    tuning: str
    canaries: int
    caveats: list[str]

    def to_json(self) -> dict[str, object]:
        """JSON types, as in privacy.json."""
        document = self.model_dump(mode="json")
        return {"schema": document.pop("schema_"), **document}

    def lines(self) -> tuple[str, ...]:
        """The statement in two lines."""
        replaced = "no finite bound" if self.epsilon_replace_one is None else f"{self.epsilon_replace_one:.3f}"
        return (
            f"epsilon {self.epsilon:.3f} at delta {self.delta:g} ({self.adjacency}; replacing one: {replaced}), "
            f"{self.mechanism}, sigma {self.noise.noise_multiplier:g}",
            f"whose: {self.scope.whose}",
        )


def json_schema() -> dict[str, object]:
    """The JSON schema of privacy.json."""
    schema = PrivacyStatement.model_json_schema()
    properties = schema["properties"]
    schema["properties"] = {"schema": properties.pop("schema_"), **properties}
    schema["required"] = ["schema", *(name for name in schema["required"] if name != "schema_")]
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def scope_of(origins: Sequence[str], unit: Unit, *, data: str = _PAIRS) -> ScopePart:
    """Whose epsilon it is, by where the data come from, which is called `data`."""
    found = sorted({str(origin) for origin in origins})
    who = "patients" if unit is Unit.PATIENT else "single photographs (not the patients behind several of them)"
    if found == ["real"]:
        words = f"the {who} in the real {data}"
    elif "real" in found or "mixed" in found:
        words = (
            f"the {who} in the real {data}, and the synthetic records beside them; patients "
            "behind a synthetic record are covered only if its generator was private towards them"
        )
    else:
        words = (
            f"the synthetic records among the {data}, not any patient: patients are covered only where the "
            "generator itself was private towards them"
        )
    return ScopePart(whose=words, origins=found, covers_patients=bool({"real", "mixed"} & set(found)))


def statement(
    terms: Terms,
    *,
    steps: StepsPart,
    unit: Unit,
    mechanism: Mechanism | GeneratorMechanism,
    max_grad_norm: float,
    normaliser: float,
    origins: Sequence[str],
    rate_configured: bool,
    trained: str,
    frozen: Sequence[str],
    public_inputs: Sequence[str],
    tuning: str,
    canaries: int,
    caveats: Sequence[str] = (),
    data: str = _PAIRS,
) -> PrivacyStatement:
    """The statement of a run that took `steps.accounted` steps on `terms`.

    Raises:
        IntegrityError: The accountants disagree.
    """
    events = [terms.event(steps.accounted)]
    spent = epsilon_of(events, terms.delta)
    sensitivity = mechanism.sensitivity_factor * max_grad_norm
    words, of_normaliser = _WORDS[mechanism]
    sampled = terms.sample_rate < 1
    rate_from: Literal[
        "configured", "expected batch over the number of units, which is declared public", "there is no sampling"
    ] = "configured" if rate_configured else "expected batch over the number of units, which is declared public"
    return PrivacyStatement(
        schema_=SCHEMA,
        epsilon=spent.value,
        delta=terms.delta,
        epsilon_target=terms.epsilon,
        epsilon_replace_one=replace_one(events, terms.delta),
        adjacency=f"add or remove one {unit}",
        unit=unit,
        mechanism=mechanism,
        mechanism_words=words,
        scope=scope_of(origins, unit, data=data),
        sampling=SamplingPart(
            assumed=_POISSON if sampled else _EVERY,
            used=_POISSON if sampled else _EVERY,
            sample_rate=terms.sample_rate,
            sample_rate_from=rate_from if sampled else "there is no sampling",
        ),
        noise=NoisePart(
            noise_multiplier=terms.noise_multiplier,
            max_grad_norm=max_grad_norm,
            sensitivity=sensitivity,
            noise_std=terms.noise_multiplier * sensitivity,
            normaliser=normaliser,
            normaliser_is=of_normaliser,
        ),
        steps=steps,
        accountant=AccountantPart(prv=spent.prv, pld=spent.pld, versions=accountant_versions()),
        trained=trained,
        frozen=list(frozen),
        public_inputs=list(public_inputs),
        tuning=tuning,
        canaries=canaries,
        caveats=[*_CAVEATS, *caveats],
    )
