"""What `train` can be told. What changes only speed (workers, cache) is an argument, not a setting."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from ethicclip.privacy import Mechanism, Purpose, Unit
from ethicclip.settings import Settings

Objective = Literal["clip", "soft_clip", "siglip"]
Language = Literal["en", "zh"]
_NOT_PRIVATE = ("average", "chunk", "coarse_size", "compile", "recompute", "pretrained", "frozen", "validate_steps")
Tuning = Literal["not stated", "not on private data", "on private data, unaccounted", "on private data, in the budget"]


class PrivateSettings(Settings):
    """What a differentially private run promises, and how it keeps it.

    Attributes:
        epsilon: Target, for adding or removing one unit.
        delta: Target; None takes min(1e-5, 1/(10 n)).
        mechanism: "prompt-bank" contrasts each picture with a bank of public captions; "grouped" contrasts pairs inside
            groups drawn at random.
        unit: Whose presence is hidden: everything of a patient, or one pair.
        max_grad_norm: C, the longest gradient of a unit (prompt-bank) or of a group (grouped).
        groups: Of "grouped": groups a step, a constant of the mechanism.
        max_group_pairs: Of "grouped": pairs beyond this are left out of their own group; also bounds memory.
        max_unit_pairs: Pairs of one unit used in a step, drawn at random where it has more.
        sample_rate: Poisson rate q; None takes batch_size over the number of units, which declares that number public.
        noise_multiplier: sigma; None calibrates it to the target. Given, the run stops before the target is passed.
        trained: "towers" (both, without token embeddings; "grouped" only), "image", or "head" (the image tower's last
            projection: noise falls on few weights). None takes "towers" for "grouped"; for "prompt-bank" it takes
            "head" where it goes on from `start`, "image" otherwise.
        class_prior: Of "prompt-bank": how common each class is believed to be, from public sources and never counted on
            the private pairs; the loss then does not learn the imbalance (logit adjustment, Menon et al. 2021). Classes
            are named as `labels` and "grade_1" ... "grade_4"; what is not named counts as rare.
        text_steps: Of "prompt-bank" without `start`: steps in which the text tower learns to tell the public bank's
            classes apart, before any private pair is read.
        start: Folder of a model to begin with. Its own training must not have seen these patients, or has to be
            accounted for in the same budget.
        tuning: What the statement says of how the other settings were chosen.
        purpose: What the release counts as in a joint budget.
    """

    epsilon: Annotated[float, Field(gt=0)]
    delta: Annotated[float, Field(gt=0, lt=1)] | None = None
    mechanism: Mechanism = Mechanism.PROMPT_BANK
    unit: Unit = Unit.PATIENT
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    groups: Annotated[int, Field(ge=1)] = 8
    max_group_pairs: Annotated[int, Field(ge=2)] = 64
    max_unit_pairs: Annotated[int, Field(ge=1)] = 8
    sample_rate: Annotated[float, Field(gt=0)] | None = None
    noise_multiplier: Annotated[float, Field(gt=0)] | None = None
    trained: Literal["towers", "image", "head"] | None = None
    class_prior: dict[str, Annotated[float, Field(gt=0)]] | None = None
    text_steps: Annotated[int, Field(ge=0)] = 100
    start: str | None = None
    tuning: Tuning = "not stated"
    purpose: Purpose = Purpose.TRAINING

    @property
    def part(self) -> Literal["towers", "image", "head"]:
        """What is trained, with the default resolved."""
        if self.trained is not None:
            return self.trained
        if self.mechanism is Mechanism.GROUPED:
            return "towers"
        return "image" if self.start is None else "head"

    @model_validator(mode="after")
    def _trainable(self) -> Self:
        if self.mechanism is Mechanism.PROMPT_BANK and self.trained == "towers":
            raise ValueError("prompt-bank trains the image tower only: trained is image or head")
        return self


class TrainSettings(Settings):
    """Settings of one training run.

    Attributes:
        model: A config of `clip/configs` or the name of an open_clip architecture.
        image_size: Side of the model's input in pixels; None takes the config's.
        local_mean: Subtract the local mean from every picture (see `clip.preprocessing`).
        epochs: Passes over all pairs.
        batch_size: Pairs a step; each is contrasted with all others of its step.
        learning_rate: Highest learning rate, after warm-up; None takes 3e-3 for our own configs, which are small, and
            5e-4 for open_clip's architectures.
        warmup: Share of all steps in which the rate rises from zero; then it falls as a cosine to zero.
        weight_decay: Of AdamW, on matrices and filters only.
        gradient_clip: Largest norm of the gradient of all weights together.
        objective: "clip" (each picture has one right caption), "soft_clip" (captions of pairs with like labels share
            the target), "siglip" (every pair of picture and caption is judged alone).
        soft_weight: Of "soft_clip": share of the target that goes to all pairs with similar labels, the rest stays with
            the pair's own caption.
        within_weight: Of "soft_clip": weight of the same contrast of pictures with pictures and captions with captions.
        bank_weight: Weight of each picture's contrast with the public bank of prompts, by the labels of its pair; pairs
            without known labels do not count.
        dense_weight: Weight of telling where structures and lesions lie, for pairs with masks and image towers with
            feature maps; see `training.dense`.
        languages: Caption languages to draw from, evenly.
        prompt_share: Share of captions replaced by the plain name of the diagnosis, the form of zero-shot prompts.
        coarse_size: Side in pixels of the pictures of the early steps, None for the full size throughout; see
            `training.resolution`.
        coarse_share: Share of all steps that are early in that sense.
        augment: Small rotations, scalings, shifts, changes of contrast by channel, grain: none that makes a caption
            untrue.
        precision: "fp32", "bf16", or "auto": bf16 where the hardware has it and the towers gain from it; see
            `training.steps.choose_dtype`.
        device: "cpu", "cuda", or "auto": the GPU when there is one.
        seed: Of weights, order, captions and augmentation.
        average: Decay of a moving average of the weights, which is then what is validated and exported, such as 0.999;
            None exports the weights of the last step.
        chunk: Largest number of pairs a process holds at a time. A larger batch is embedded in chunks twice, once for
            the loss of the whole batch and once for its gradient (Gao et al. 2021, 2101.06983): the same step to
            rounding, in a chunk's memory. Towers with BatchNorm normalise each chunk by itself. None takes the batch.
        compile: Compile the towers (torch.compile): minutes before the first step, then perhaps faster steps; see
            `training.compiling`. Needs a C++ compiler. The kernels round in their own way: the curve differs a little.
        recompute: Keep few activations and compute them again in the backward pass: less memory, more time.
        pretrained: Weights to begin with: a run folder, a weights file, or `open_clip:TAG`, which open_clip downloads.
        pretrained_towers: Which towers take them; the other begins fresh.
        frozen: A tower that is not trained; it must be pretrained.
        validate_steps: Steps between validations, where there are validation pairs; None validates after each epoch.
        validation_public: Whoever sets it says that validation pairs showing real patients are public.
        checkpoint_steps: Steps between checkpoints.
        canaries: Pairs made up for `audit-model`, each put in with probability one half.
        privacy: Train with differential privacy; then `batch_size` is the expected number of units a step.
    """

    model: str = "tiny"
    image_size: Annotated[int, Field(ge=32, le=2048)] | None = None
    local_mean: bool = True
    epochs: Annotated[int, Field(ge=1)] = 16
    batch_size: Annotated[int, Field(ge=2)] = 32
    learning_rate: Annotated[float, Field(gt=0, le=1)] | None = None
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.05
    gradient_clip: Annotated[float, Field(gt=0)] = 1.0
    objective: Objective = "soft_clip"
    soft_weight: Annotated[float, Field(ge=0, le=1)] = 0.8
    within_weight: Annotated[float, Field(ge=0)] = 1.0
    bank_weight: Annotated[float, Field(ge=0)] = 1.0
    dense_weight: Annotated[float, Field(ge=0)] = 10.0
    languages: tuple[Language, ...] = ("en", "zh")
    prompt_share: Annotated[float, Field(ge=0, le=1)] = 0.4
    coarse_size: Annotated[int, Field(ge=32, le=2048)] | None = None
    coarse_share: Annotated[float, Field(gt=0, lt=1)] = 0.5
    augment: bool = True
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    average: Annotated[float, Field(gt=0, lt=1)] | None = None
    chunk: Annotated[int, Field(ge=1)] | None = None
    compile: bool = False
    recompute: bool = False
    pretrained: str | None = None
    pretrained_towers: Literal["both", "image", "text"] = "both"
    frozen: Literal["image", "text"] | None = None
    validate_steps: Annotated[int, Field(ge=1)] | None = None
    validation_public: bool = False
    checkpoint_steps: Annotated[int, Field(ge=1)] = 200
    canaries: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    privacy: PrivateSettings | None = None

    @field_validator("languages")
    @classmethod
    def _some_language(cls, languages: tuple[Language, ...]) -> tuple[Language, ...]:
        if not languages or len(set(languages)) != len(languages):
            raise ValueError("name each caption language once, and at least one")
        return languages

    @model_validator(mode="after")
    def _frozen_knows_something(self) -> Self:
        if self.frozen is not None and (self.pretrained is None or self.frozen not in self.given_towers):
            raise ValueError(f"the {self.frozen} tower is frozen and not pretrained: it would stay as it was drawn")
        return self

    @model_validator(mode="after")
    def _private_runs_have_their_own(self) -> Self:
        typed = [name for name in _NOT_PRIVATE if getattr(self, name) not in (None, False)]
        if self.privacy is not None and typed:
            raise ValueError(f"a private run has no {', '.join(typed)}")
        return self

    @property
    def given_towers(self) -> tuple[str, ...]:
        """The towers that `pretrained` fills."""
        if self.pretrained is None:
            return ()
        return ("image", "text") if self.pretrained_towers == "both" else (self.pretrained_towers,)
