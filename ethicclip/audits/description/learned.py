"""Global descriptors from networks: `copy`, which ships, and models of the user's own.

Nothing is downloaded: a model comes from the package, from a file that the user names, or from a cache that is already
on the machine. Weights are read as tensors only; a TorchScript file is a program, and is run because the user named it.
Every picture is embedded upright and, unless the descriptor is the same for both, mirrored.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from ethicclip.audits.description.names import DescriptorName
from ethicclip.errors import BadInputError, UsageError
from ethicclip.files import canonical_json, sha256_bytes, sha256_file
from ethicclip.imaging import Pixels

if TYPE_CHECKING:
    import torch

Floats = npt.NDArray[np.float32]

BATCH = 32
_FORM = "1"
"""Changes when the same weights would give other vectors; part of every digest and so of every cache."""
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


@dataclass(frozen=True, kw_only=True)
class LearnedDescriptor:
    """A network ready to describe pictures.

    Attributes:
        name: As the user wrote it.
        digest: sha256 (hex) of weights and preprocessing: the key of any cache.
        orientations: 1 where mirrored pictures get the same vector, else 2.
        prepare: From RGB uint8 to the network's input for one picture; runs in threads.
        forward: From a batch of inputs, float32 or int8 (n, ...), to vectors, float32 (n, d).
        mirror: Mirrors a batch of inputs.
    """

    name: str
    digest: str
    orientations: int
    prepare: Callable[[Pixels], npt.NDArray[Any]]
    forward: Callable[[torch.Tensor], torch.Tensor]
    mirror: Callable[[torch.Tensor], torch.Tensor]

    def embed(self, inputs: npt.NDArray[Any]) -> Floats:
        """L2-normalised vectors of at most `BATCH` prepared pictures, float32 (n, orientations, d).

        Short batches are filled up, so that a picture's vector does not depend on how many others it came with, and
        vectors are rounded to half precision, so that it does not depend on the machine's threads.

        Raises:
            BadInputError: The network does not give one finite vector a picture.
        """
        import torch  # noqa: PLC0415 - only a learned descriptor needs it

        filled = np.zeros((BATCH, *inputs.shape[1:]), dtype=inputs.dtype)
        filled[: len(inputs)] = inputs
        batch = torch.from_numpy(filled)
        sides = [batch, self.mirror(batch)][: self.orientations]
        with torch.inference_mode():
            found = [self.forward(side) for side in sides]
        for one in found:
            if not isinstance(one, torch.Tensor) or one.ndim != 2 or len(one) != BATCH:
                shape = tuple(one.shape) if isinstance(one, torch.Tensor) else type(one).__name__
                raise BadInputError(
                    f"the descriptor {self.name} gives {shape} for {BATCH} pictures, not one vector each",
                    next_step="Name a model that returns a tensor (pictures, dimensions).",
                )
        vectors = torch.stack([one.float() for one in found], dim=1).cpu().numpy()[: len(inputs)]
        if not np.isfinite(vectors).all():
            raise BadInputError(f"the descriptor {self.name} gives vectors that are not finite")
        lengths = np.linalg.norm(vectors, axis=2, keepdims=True)
        unit = vectors / np.maximum(lengths, 1e-12)
        return np.asarray(unit.astype(np.float16), dtype=np.float32)


def load_descriptor(name: DescriptorName, *, side: int = 288) -> LearnedDescriptor:
    """Load the network behind a name.

    Args:
        name: A learned descriptor.
        side: Input of a TorchScript file, in pixels; the others know their own.

    Raises:
        BadInputError: Weights are missing, broken, or do not fit.
        UsageError: `name` is not of a network.
    """
    loaders: dict[str, Callable[[], LearnedDescriptor]] = {
        "copy": lambda: _copy(name),
        "open_clip": lambda: _open_clip(name),
        "timm": lambda: _timm(name),
        "torchscript": lambda: _torchscript(name, side),
    }
    if name.family not in loaders:
        raise UsageError(f"{name} is not a descriptor with a network")
    return loaders[name.family]()


def _copy(name: DescriptorName) -> LearnedDescriptor:
    from ethicclip.audits.description.copy_input import STEPS, copy_planes  # noqa: PLC0415
    from ethicclip.audits.description.copy_network import load_copy_network, shipped_digest  # noqa: PLC0415

    network = load_copy_network()
    return LearnedDescriptor(
        name=str(name),
        digest=_digest("copy", shipped_digest(), {}),
        orientations=1,
        prepare=copy_planes,
        forward=lambda batch: network.mirror_blind(batch.float() / STEPS),
        mirror=lambda batch: batch.flip(3),
    )


def _open_clip(name: DescriptorName) -> LearnedDescriptor:
    from ethicclip.clip import load  # noqa: PLC0415

    path = Path(name.checkpoint or name.model)
    model = load(path, architecture=name.model if name.checkpoint else None)
    weights = path / "open_clip_model.safetensors" if path.is_dir() else path
    return _on_pictures(
        name,
        cast("Callable[[Any], Any]", model.model.encode_image),
        model.preprocess,
        _digest("open_clip", sha256_file(weights), {"architecture": name.model if name.checkpoint else ""}),
    )


def _timm(name: DescriptorName) -> LearnedDescriptor:
    _stay_offline()
    import timm  # noqa: PLC0415
    from timm.data.config import resolve_model_data_config  # noqa: PLC0415

    from ethicclip.clip import FundusPreprocess  # noqa: PLC0415
    from ethicclip.clip.folder import read_weights  # noqa: PLC0415

    if not timm.is_model(name.model):
        raise BadInputError(f"timm has no model {name.model!r}", next_step="Run timm.list_models() to see the names.")
    if name.checkpoint:
        network = timm.create_model(name.model, pretrained=False, num_classes=0).eval()
        _fill(network, read_weights(Path(name.checkpoint)), name)
        weights = sha256_file(Path(name.checkpoint))
    else:
        try:
            network = timm.create_model(name.model, pretrained=True, num_classes=0).eval()
        except (OSError, RuntimeError, ValueError) as error:
            raise BadInputError(
                f"the weights of timm:{name.model} are not on this machine, and nothing is downloaded",
                details=[str(error).splitlines()[0]],
                next_step=f"Name a local file: timm:{name.model}@FILE.",
            ) from None
        weights = _digest_of_state(network.state_dict())
    asked = resolve_model_data_config(network)  # type: ignore[no-untyped-call]
    preprocess = FundusPreprocess(
        size=int(asked["input_size"][-1]), local_mean=False, mean=tuple(asked["mean"]), std=tuple(asked["std"])
    )
    return _on_pictures(name, network, preprocess, _digest("timm", weights, {"model": name.model}))


def _torchscript(name: DescriptorName, side: int) -> LearnedDescriptor:
    import torch  # noqa: PLC0415

    from ethicclip.clip import FundusPreprocess  # noqa: PLC0415

    path = Path(name.model)
    if not path.is_file():
        raise BadInputError(f"the TorchScript file {path} does not exist", next_step="Check the path.")
    try:
        network = torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
    except (RuntimeError, ValueError) as error:
        raise BadInputError(
            f"{path} is not a TorchScript file: {str(error).splitlines()[0]}",
            next_step="Save the model with torch.jit.script or torch.jit.trace.",
        ) from None
    preprocess = FundusPreprocess(size=side, local_mean=False, mean=_IMAGENET[0], std=_IMAGENET[1])
    return _on_pictures(name, network, preprocess, _digest("torchscript", sha256_file(path), {"side": side}))


def _on_pictures(
    name: DescriptorName, network: Callable[[Any], Any], preprocess: Any, digest: str
) -> LearnedDescriptor:
    """A network that takes colour pictures, cropped to the field of view and normalised as it was trained."""
    return LearnedDescriptor(
        name=str(name),
        digest=sha256_bytes(canonical_json([digest, preprocess.to_json()])),
        orientations=2,
        prepare=lambda image: preprocess(image).numpy(),
        forward=network,
        mirror=lambda batch: batch.flip(3),
    )


def _fill(network: Any, weights: dict[str, Any], name: DescriptorName) -> None:
    """Load a checkpoint of a backbone, whatever wrapper it was saved in; a head may be left over, nothing may lack."""
    wanted = network.state_dict()
    for prefix in ("", "model.", "backbone.", "encoder.", "teacher.backbone.", "student.backbone."):
        mine = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
        missing = [key for key in wanted if key not in mine or mine[key].shape != wanted[key].shape]
        if not missing:
            network.load_state_dict({key: mine[key] for key in wanted})
            return
    shown = [key for key in wanted if key not in weights or weights[key].shape != wanted[key].shape]
    raise BadInputError(
        f"the weights {name.checkpoint} do not fit {name.model}: {len(shown)} of {len(wanted)} tensors are missing or "
        "of another shape",
        details=shown[:10],
        next_step="Name the architecture that the weights were trained with.",
    )


def _stay_offline() -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"
    from huggingface_hub import constants  # noqa: PLC0415

    constants.HF_HUB_OFFLINE = True


def _digest(family: str, weights: str, more: dict[str, Any]) -> str:
    return sha256_bytes(canonical_json([_FORM, family, weights, more]))


def _digest_of_state(state: dict[str, Any]) -> str:
    return sha256_bytes(
        canonical_json(
            [[key, sha256_bytes(value.contiguous().cpu().numpy().tobytes())] for key, value in state.items()]
        )
    )
