"""Pipelines made elsewhere: unconditional, class-conditional (DiT) and text-to-image ones, as they are called there.

Each picture begins with a generator of its own number, which diffusers' pipelines take as a list, and the solver is
DPM-Solver++ on the pipeline's own noise schedule. A pipeline that draws more noise on its way draws it from these
generators too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch

from ethicclip.errors import BadInputError, UsageError
from ethicclip.generation.diffusion.conditions import captions
from ethicclip.generation.diffusion.drawing import one_thread, pixel_solver, solver_for
from ethicclip.generation.diffusion.memory import memory_advice
from ethicclip.generation.diffusion.settings import DiffusionSettings
from ethicclip.generation.learning import Known
from ethicclip.generation.streams import GENERATED, Stream, stream
from ethicclip.imaging import Pixels

_SOLVABLE = ("DDPMScheduler", "DDIMScheduler", "PNDMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler")
_SMALLEST = 32
_DIT_CLASSES = 1000


class ForeignSource:
    """A pipeline of diffusers behind one call.

    Args:
        pipeline: As loaded.
        kind: "unconditional", "class" or "text".
        name, digest, side: See `DiffusionSource`.
        classes: Of "class": the number of each condition's class.
    """

    def __init__(
        self,
        pipeline: Any,
        kind: str,
        *,
        name: str,
        digest: str,
        side: int,
        classes: dict[Any, int],
        device: torch.device,
    ) -> None:
        self.name, self.digest, self.side = name, digest, side
        self.conditional = kind != "unconditional"
        self._pipeline, self._kind, self._classes, self._device = pipeline, kind, classes, device

    def askable(self, known: Known) -> Known:
        """Nothing, one condition, or all of it, by kind."""
        if self._kind == "unconditional":
            return Known()
        if self._kind == "text":
            return known
        mine = [one for one in known.conditions if one in self._classes]
        # What has no class cannot be asked for: another class is, in the order of numbers, and the label says so.
        chosen = mine[0] if mine else min(self._classes, key=lambda one: self._classes[one])
        return Known(conditions=(chosen,))

    def draw(self, asked: Sequence[Known], keys: Sequence[tuple[int, int]], *, steps: int, guidance: float) -> Pixels:
        """See `DiffusionSource`."""
        generators = [torch.Generator().manual_seed(_number(seed, number)) for seed, number in keys]
        common = {"generator": generators, "num_inference_steps": steps, "output_type": "np"}
        if self._kind == "unconditional":
            given: dict[str, Any] = {"batch_size": len(asked)}
        elif self._kind == "class":
            labels = [self._classes[one.conditions[0]] for one in asked]
            # DiTPipeline compares with class 1000, whatever the network's own number of classes is.
            named = int(self._pipeline.transformer.config.num_embeds_ada_norm)
            given = {"class_labels": labels, "guidance_scale": guidance if named >= _DIT_CLASSES else 1.0}
        else:
            prompts = [captions(one, ("en",))["en"][0] for one in asked]
            given = {"prompt": prompts, "guidance_scale": guidance, "height": self.side, "width": self.side}
        with memory_advice(self.side), one_thread(self._device):
            drawn = self._pipeline(**given, **common).images
        pictures = np.asarray(drawn, dtype=np.float32)
        if pictures.ndim != 4 or pictures.shape[-1] != 3 or not np.isfinite(pictures).all():
            raise BadInputError(
                f"the pipeline {self.name} gives pictures of shape {pictures.shape}, not finite RGB pictures",
                next_step="Use a pipeline for RGB pictures.",
            )
        levels = np.clip(np.rint(pictures * 255), 0, 255).astype(np.uint8)
        if levels.shape[1] == self.side:
            return levels
        return np.stack([cv2.resize(one, (self.side, self.side), interpolation=cv2.INTER_CUBIC) for one in levels])


def foreign_source(
    pipeline: Any, class_name: str, name: str, digest: str, settings: DiffusionSettings, device: torch.device
) -> ForeignSource:
    """Find out how a pipeline is asked, and make it ready.

    Raises:
        BadInputError: A kind of pipeline that is not known here.
        UsageError: A class-conditional pipeline, and nobody said what its classes mean.
    """
    pipeline.set_progress_bar_config(disable=True)
    pipeline.to(device)
    text = getattr(pipeline, "text_encoder", None) is not None and getattr(pipeline, "tokenizer", None) is not None
    transformer, unet = getattr(pipeline, "transformer", None), getattr(pipeline, "unet", None)
    autoencoder = getattr(pipeline, "vae", None) or getattr(pipeline, "vqvae", None)
    latent = autoencoder is not None
    classes: dict[Any, int] = {}
    if text:
        kind = "text"
    elif class_name == "DiTPipeline" and transformer is not None:
        kind = "class"
        if not settings.classes:
            raise UsageError(
                f"{name} draws by class number, and nobody said what the numbers mean",
                next_step="Say it, as in --set 'classes={0: normal, 1: diabetic_retinopathy}'.",
            )
        most = int(transformer.config.num_embeds_ada_norm)
        if wrong := [number for number in settings.classes if not 0 <= number < most]:
            raise UsageError(f"{name} has no class {wrong[0]}", next_step=f"Its classes are 0 to {most - 1}.")
        classes = {condition: number for number, condition in sorted(settings.classes.items(), reverse=True)}
    elif class_name in ("DDPMPipeline", "DDIMPipeline", "LDMPipeline") and unet is not None:
        kind = "unconditional"
        if getattr(unet, "class_embedding", None) is not None:
            raise BadInputError(
                f"{name} is a {class_name} whose network wants class labels, and no {class_name} passes any",
                next_step="Fit a generator with `ethicclip fit-generator`, or use a DiTPipeline.",
            )
    else:
        raise BadInputError(
            f"{name} is a {class_name}, which is not known here",
            next_step="Use a DDPMPipeline, a DDIMPipeline, an LDMPipeline, a DiTPipeline or a text-to-image pipeline.",
        )
    scheduler = pipeline.scheduler
    if type(scheduler).__name__ in _SOLVABLE:
        pipeline.scheduler = solver_for(scheduler.config) if latent else pixel_solver(scheduler.config)
    side = settings.size or _side(transformer or unet, autoencoder)
    return ForeignSource(pipeline, kind, name=name, digest=digest, side=side, classes=classes, device=device)


def _side(network: Any, autoencoder: Any) -> int:
    sample = getattr(network.config, "sample_size", None)
    if not isinstance(sample, int):
        raise BadInputError(
            f"the pipeline does not say how large its pictures are (sample_size {sample!r})",
            next_step="Give --size, a multiple of 8.",
        )
    if autoencoder is None:
        return max(_SMALLEST, sample)
    return int(sample * 2 ** (len(autoencoder.config.block_out_channels) - 1))


def _number(seed: int, number: int) -> int:
    """One 63-bit seed for each (seed, number)."""
    drawn = stream(GENERATED, seed, number, Stream.LATENT).integers(2**63 - 1)
    return int(drawn)
