"""The privacy statement of a run: everything a reader needs to judge its epsilon, and whose epsilon it is.

`docs/schemas/privacy.schema.json` is this model's JSON schema; a test keeps the two alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, ConfigDict

from ethicclip.privacy.account import Terms
from ethicclip.privacy.accountant import accountant_versions, epsilon_of, replace_one
from ethicclip.privacy.mechanisms import Mechanism, Unit

SCHEMA = "ethicclip/privacy/1"
FILE = "privacy.json"

_POISSON = "Poisson: each unit enters each step by its own coin with probability q; sampling coins secret"

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
    sample_rate_from: Literal["configured", "expected batch over the number of units, which is declared public"]


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
    mechanism: Mechanism
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


def scope_of(origins: Sequence[str], unit: Unit) -> ScopePart:
    """Whose epsilon it is, by where the training pairs come from."""
    found = sorted({str(origin) for origin in origins})
    who = "patients" if unit is Unit.PATIENT else "single photographs (not the patients behind several of them)"
    if found == ["real"]:
        words = f"the {who} in the real pairs this run was trained on"
    elif "real" in found or "mixed" in found:
        words = (
            f"the {who} in the real pairs this run was trained on, and the synthetic records beside them; patients "
            "behind a synthetic record are covered only if its generator was private towards them"
        )
    else:
        words = (
            "the synthetic records this run was trained on, not any patient: patients are covered only where the "
            "generator itself was private towards them"
        )
    return ScopePart(whose=words, origins=found, covers_patients=bool({"real", "mixed"} & set(found)))


def statement(
    terms: Terms,
    *,
    steps: StepsPart,
    unit: Unit,
    mechanism: Mechanism,
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
) -> PrivacyStatement:
    """The statement of a run that took `steps.accounted` steps on `terms`.

    Raises:
        IntegrityError: The accountants disagree.
    """
    events = [terms.event(steps.accounted)]
    spent = epsilon_of(events, terms.delta)
    sensitivity = mechanism.sensitivity_factor * max_grad_norm
    if mechanism is Mechanism.PROMPT_BANK:
        words = (
            "each picture against a fixed bank of public captions; the gradient of each unit is clipped to C and summed"
        )
        of_normaliser = "expected units a step, a configured constant"
    else:
        words = (
            "each sampled unit joins one of G groups at random; contrast inside groups; the gradient of each group is "
            "clipped to C and summed, so that one unit moves the sum by at most 2C"
        )
        of_normaliser = "groups a step, a configured constant"
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
        scope=scope_of(origins, unit),
        sampling=SamplingPart(
            assumed=_POISSON,
            used=_POISSON,
            sample_rate=terms.sample_rate,
            sample_rate_from="configured"
            if rate_configured
            else "expected batch over the number of units, which is declared public",
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
