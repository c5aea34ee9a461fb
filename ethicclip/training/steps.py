"""One optimisation step: batch in, loss out; precision and device are decided here.

The loss needs the whole batch, the towers do not: features are embedded first, in chunks and by several processes where
asked for; the loss gives each feature its gradient; the towers then take theirs from it, chunk by chunk. With one chunk
and one process that is plain backpropagation in two parts.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import normalize

from ethicclip.clip import ClipModel
from ethicclip.clip.model import shipped_configs
from ethicclip.errors import BadInputError, UsageError
from ethicclip.processes import ALONE, Processes
from ethicclip.training.averaging import Average
from ethicclip.training.bank import BankDraw, LiveBank, bank_losses, public_bank
from ethicclip.training.compiling import compiled
from ethicclip.training.dense import DenseHeads, dense_loss, supports_dense
from ethicclip.training.loading import Batch
from ethicclip.training.objectives import MAX_LOGIT_SCALE, contrastive_loss, label_similarity
from ethicclip.training.optimisation import build_optimizer, learning_rate_at
from ethicclip.training.resolution import resized, side_at
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
        processes: Who else takes part; each gives `step` its own share of the batch.

    Raises:
        UsageError: A GPU asked for and absent.
    """

    def __init__(
        self, settings: TrainSettings, model: ClipModel, total_steps: int, *, processes: Processes = ALONE
    ) -> None:
        self.settings = settings
        self.device = choose_device(settings)
        self.dtype = choose_dtype(settings, self.device, model.model)
        self.model = model.to(self.device)
        # Convolutions over channels_last are up to twice as fast on CPUs and on tensor cores.
        self.model.model.to(memory_format=torch.channels_last)
        self.learned = torch.nn.ModuleDict({"clip": self.model.model})
        if settings.dense_weight > 0 and settings.frozen != "image" and supports_dense(self._towers.visual):
            self.learned["dense"] = DenseHeads(self._towers.visual).to(self.device)
        if settings.frozen is not None:
            for weight in _weights_of(self._towers, settings.frozen):
                weight.requires_grad_(False)
        self._look = compiled(self._image, wanted=settings.compile)
        self._read = compiled(self._towers.encode_text, wanted=settings.compile)
        self._bank = LiveBank(public_bank(settings.languages), self.model, seed=settings.seed)
        self.optimizer = build_optimizer(self.learned, weight_decay=settings.weight_decay)
        self.total_steps = total_steps
        self.learning_rate = choose_learning_rate(settings)
        self._weights = [weight for weight in self.learned.parameters() if weight.requires_grad]
        self._processes = processes
        self.average = None if settings.average is None else Average(self.model.model, settings.average)

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
        self._train_mode()
        self.optimizer.zero_grad(set_to_none=True)
        value = self._backward(batch)
        self._processes.sum_gradients(self._weights)
        norm = torch.nn.utils.clip_grad_norm_(self._weights, self.settings.gradient_clip)
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
        if self.average is not None:
            self.average.update(batch.step)
        return value, rate

    def begin(self, batch: Batch) -> None:
        """Set the first weights of fresh towers' projections by the first batch; see `training.starting`."""
        fresh = [side for side in ("image", "text") if side not in self.settings.given_towers]
        pixels, tokens = self._inputs(batch)
        centre_projections(self._towers, pixels, tokens, embed=self._embed_everywhere, fresh=fresh)
        if self.average is not None:
            self.average = Average(self.model.model, self.settings.average or 0.0)

    @torch.no_grad()
    def measure(self, batch: Batch) -> float:
        """The contrastive and the prompt bank's loss of a batch, without learning from it."""
        self.learned.eval()
        pixels, tokens = self._inputs(batch)
        bank = self._bank.draw(0) if self.settings.bank_weight > 0 else None
        # Compiling kernels for a pass without gradients would cost more than it ever saves.
        with torch.compiler.set_stance("force_eager"):
            seen = [self._see(pixels[one], tokens[one], None if one.start else bank) for one in self._parts(batch)]
        image, text = torch.cat([one.image for one in seen]), torch.cat([one.text for one in seen])
        return float(self._contrast(image, text, seen[0].bank, bank, batch.labels))

    def exported(self) -> contextlib.AbstractContextManager[None]:
        """The model as it is validated and saved while the block runs: with averaged weights where they are kept."""
        return contextlib.nullcontext() if self.average is None else self.average.applied()

    @property
    def _towers(self) -> Any:
        return self.model.model

    def _train_mode(self) -> None:
        self.learned.train()
        if self.settings.frozen == "image":
            self._towers.visual.eval()  # its BatchNorm keeps its statistics
        elif self.settings.frozen == "text" and hasattr(self._towers, "text"):
            self._towers.text.eval()

    def _backward(self, batch: Batch) -> float:
        """Leave each weight the gradient of this process' share; the loss of the whole batch."""
        pixels, tokens = self._inputs(batch)
        bank = self._bank.draw(batch.step) if self.settings.bank_weight > 0 else None
        parts = self._parts(batch)
        again = len(parts) > 1
        dense = batch.truth is not None and "dense" in self.learned

        def see(number: int, *, maps: bool) -> _Seen:
            # Towers with dropout draw from torch's generator: a function of step and place, so that a resume and the
            # second look at a chunk repeat it.
            place = self._processes.rank * len(parts) + number
            torch.manual_seed((self.settings.seed + batch.step + place * _PLACES) % 2**63)
            part = parts[number]
            return self._see(pixels[part], tokens[part], bank if number == 0 else None, dense=maps)

        with contextlib.ExitStack() as stack:
            if again:
                stack.enter_context(torch.no_grad())
                stack.enter_context(_statistics_held(self.learned))
            seen = [see(number, maps=dense and not again) for number in range(len(parts))]
        image = torch.cat([one.image for one in seen]).detach().requires_grad_()
        text = torch.cat([one.text for one in seen]).detach().requires_grad_()
        phrases = None if seen[0].bank is None else seen[0].bank.detach().requires_grad_()
        everyone = self._processes
        loss = self._contrast(everyone.rows(image), everyone.rows(text), phrases, bank, everyone.items(batch.labels))
        loss.backward()  # type: ignore[no-untyped-call]
        # Every process has these whole: together they shall count once.
        for shared in (self._towers.logit_scale, getattr(self._towers, "logit_bias", None), phrases):
            if shared is not None and shared.grad is not None:
                shared.grad /= everyone.count
        known = 0.0 if not dense or batch.truth is None else float(batch.truth[1].sum())
        known_everywhere = everyone.total(known, self.device) if self.settings.dense_weight > 0 else 0.0
        of_maps = 0.0
        for number, part in enumerate(parts):
            one = see(number, maps=dense) if again else seen[number]
            features = [(one.image, image.grad[part]), (one.text, text.grad[part])]  # type: ignore[index]
            if one.bank is not None and phrases is not None:
                features.append((one.bank, phrases.grad))
            pairs: list[tuple[torch.Tensor, torch.Tensor | None]] = [
                (tensor, gradient) for tensor, gradient in features if tensor.requires_grad
            ]
            if one.maps:
                in_maps = self._dense_loss(batch, part, one.maps, known_everywhere)
                of_maps += float(in_maps.detach())
                if in_maps.requires_grad:
                    pairs.append((in_maps, None))
            if pairs:
                torch.autograd.backward([tensor for tensor, _ in pairs], [gradient for _, gradient in pairs])
        return float(loss.detach()) + everyone.total(of_maps, self.device)

    def _see(self, pixels: torch.Tensor, tokens: torch.Tensor, bank: BankDraw | None, *, dense: bool = False) -> _Seen:
        """Unit vectors of a chunk."""
        low = self.dtype != torch.float32
        with torch.autocast(self.device.type, dtype=self.dtype) if low else contextlib.nullcontext():
            image, maps = self._look(pixels, dense=dense)
            words = tokens if bank is None else torch.cat([tokens, bank.tokens.to(self.device)])
            text = self._read(words)
        # Cosines and the softmax in float32: bf16 has 8 bits, and the logit scale multiplies their error by up to 100.
        text = normalize(text.float(), dim=-1)
        return _Seen(
            image=normalize(image.float(), dim=-1),
            text=text[: len(tokens)],
            bank=None if bank is None else text[len(tokens) :],
            maps=maps,
        )

    def _contrast(
        self,
        image: torch.Tensor,
        text: torch.Tensor,
        phrases: torch.Tensor | None,
        bank: BankDraw | None,
        labels: list[frozenset[str]],
    ) -> torch.Tensor:
        """The loss of a whole batch but for the maps."""
        settings, scale = self.settings, self._towers.logit_scale.exp()
        loss = contrastive_loss(
            image,
            text,
            scale,
            getattr(self._towers, "logit_bias", None),
            label_similarity(labels).to(self.device, non_blocking=True),
            objective=settings.objective,
            soft_weight=settings.soft_weight,
            within_weight=settings.within_weight,
        )
        if bank is not None and phrases is not None:
            targets = self._bank.targets(labels).to(self.device)
            loss = loss + settings.bank_weight * bank_losses(image, bank.classes(phrases), scale, targets).mean()
        return loss

    def _dense_loss(self, batch: Batch, part: slice, maps: list[torch.Tensor], everywhere: float) -> torch.Tensor:
        """What a chunk's maps add to the loss, which is a mean over the pairs of all chunks that have maps."""
        if batch.truth is None or not everywhere:
            return torch.zeros((), device=self.device)
        shown, known = batch.truth[0][part], torch.from_numpy(batch.truth[1][part])
        truth = torch.from_numpy(shown).to(self.device, non_blocking=True).permute(0, 3, 1, 2).float() / 255
        share = float(known.sum()) / everywhere
        return self.settings.dense_weight * share * dense_loss(maps, truth, known.to(self.device))

    def _image(self, pixels: torch.Tensor, *, dense: bool) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """Embeddings, and what the dense heads say where there are any."""
        if dense and "dense" in self.learned:
            heads: Any = self.learned["dense"]
            embeddings, maps = heads(self._towers.visual, pixels)
            return embeddings, maps
        return self._towers.encode_image(pixels), []

    def _parts(self, batch: Batch) -> list[slice]:
        """The chunks of this process' share."""
        count = len(batch.captions)
        size = min(count, self.settings.chunk or count)
        return [slice(start, min(start + size, count)) for start in range(0, count, size)]

    def _embed_everywhere(self, tower: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
        """A tower's features of the whole batch, in chunks and by all processes."""
        size = self.settings.chunk or len(inputs)
        return self._processes.rows(torch.cat([tower(part) for part in torch.split(inputs, size)]))

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


_PLACES = 1_000_003
"""Apart enough that chunks and processes do not share draws of neighbouring steps."""


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """Unit vectors of a chunk's pictures, captions and the bank's phrases; logits of the dense heads."""

    image: torch.Tensor
    text: torch.Tensor
    bank: torch.Tensor | None
    maps: list[torch.Tensor]


def _weights_of(towers: Any, side: str) -> Iterator[torch.nn.Parameter]:
    """The weights of one tower, its projection included; the logit scale and bias belong to none."""
    for name, weight in towers.named_parameters():
        if not name.startswith("logit_") and name.startswith("visual.") == (side == "image"):
            yield weight


@contextlib.contextmanager
def _statistics_held(model: torch.nn.Module) -> Iterator[None]:
    """BatchNorm layers normalise by their batch and leave their running statistics alone while the block runs."""
    layers: list[Any] = [
        module for module in model.modules() if isinstance(module, torch.nn.modules.batchnorm._NormBase)
    ]
    before = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = 0.0
    try:
        yield
    finally:
        for layer, momentum in zip(layers, before, strict=True):
            layer.momentum = momentum
