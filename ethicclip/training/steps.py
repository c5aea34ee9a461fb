"""One optimisation step: batch in, loss out; precision and device are decided here."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import torch

from ethicclip.clip import ClipModel
from ethicclip.clip.model import shipped_configs
from ethicclip.errors import BadInputError, UsageError
from ethicclip.training.loading import Batch
from ethicclip.training.objectives import MAX_LOGIT_SCALE, contrastive_loss, label_similarity
from ethicclip.training.optimisation import build_optimizer, learning_rate_at
from ethicclip.training.settings import TrainSettings
from ethicclip.training.starting import centre_projections


def choose_device(settings: TrainSettings) -> torch.device:
    """The device that the settings ask for.

    Raises:
        UsageError: "cuda" on a machine without a usable GPU.
    """
    if settings.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("device 'cuda' was asked for and no GPU is usable", next_step="Use device auto or cpu.")
    if settings.device == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda")


def choose_dtype(settings: TrainSettings, device: torch.device) -> torch.dtype:
    """The type of the towers' arithmetic; weights, loss and optimizer stay float32."""
    if settings.precision == "bf16":
        return torch.bfloat16
    # On a CPU bf16 was slower than fp32 for the small convolutional towers; see benchmarks/training.
    if settings.precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    return torch.float32


def choose_learning_rate(settings: TrainSettings) -> float:
    """The highest learning rate: what the settings say, or what suits the model."""
    if settings.learning_rate is not None:
        return settings.learning_rate
    return 3e-3 if settings.model in shipped_configs() else 5e-4


class Trainer:
    """Model, optimizer and schedule of a run.

    Args:
        settings: Of the run.
        model: The model to train; it is moved to the device.
        total_steps: Length of the schedule.
    """

    def __init__(self, settings: TrainSettings, model: ClipModel, total_steps: int) -> None:
        self.settings = settings
        self.device = choose_device(settings)
        self.dtype = choose_dtype(settings, self.device)
        self.model = model.to(self.device)
        # Convolutions over channels_last are up to twice as fast on CPUs and on tensor cores.
        self.model.model.to(memory_format=torch.channels_last)
        self.optimizer = build_optimizer(self.model.model, weight_decay=settings.weight_decay)
        self.total_steps = total_steps
        self.learning_rate = choose_learning_rate(settings)
        self._weights = [weight for weight in self.model.model.parameters() if weight.requires_grad]

    def step(self, batch: Batch) -> tuple[float, float]:
        """Do one step.

        Returns:
            Loss and learning rate.

        Raises:
            BadInputError: Loss or gradient is not finite; the weights are left as they were before the step.
        """
        rate = learning_rate_at(
            batch.step, total=self.total_steps, peak=self.learning_rate, warmup=self.settings.warmup
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        # Towers with dropout draw from torch's generator: a function of the step, so that a resume repeats it.
        torch.manual_seed((self.settings.seed + batch.step) % 2**63)
        self.model.model.train()
        self.optimizer.zero_grad(set_to_none=True)
        loss = self._loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self._weights, self.settings.gradient_clip)
        value = float(loss.detach())
        if not (math.isfinite(value) and math.isfinite(float(norm))):
            raise BadInputError(
                f"step {batch.step + 1} (epoch {batch.epoch}): loss {value}, gradient norm {float(norm)}: not finite",
                details=[f"learning rate {rate:.3g}, precision {str(self.dtype).removeprefix('torch.')}"],
                next_step="Start a new run with a lower learning rate or with precision fp32; the last checkpoint "
                "holds the weights from before.",
            )
        self.optimizer.step()
        with torch.no_grad():
            self._towers.logit_scale.clamp_(0.0, math.log(MAX_LOGIT_SCALE))
        return value, rate

    def begin(self, batch: Batch) -> None:
        """Set the first weights of the projections by the first batch; see `training.starting`."""
        centre_projections(self._towers, *self._inputs(batch))

    @property
    def _towers(self) -> Any:
        return self.model.model

    def _loss(self, batch: Batch) -> torch.Tensor:
        towers = self._towers
        pixels, tokens = self._inputs(batch)
        similarity = label_similarity(batch.labels).to(self.device, non_blocking=True)
        low = self.dtype != torch.float32
        with torch.autocast(self.device.type, dtype=self.dtype) if low else contextlib.nullcontext():
            image = towers.encode_image(pixels)
            text = towers.encode_text(tokens)
        # Cosines and the softmax in float32: bf16 has 8 bits, and the logit scale multiplies their error by up to 100.
        return contrastive_loss(
            torch.nn.functional.normalize(image.float(), dim=-1),
            torch.nn.functional.normalize(text.float(), dim=-1),
            towers.logit_scale.exp(),
            getattr(towers, "logit_bias", None),
            similarity,
            objective=self.settings.objective,
            soft_weight=self.settings.soft_weight,
            within_weight=self.settings.within_weight,
        )

    def _inputs(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = self.model.preprocess.tensor(batch.pixels)
        pixels = pixels.to(self.device, non_blocking=True).contiguous(memory_format=torch.channels_last)
        return pixels, self.model.tokenizer(batch.captions).to(self.device, non_blocking=True)
