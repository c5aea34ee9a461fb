"""Settings of learned generators: of fitting one, and of drawing from one; light to import."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from ethicclip.generation.evolution.settings import Tuning
from ethicclip.privacy import Unit
from ethicclip.settings import Settings
from ethicclip.terms import Condition

_GRAIN = 8
"""Sides are multiples of this: three halvings of the network."""
_LARGEST_PIXEL = 128
"""Side up to which pixel space is the default."""


class FitPrivacy(Settings):
    """What a private fit promises.

    Attributes:
        epsilon: Target, for adding or removing one unit.
        delta: Target; None takes min(1e-5, 1/(10 n)).
        unit: Whose presence is hidden.
        max_grad_norm: C, the longest gradient of a unit.
        multiplicity: Draws of picture, time and noise whose mean gradient is a unit's; more make it less noisy and cost
            time, not privacy.
        sample_rate: Poisson rate q; None takes batch_size over the number of units, which declares that number public.
        trained: What learns from patients: "all" weights, or the layers of "attention" and the projections of time and
            conditions alone, some of the weights and so some of the noise (Liu et al. 2023, 2305.15759).
        tuning: What the statement says of how the other settings were chosen.
    """

    epsilon: float = Field(gt=0)
    delta: float | None = Field(default=None, gt=0, lt=1)
    unit: Unit = Unit.PATIENT
    max_grad_norm: float = Field(default=1.0, gt=0)
    multiplicity: int = Field(default=4, ge=1, le=64)
    sample_rate: float | None = Field(default=None, gt=0)
    trained: Literal["all", "attention"] = "all"
    tuning: Tuning = "not stated"


class FitSettings(Settings):
    """How a diffusion model is fitted.

    Attributes:
        size: Side of a picture in pixels, a multiple of 8.
        space: Where diffusion runs: "pixel", or "latent", through `autoencoder`. "auto" is latent where an autoencoder
            is named, and pixel up to 128 pixels a side; beyond that it asks for one of the two.
        autoencoder: Folder of a diffusers AutoencoderKL that you bring; its own pictures, if it learnt patients', are
            covered by no epsilon of this fit.
        channels: Width of the network's first level; the others are multiples of it.
        multipliers: Widths of the levels over `channels`; the last two levels attend.
        layers: Residual blocks a level.
        start: Folder of a finished generator whose weights and shape the fit begins with.
        pretrain_steps: Steps on phantoms before the cohort is seen; they cost no patient's privacy. None with `start`,
            unless you ask for some.
        pretrain_phantoms: How many phantoms that is.
        steps: Steps on the cohort.
        batch_size: Pictures a step.
        learning_rate: Of AdamW, after a warm-up of `warmup` steps.
        ema_decay: Of the average of weights that is kept; it warms up, so that a short run is an average too.
        snr_gamma: Of min-SNR weighting (Hang et al. 2023, 2303.09556).
        drop: Share of pictures whose conditions are withheld, for classifier-free guidance.
        flip: Mirror half of the pictures and call them the other eye.
        deduplicate: Leave out pictures that repeat an earlier one.
        precision: "bf16" computes in half precision; "auto" does so on GPUs that have it.
        device: "auto" takes the GPU where there is one.
        seed: Of weights, order, noise and everything else.
        checkpoint_steps, sheet_steps: Steps between checkpoints, and between sheets of samples.
        watch_steps: Steps between checks for copies, where a reference and a control are given.
        watch_samples: Samples drawn for each check.
        stop_on_leak: End the run at the first check that finds copies.
        privacy: Fit with differential privacy; then `batch_size` is the expected number of units a step, and neither
            deduplication nor checks look at the pictures.
    """

    engine: Literal["diffusion"] = "diffusion"
    size: int = Field(default=64, ge=32, le=512)
    space: Literal["auto", "pixel", "latent"] = "auto"
    autoencoder: str | None = Field(default=None, min_length=1)
    channels: int = Field(default=64, ge=16, le=512, multiple_of=16)
    multipliers: tuple[int, ...] = Field(default=(1, 2, 2, 4), min_length=2, max_length=4)
    layers: int = Field(default=2, ge=1, le=4)
    start: str | None = Field(default=None, min_length=1)
    pretrain_steps: int = Field(default=2000, ge=0)
    pretrain_phantoms: int = Field(default=2000, ge=1)
    steps: int = Field(default=4000, ge=0)
    batch_size: int = Field(default=16, ge=1, le=4096)
    learning_rate: float = Field(default=2e-4, gt=0, le=1)
    warmup: int = Field(default=100, ge=1)
    ema_decay: float = Field(default=0.999, ge=0, lt=1)
    snr_gamma: float = Field(default=5.0, gt=0)
    drop: float = Field(default=0.1, ge=0, lt=1)
    flip: bool = True
    deduplicate: bool = True
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: int = Field(default=0, ge=0, lt=2**63)
    checkpoint_steps: int = Field(default=500, ge=1)
    sheet_steps: int = Field(default=1000, ge=1)
    watch_steps: int = Field(default=1000, ge=1)
    watch_samples: int = Field(default=64, ge=8, le=10_000)
    stop_on_leak: bool = False
    privacy: FitPrivacy | None = None

    @field_validator("size")
    @classmethod
    def _divisible(cls, value: int) -> int:
        return whole(value)

    @property
    def latent(self) -> bool:
        """Whether diffusion runs in latent space."""
        return self.autoencoder is not None

    def resolved(self) -> dict[str, Any]:
        """All values as JSON types; of folders their names only, since papers carry no path."""
        found = super().resolved()
        for name in ("autoencoder", "start"):
            if found[name] is not None:
                found[name] = Path(found[name]).name
        return found

    @model_validator(mode="before")
    @classmethod
    def _after_a_start(cls, values: Any) -> Any:
        """Who starts from a generator has phantoms behind them."""
        if isinstance(values, Mapping) and values.get("start") is not None:
            return {"pretrain_steps": 0, **values}
        return values

    @model_validator(mode="after")
    def _one_space(self) -> Self:
        if self.space == "latent" and self.autoencoder is None:
            raise ValueError(
                "space=latent needs an autoencoder, and none ships: name the folder of a diffusers AutoencoderKL with "
                "--set autoencoder=FOLDER"
            )
        if self.space == "pixel" and self.autoencoder is not None:
            raise ValueError("space=pixel uses no autoencoder: leave one of the two out")
        if self.space == "auto" and self.autoencoder is None and self.size > _LARGEST_PIXEL:
            raise ValueError(
                f"a side of {self.size} pixels is over {_LARGEST_PIXEL}, where diffusion in pixels is slow: name an "
                "autoencoder with --set autoencoder=FOLDER, or insist with --set space=pixel"
            )
        return self

    @model_validator(mode="after")
    def _some_step(self) -> Self:
        if self.pretrain_steps + self.steps < 1:
            raise ValueError("steps and pretrain_steps are both 0: nothing would be learnt")
        if self.privacy is not None and (self.steps < 1 or self.stop_on_leak or self.precision == "bf16"):
            raise ValueError("a private fit needs steps, computes in fp32, and does not stop by looking at patients")
        private, fresh = self.privacy, self.pretrain_steps == 0 and self.start is None
        if private is not None and private.trained == "attention" and fresh:
            raise ValueError(
                "privacy.trained=attention leaves most weights as they are, and they would be fresh: give "
                "pretrain_steps or start"
            )
        return self


class DiffusionSettings(Settings):
    """How pictures are drawn from a learned generator.

    Attributes:
        generator: A folder with a diffusers pipeline, or ``hub:OWNER/NAME[@REVISION]``, which is downloaded.
        steps: Steps of DPM-Solver++ (2M; Lu et al. 2022, 2211.01095).
        guidance: Classifier-free guidance; 1 draws by the conditions alone.
        size: Side in pixels where the pipeline leaves it open (text to image); None takes the pipeline's own.
        sampling: How often each condition leads: one of two tables, or shares of your own.
        classes: Of a foreign class-conditional pipeline: what each class number means.
        licence: What the generator's owner allows; it follows into what is trained on the set.
        device: "auto" takes the GPU where there is one.
    """

    engine: Literal["diffusion"] = "diffusion"
    generator: str = Field(min_length=1)
    count: int = Field(ge=1, le=100_000_000)
    steps: int = Field(default=20, ge=1, le=1000)
    guidance: float = Field(default=2.0, ge=1, le=30)
    size: int | None = Field(default=None, ge=32, le=2048)
    seed: int = Field(default=0, ge=0, lt=2**63)
    languages: tuple[Literal["en", "zh"], ...] = Field(default=("en", "zh"), min_length=1)
    format: Literal["jpg", "png", "webp"] = "jpg"
    quality: int = Field(default=95, ge=50, le=100)
    shard_size: int = Field(default=1000, ge=1, le=100_000)
    sampling: Literal["balanced", "prevalence"] | dict[Condition, float] = "balanced"
    classes: dict[int, Condition] = Field(default_factory=dict)
    licence: str | None = Field(default=None, min_length=2, max_length=300)
    device: Literal["auto", "cpu", "cuda"] = "auto"

    @field_validator("size")
    @classmethod
    def _divisible(cls, value: int | None) -> int | None:
        return None if value is None else whole(value)

    def resolved(self) -> dict[str, Any]:
        """All values as JSON types; of the generator its name only, since papers carry no path."""
        found = super().resolved()
        if not self.generator.startswith("hub:"):
            found["generator"] = Path(self.generator).name
        return found


def whole(size: int) -> int:
    """A side that the network can halve three times.

    Raises:
        ValueError: It is not a multiple of 8.
    """
    if size % _GRAIN:
        low = size // _GRAIN * _GRAIN
        raise ValueError(f"a side of {size} pixels is not a multiple of {_GRAIN}: use {low} or {low + _GRAIN}")
    return size
