"""A CLIP model with what it needs to be used: tokenizer, preprocessing and the config it was built from.

The towers are open_clip's own modules, so a saved folder is loaded by plain open_clip as it is.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
import open_clip
import torch

from ethicclip.clip.preprocessing import FundusPreprocess
from ethicclip.clip.vocabulary import compact_tokenizer, is_compact
from ethicclip.errors import BadInputError, UsageError
from ethicclip.imaging import Pixels
from ethicclip.progress import SILENT, Progress

Embeddings = npt.NDArray[np.float32]

# open_clip is untyped and re-exports without saying so.
_open_clip: Any = open_clip


class Tokenizer(Protocol):
    """From texts to token ids, int64 of shape (n, context_length)."""

    def __call__(self, texts: list[str]) -> torch.Tensor:
        """Tokenize, pad with zeros, cut at the context length."""


@dataclass(kw_only=True, eq=False)
class ClipModel:
    """A pair of towers that map fundus pictures and texts to unit vectors of one space.

    Attributes:
        model: open_clip's `CLIP` or `CustomTextCLIP`.
        tokenizer: From texts to int64 of shape (n, context_length).
        preprocess: From uint8 pixels to the tower's input.
        config: open_clip's `model_cfg`, as stored in `open_clip_config.json`.
        name: The config's or architecture's name.
    """

    model: torch.nn.Module
    tokenizer: Tokenizer
    preprocess: FundusPreprocess
    config: dict[str, Any]
    name: str = "unnamed"

    @property
    def embed_dim(self) -> int:
        """Length of an embedding."""
        return int(self.config["embed_dim"])

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @property
    def logit_scale(self) -> float:
        """The factor on cosine similarities before the softmax (about 1 to 100)."""
        scale = self.model.logit_scale
        return float(torch.as_tensor(scale).detach().exp())

    @property
    def _towers(self) -> Any:
        return self.model

    def parameter_count(self) -> int:
        """Number of weights in both towers."""
        return sum(parameter.numel() for parameter in self.model.parameters())

    def to(self, device: str | torch.device) -> Self:
        """Move the weights; returns self."""
        self.model.to(device)
        return self

    def encode_images(
        self,
        images: Iterable[Pixels | torch.Tensor],
        *,
        batch_size: int = 64,
        progress: Progress = SILENT,
        total: int | None = None,
    ) -> Embeddings:
        """Embed pictures in their order.

        Args:
            images: Each a uint8 RGB picture (height, width, 3) of any size, or a preprocessed float32 tensor of shape
                (3, size, size) or (n, 3, size, size). Only `batch_size` of them are held at a time.
            batch_size: Pictures a forward pass; the result does not depend on it beyond rounding.
            progress: Where to report; `total` is the number of pictures when it is known.
            total: See `progress`.

        Returns:
            float32 of shape (n, embed_dim); every row has length 1.

        Raises:
            BadInputError: A picture or tensor of another shape.
        """
        done: list[Embeddings] = []
        with (
            progress.task("embed images", total=total, unit="image") as task,
            _inference(self.model),
        ):
            for batch in _batched(self._inputs(images), batch_size):
                done.append(self._embed_images(batch))
                task.advance(len(batch))
        return np.concatenate(done) if done else np.empty((0, self.embed_dim), dtype=np.float32)

    def encode_texts(self, texts: Sequence[str], *, batch_size: int = 256) -> Embeddings:
        """Embed texts in their order: float32 of shape (n, embed_dim); every row has length 1."""
        done: list[Embeddings] = []
        with _inference(self.model):
            for start in range(0, len(texts), batch_size):
                tokens = self.tokenizer(list(texts[start : start + batch_size])).to(self.device)
                done.append(_unit_rows(self._towers.encode_text(tokens)))
        return np.concatenate(done) if done else np.empty((0, self.embed_dim), dtype=np.float32)

    def _embed_images(self, batch: list[torch.Tensor]) -> Embeddings:
        pixels = torch.stack(batch).to(self.device)
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        return _unit_rows(self._towers.encode_image(pixels))

    def _inputs(self, images: Iterable[Pixels | torch.Tensor]) -> Iterator[torch.Tensor]:
        expected = (3, self.preprocess.size, self.preprocess.size)
        for image in images:
            if isinstance(image, np.ndarray):
                yield self.preprocess(image)
                continue
            if image.shape[-3:] != expected or image.ndim not in (3, 4):
                raise BadInputError(f"a tensor of shape {tuple(image.shape)} is not (n, 3, size, size) with {expected}")
            yield from (image if image.ndim == 4 else image[None])


def create(
    model: str, *, image_size: int | None = None, seed: int = 0, local_mean: bool = True, sigmoid: bool = False
) -> ClipModel:
    """A model with fresh weights; nothing is downloaded.

    Args:
        model: A config shipped in `clip/configs` (such as "tiny") or the name of an open_clip architecture.
        image_size: Side of the input in pixels when it shall differ from the config's.
        seed: Of the initial weights; torch's global generator is left as it was.
        local_mean: See `FundusPreprocess`.
        sigmoid: Start the logit scale and bias as the SigLIP objective wants them (2303.15343, section 3.2).

    Raises:
        UsageError: The name is unknown, or the architecture needs files from elsewhere.
    """
    config = deepcopy(named_config(model))
    if image_size is not None:
        config["vision_cfg"]["image_size"] = image_size
    if sigmoid:
        config |= {"init_logit_scale": math.log(10), "init_logit_bias": -10.0}
    built = build(config, name=model, seed=seed)
    size = _input_size(config)
    return ClipModel(
        model=built,
        tokenizer=tokenizer_for(config),
        preprocess=FundusPreprocess(size=size, local_mean=local_mean),
        config=config,
        name=model,
    )


def named_config(name: str) -> dict[str, Any]:
    """The `model_cfg` of a shipped config or an open_clip architecture; unknown names are a `UsageError`."""
    shipped = shipped_configs()
    if name in shipped:
        return shipped[name]
    if name in _open_clip.list_models():
        config: dict[str, Any] = _open_clip.get_model_config(name)
        return config
    raise UsageError(
        f"there is no model {name!r}",
        next_step=f"Use {', '.join(sorted(shipped))}, or an open_clip architecture such as ViT-B-32 or RN50.",
    )


def shipped_configs() -> dict[str, dict[str, Any]]:
    """The configs in `clip/configs`, by name."""
    folder = resources.files("ethicclip.clip").joinpath("configs")
    return {
        entry.name.removesuffix(".json"): json.loads(entry.read_text(encoding="utf-8"))
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".json")
    }


def build(config: dict[str, Any], *, name: str, seed: int = 0) -> torch.nn.Module:
    """Build the towers of an open_clip `model_cfg` with fresh weights, without touching disk or network.

    open_clip's own factory does the same but writes to the root logger, which a library must not.

    Raises:
        UsageError: The config asks for a text tower or tokenizer that lives elsewhere, or is not a CLIP config.
    """
    arguments = deepcopy(config)
    text = arguments.get("text_cfg", {})
    outside = [key for key in ("hf_model_name", "hf_tokenizer_name") if text.get(key) and not is_compact(text)]
    if outside or "multimodal_cfg" in arguments:
        raise UsageError(
            f"the model {name!r} needs {', '.join(outside) or 'a captioning head'}, which is not supported",
            next_step="Choose an architecture with open_clip's own text tower and tokenizer.",
        )
    custom_text = bool(arguments.pop("custom_text", False))
    if "timm_model_name" in arguments.get("vision_cfg", {}):
        arguments["vision_cfg"]["timm_model_pretrained"] = False
    tower_class = _open_clip.CustomTextCLIP if custom_text else _open_clip.CLIP
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model: torch.nn.Module = tower_class(**arguments)
    except (TypeError, KeyError, RuntimeError, ValueError) as error:
        raise UsageError(
            f"the config of the model {name!r} cannot be built: {error}",
            next_step="Compare it with open_clip's model configs.",
        ) from None
    return model.eval()


def tokenizer_for(config: dict[str, Any], folder: Path | None = None) -> Tokenizer:
    """The tokenizer that plain open_clip would choose for this config.

    Args:
        config: An open_clip `model_cfg`.
        folder: Of the model, which holds a compact vocabulary's file; None takes the package's.

    Raises:
        BadInputError: See `compact_tokenizer`.
    """
    text = config.get("text_cfg", {})
    if is_compact(text):
        return compact_tokenizer(text, folder)
    tokenizer: Tokenizer = _open_clip.SimpleTokenizer(
        context_length=text.get("context_length", _open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH),
        **(text.get("tokenizer_kwargs") or {}),
    )
    return tokenizer


def _input_size(config: dict[str, Any]) -> int:
    size = config["vision_cfg"].get("image_size", 224)
    if isinstance(size, list | tuple):
        if len(set(size)) != 1:
            raise UsageError(f"an input of {size} pixels is not square", next_step="Use a square image_size.")
        size = size[0]
    return int(size)


def _batched(items: Iterable[torch.Tensor], size: int) -> Iterator[list[torch.Tensor]]:
    batch: list[torch.Tensor] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


@contextmanager
def _inference(model: torch.nn.Module) -> Iterator[None]:
    """No gradients and evaluation mode; afterwards the mode found before."""
    training = model.training
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        model.train(training)


def _unit_rows(features: torch.Tensor) -> Embeddings:
    unit = torch.nn.functional.normalize(features.float(), dim=-1)
    result: Embeddings = unit.cpu().numpy()
    return result
