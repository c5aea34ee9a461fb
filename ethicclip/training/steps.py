"""One optimisation step: batch in, loss out; precision and device are decided here."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import torch
from torch.nn.functional import normalize

from ethicclip.clip import ClipModel
from ethicclip.clip.model import shipped_configs
from ethicclip.errors import BadInputError, UsageError
from ethicclip.training.bank import LiveBank, bank_losses, public_bank
from ethicclip.training.dense import DenseHeads, dense_loss, supports_dense
from ethicclip.training.loading import Batch
from ethicclip.training.objectives import MAX_LOGIT_SCALE, contrastive_loss, label_similarity
from ethicclip.training.optimisation import build_optimizer, learning_rate_at
from ethicclip.training.resolution import check_coarse, resized, side_at
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


def choose_dtype(settings: TrainSettings, device: torch.device, model: torch.nn.Module) -> torch.dtype:
    """The type of the towers' arithmetic; weights, loss and optimizer stay float32.

    "auto" takes bf16 on a GPU that has it, and on a CPU with bf16 instructions unless the tower normalises in groups:
    there dense convolutions gained when it was chosen, and GroupNorm lost (decision 50).
    """
    if settings.precision != "auto":
        return torch.bfloat16 if settings.precision == "bf16" else torch.float32
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float32
    grouped = any(isinstance(module, torch.nn.GroupNorm) for module in model.modules())
    return torch.bfloat16 if _cpu_has_bf16() and not grouped else torch.float32


def _cpu_has_bf16() -> bool:
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


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
        self.dtype = choose_dtype(settings, self.device, model.model)
        self.model = model.to(self.device)
        # Convolutions over channels_last are up to twice as fast on CPUs and on tensor cores.
        self.model.model.to(memory_format=torch.channels_last)
        check_coarse(settings.coarse_size, self.model.preprocess.size, self._towers.visual)
        self.learned = torch.nn.ModuleDict({"clip": self.model.model})
        if settings.dense_weight > 0 and supports_dense(self._towers.visual):
            self.learned["dense"] = DenseHeads(self._towers.visual).to(self.device)
        self._bank = LiveBank(public_bank(settings.languages), self.model, seed=settings.seed)
        self.optimizer = build_optimizer(self.learned, weight_decay=settings.weight_decay)
        self.total_steps = total_steps
        self.learning_rate = choose_learning_rate(settings)
        self._weights = [weight for weight in self.learned.parameters() if weight.requires_grad]

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
        self.learned.train()
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
        settings, towers = self.settings, self._towers
        pixels, tokens = self._inputs(batch)
        similarity = label_similarity(batch.labels).to(self.device, non_blocking=True)
        bank = self._bank.draw(batch.step) if settings.bank_weight > 0 else None
        low = self.dtype != torch.float32
        with torch.autocast(self.device.type, dtype=self.dtype) if low else contextlib.nullcontext():
            image, maps = self._image(pixels, dense=batch.truth is not None)
            text = towers.encode_text(tokens if bank is None else torch.cat([tokens, bank.tokens.to(self.device)]))
        # Cosines and the softmax in float32: bf16 has 8 bits, and the logit scale multiplies their error by up to 100.
        image, text = normalize(image.float(), dim=-1), normalize(text.float(), dim=-1)
        scale = towers.logit_scale.exp()
        loss = contrastive_loss(
            image,
            text[: len(image)],
            scale,
            getattr(towers, "logit_bias", None),
            similarity,
            objective=settings.objective,
            soft_weight=settings.soft_weight,
            within_weight=settings.within_weight,
        )
        if bank is not None:
            targets = self._bank.targets(batch.labels).to(self.device)
            classes = bank.classes(text[len(image) :])
            loss = loss + settings.bank_weight * bank_losses(image, classes, scale, targets).mean()
        if batch.truth is not None and maps:
            shown, known = batch.truth
            truth = torch.from_numpy(shown).to(self.device, non_blocking=True).permute(0, 3, 1, 2).float() / 255
            loss = loss + settings.dense_weight * dense_loss(maps, truth, torch.from_numpy(known).to(self.device))
        return loss

    def _image(self, pixels: torch.Tensor, *, dense: bool) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Embeddings, and what the dense heads say where there are any."""
        if dense and "dense" in self.learned:
            heads: Any = self.learned["dense"]
            embeddings, maps = heads(self._towers.visual, pixels)
            return embeddings, maps
        return self._towers.encode_image(pixels), []

    def _inputs(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        pixels = self.model.preprocess.tensor(batch.pixels).to(self.device, non_blocking=True)
        side = side_at(
            batch.step,
            total=self.total_steps,
            full=self.model.preprocess.size,
            coarse=self.settings.coarse_size,
            share=self.settings.coarse_share,
        )
        pixels = resized(pixels, side).contiguous(memory_format=torch.channels_last)
        return pixels, self.model.tokenizer(batch.captions).to(self.device, non_blocking=True)
