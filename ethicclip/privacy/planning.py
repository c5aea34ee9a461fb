"""`privacy plan`: what an (epsilon, delta) takes, before any data is read: sigma, the curve of epsilon, the noise."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated, Any

from pydantic import Field

from ethicclip.privacy.accountant import Epsilon, epsilon_of, prv_epsilon, replace_one
from ethicclip.privacy.calibration import noise_for
from ethicclip.privacy.mechanisms import Mechanism, SampledGaussian, Unit, check_rate, default_delta
from ethicclip.settings import Settings

_CURVE_POINTS = 10


class PlanSettings(Settings):
    """What is asked.

    Attributes:
        units: Patients (or pairs) in the data.
        batch_size: Expected units a step.
        epochs: Passes over the units.
        epsilon: Target, for adding or removing one unit.
        delta: Target; None takes min(1e-5, 1/(10 n)).
        mechanism: See `Mechanism`.
        unit: Whose presence is hidden.
        max_grad_norm: C.
        model: Config or architecture whose cost is wanted; None plans the privacy alone.
    """

    units: Annotated[int, Field(ge=1)]
    batch_size: Annotated[int, Field(ge=1)] = 128
    epochs: Annotated[float, Field(gt=0)] = 16
    epsilon: Annotated[float, Field(gt=0)] = 3.0
    delta: Annotated[float, Field(gt=0, lt=1)] | None = None
    mechanism: Mechanism = Mechanism.PROMPT_BANK
    unit: Unit = Unit.PATIENT
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    model: str | None = None


@dataclass(frozen=True, kw_only=True)
class PrivacyPlan:
    """The answer.

    Attributes:
        settings: What was asked.
        delta: The delta used.
        sample_rate: Poisson rate q.
        steps: Steps in all.
        noise_multiplier: sigma.
        stated: Epsilon of the whole run.
        replace_one: Epsilon for replacing one unit.
        curve: (steps, epoch, epsilon) along the run.
        noise_std: Standard deviation of the noise on the clipped sum.
        trained_weights: Weights the noise falls on; None without a model.
        step_seconds: Seconds of a step of expected size on this machine; None without a model.
    """

    settings: PlanSettings
    delta: float
    sample_rate: float
    steps: int
    noise_multiplier: float
    stated: Epsilon
    replace_one: float | None
    curve: tuple[tuple[int, float, float], ...]
    noise_std: float
    trained_weights: int | None = None
    step_seconds: float | None = None

    @property
    def noise_to_signal(self) -> float | None:
        """Expected length of the noise over the longest possible clipped sum of a step of expected size."""
        if self.trained_weights is None:
            return None
        return (
            self.noise_std * math.sqrt(self.trained_weights) / (self.settings.max_grad_norm * self.settings.batch_size)
        )

    def to_json(self) -> dict[str, Any]:
        """What ``--json`` prints."""
        return {
            "settings": self.settings.resolved(),
            "delta": self.delta,
            "sample_rate": self.sample_rate,
            "steps": self.steps,
            "noise_multiplier": self.noise_multiplier,
            "epsilon": self.stated.to_json(),
            "epsilon_replace_one": self.replace_one,
            "adjacency": f"add or remove one {self.settings.unit}",
            "curve": [{"steps": steps, "epoch": epoch, "epsilon": value} for steps, epoch, value in self.curve],
            "noise_std": self.noise_std,
            "trained_weights": self.trained_weights,
            "noise_to_signal": self.noise_to_signal,
            "step_seconds": self.step_seconds,
            "seconds": None if self.step_seconds is None else self.step_seconds * self.steps,
        }

    def lines(self) -> tuple[str, ...]:
        """What a person reads."""
        asked = self.settings
        replaced = "no finite bound" if self.replace_one is None else f"{self.replace_one:.3f}"
        lines = [
            f"{asked.units:,} units, {asked.batch_size} a step (q {self.sample_rate:.4g}), {self.steps:,} steps, "
            f"{asked.mechanism}",
            f"sigma {self.noise_multiplier:g}: epsilon {self.stated.value:.3f} at delta {self.delta:g} for adding or "
            f"removing one {asked.unit} (PRV {self.stated.prv:.3f}, PLD {self.stated.pld:.3f}); "
            f"replacing one: {replaced}",
            "epsilon along the run: "
            + ", ".join(f"{value:.2f} at epoch {epoch:.3g}" for _, epoch, value in self.curve),
        ]
        if self.noise_to_signal is not None:
            lines.append(
                f"{self.trained_weights:,} trained weights: the noise of a step is {self.noise_to_signal:.2g} times as "
                "long as the longest sum it hides"
            )
        if self.step_seconds is not None:
            lines.append(
                f"about {self.step_seconds * self.steps / 60:.1f} minutes on this machine, reading not counted"
            )
        lines.append("whose: the units of the data that is trained on; patients only where that data is real")
        return tuple(lines)


def plan(
    settings: PlanSettings, *, trained_weights: int | None = None, step_seconds: float | None = None
) -> PrivacyPlan:
    """Calibrate and describe; no data is read and nothing is written.

    Args:
        settings: What is asked.
        trained_weights: Weights that would be trained, where a model was named.
        step_seconds: Measured seconds of one private step, where a model was named.

    Raises:
        UsageError: q over 1, or a target that no noise reaches.
        IntegrityError: The accountants disagree.
    """
    rate = check_rate(settings.batch_size / settings.units)
    steps = max(1, round(settings.epochs / rate))
    delta = default_delta(settings.units) if settings.delta is None else settings.delta
    sigma = noise_for(settings.epsilon, delta, sample_rate=rate, steps=steps)

    def event(count: int) -> SampledGaussian:
        return SampledGaussian(noise_multiplier=sigma, sample_rate=rate, steps=count)

    return PrivacyPlan(
        settings=settings,
        delta=delta,
        sample_rate=rate,
        steps=steps,
        noise_multiplier=sigma,
        stated=epsilon_of([event(steps)], delta),
        replace_one=replace_one([event(steps)], delta),
        curve=tuple(
            (count, round(count * rate, 3), prv_epsilon((event(count),), delta)) for count in curve_steps(steps)
        ),
        noise_std=sigma * settings.mechanism.sensitivity_factor * settings.max_grad_norm,
        trained_weights=trained_weights,
        step_seconds=step_seconds,
    )


def curve_steps(steps: int, points: int = _CURVE_POINTS) -> list[int]:
    """Up to `points` step counts from few to all, evenly spread, the last included."""
    return sorted({math.ceil(steps * part / points) for part in range(1, points + 1)})


class EpsilonSoFar:
    """An upper bound on epsilon after each step, from few evaluations: epsilon never falls, so the next one bounds it.

    Args:
        event: Gives the mechanism's noise and rate; its steps are the most that will be asked about.
        delta: At which delta.
    """

    def __init__(self, event: SampledGaussian, delta: float) -> None:
        def released(steps: int) -> tuple[SampledGaussian]:
            return (replace(event, steps=steps),)

        last = max(1, event.steps)
        whole = prv_epsilon(released(last), delta)
        # A wide error is cheap; no part of the run costs more than the whole.
        self._known = [
            (count, min(whole, prv_epsilon(released(count), delta, 0.01)) if count < last else whole)
            for count in curve_steps(last)
        ]

    def after(self, steps: int) -> float:
        """The bound after `steps` steps; 0 before the first."""
        if steps < 1:
            return 0.0
        return next((value for count, value in self._known if count >= steps), self._known[-1][1])
