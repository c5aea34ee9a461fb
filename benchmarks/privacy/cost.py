"""What privacy costs: CPU seconds and peak memory of a step, private against plain, ours against Opacus' modes.

    python benchmarks/privacy/cost.py [--quick] [--models tiny,vit] [--repeats 5]

prompt-bank: the image tower against a fixed bank, per-example loss; plain backward, this package's engine, Opacus'
hooks, ghost, functorch and expanded-weights modes, and vmap(grad), all on the same loss, model and batch. grouped: both
towers, groups of B/G pairs, against one plain contrastive step on all B. "vit" has ViT-B/16's shape (patch 16, 224 px,
197 tokens, MLP ratio 4, heads of 64) with 384 channels and 4 blocks for what two cores bear; --models vitb16 is the
real one. Steps of all rows alternate in one process, the least of the repeats counts, and each row's peak memory is
measured in a process of its own. A mode that cannot run on the model says so. Writes
benchmarks/results/privacy-cost.json.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch.nn.functional import cross_entropy, normalize

from ethicclip import clip
from ethicclip.privacy.clipping import ClippedSum
from ethicclip.privacy.per_unit import PerUnitGradients, clippable_parameters
from ethicclip.training.objectives import contrastive_loss, label_similarity

RESULTS = Path(__file__).parents[1] / "results"
CLASSES = 16
Step = Callable[[], None]


def towers(name: str) -> tuple[Any, int, int]:
    """Model, side of its input, batch."""
    torch.manual_seed(0)
    if name == "tiny":
        return clip.create("tiny").model.to(memory_format=torch.channels_last).train(), 128, 32
    if name == "vitb16":
        return clip.create("ViT-B-16").model.train(), 224, 8
    vision = {"image_size": 224, "layers": 4, "width": 384, "head_width": 64, "patch_size": 16}
    text = {"context_length": 32, "vocab_size": 49408, "width": 128, "heads": 2, "layers": 2}
    return open_clip.CLIP(embed_dim=256, vision_cfg=vision, text_cfg=text).train(), 224, 8


class World:
    """One model, one batch, and every way to take its step."""

    def __init__(self, name: str) -> None:
        self.model, side, self.batch = towers(name)
        candidates = list(self.model.visual.parameters())
        for parameter in self.model.parameters():
            parameter.requires_grad_(False)
        for parameter in candidates:
            parameter.requires_grad_(True)
        probe = torch.randn(1, 3, side, side)
        able = clippable_parameters(candidates, lambda: self.model.encode_image(probe))
        for parameter, possible in zip(candidates, able, strict=True):
            parameter.requires_grad_(possible)
        self.trained = [parameter for parameter in candidates if parameter.requires_grad]
        self.pixels = torch.randn(self.batch, 3, side, side).contiguous(memory_format=torch.channels_last)
        self.labels = torch.arange(self.batch) % CLASSES
        length = getattr(self.model, "context_length", None) or self.model.text.context_length
        self.tokens = torch.randint(1, 400, (self.batch, length))
        width = self.model.encode_image(probe).shape[1]
        self.bank = normalize(torch.randn(CLASSES, width), dim=1)

    def losses(self, image: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Each picture's loss against the bank."""
        return cross_entropy(20 * normalize(image, dim=1) @ self.bank.T, labels, reduction="none")

    def plain(self) -> None:
        """An ordinary backward pass of the mean loss."""
        torch.autograd.grad(self.losses(self.model.encode_image(self.pixels), self.labels).mean(), self.trained)

    def ours(self) -> None:
        """The engine: clipped sum, and its noise."""
        total = ClippedSum(self.trained, 1.0)
        PerUnitGradients(self.trained).add(
            lambda: self.losses(self.model.encode_image(self.pixels), self.labels), units=self.batch, into=total
        )
        total.release(1.0)

    def vmap(self) -> None:
        """A gradient each by vmap, in chunks of 8, then clipping."""
        total = ClippedSum(self.trained, 1.0)
        names = {id(parameter): name for name, parameter in self.model.visual.named_parameters()}
        weights = {names[id(parameter)]: parameter.detach() for parameter in self.trained}

        def loss(weights: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            image = torch.func.functional_call(self.model.visual, weights, (x[None],))
            return self.losses(image, y[None])[0]

        each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0), randomness="different")
        for start in range(0, self.batch, 8):
            rows = slice(start, start + 8)
            found = each(weights, self.pixels[rows], self.labels[rows])
            flat = [found[names[id(parameter)]] for parameter in self.trained]
            norms = torch.stack([part.flatten(1).norm(dim=1) for part in flat]).norm(dim=0)
            factors = (1.0 / norms).clamp(max=1.0)
            for sum_, part in zip(total.total, flat, strict=True):
                sum_ += torch.tensordot(factors, part, 1)
        total.release(1.0)

    def opacus(self, mode: str) -> Step:
        """Opacus' per-sample gradients of the same loss, then the same clipping and noise."""
        from opacus.grad_sample import GradSampleModuleFastGradientClipping
        from opacus.grad_sample.utils import wrap_model

        visual = deepcopy(self.model.visual)
        for module in visual.modules():
            if hasattr(module, "inplace"):
                module.inplace = False  # hooks cannot bear it
        if mode == "ghost":
            wrapped: Any = GradSampleModuleFastGradientClipping(visual, max_grad_norm=1.0, use_ghost_clipping=True)
        else:
            wrapped = wrap_model(visual, grad_sample_mode=mode)
        trained = [parameter for parameter in wrapped.parameters() if parameter.requires_grad]

        def step() -> None:
            for parameter in trained:
                parameter.grad = parameter.grad_sample = None
            losses = self.losses(wrapped(self.pixels), self.labels)
            total = ClippedSum(trained, 1.0)
            if mode == "ghost":
                losses.mean().backward(retain_graph=True)
                factors = wrapped.get_clipping_coef().detach()
                wrapped.disable_hooks()
                for parameter in trained:
                    parameter.grad = None
                (factors * losses).sum().backward()
                wrapped.enable_hooks()
            else:
                losses.mean().backward()
                flat = [parameter.grad_sample for parameter in trained]
                norms = torch.stack([part.flatten(1).norm(dim=1) for part in flat]).norm(dim=0)
                factors = (1.0 / norms).clamp(max=1.0)
                for sum_, part in zip(total.total, flat, strict=True):
                    sum_ += torch.tensordot(factors, part, 1)
            total.release(1.0)

        return step

    def contrast(self, rows: slice) -> torch.Tensor:
        """The contrastive loss of some pairs."""
        image = normalize(self.model.encode_image(self.pixels[rows]), dim=1)
        text = normalize(self.model.encode_text(self.tokens[rows]), dim=1)
        labels = [frozenset({str(int(label))}) for label in self.labels[rows]]
        return contrastive_loss(
            image,
            text,
            self.model.logit_scale.detach().exp(),
            None,
            label_similarity(labels),
            objective="soft_clip",
            soft_weight=0.8,
            within_weight=1.0,
        )

    def both_towers(self) -> list[torch.nn.Parameter]:
        """What grouped trains."""
        trained = []
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(not name.startswith("logit") and "token_embedding" not in name)
            if parameter.requires_grad:
                trained.append(parameter)
        return trained

    def plain_contrast(self) -> None:
        """One contrastive step on all pairs."""
        torch.autograd.grad(self.contrast(slice(None)), self.both_towers(), allow_unused=True)

    def grouped(self) -> None:
        """A clipped gradient a group of four pairs (tiny: eight), and the noise."""
        trained = self.both_towers()
        total = ClippedSum(trained, 1.0)
        size = max(4, self.batch // 4)
        for start in range(0, self.batch, size):
            loss = self.contrast(slice(start, start + size))
            total.add(torch.autograd.grad(loss, trained, allow_unused=True))
        total.release(1.0)


def step_of(world: World, name: str) -> Step:
    """A row's step by its name."""
    if name.startswith("opacus "):
        return world.opacus(name.removeprefix("opacus "))
    return {
        "plain": world.plain,
        "ours": world.ours,
        "vmap(grad)": world.vmap,
        "plain contrast": world.plain_contrast,
        "grouped": world.grouped,
    }[name]


BANK_ROWS = ("plain", "ours", "vmap(grad)", "opacus hooks", "opacus ghost", "opacus functorch", "opacus ew")
GROUP_ROWS = ("plain contrast", "grouped")


def seconds(model: str, names: tuple[str, ...], repeats: int) -> dict[str, float | str]:
    """CPU seconds of each row's step, rows alternating; a reason where a row cannot run."""
    world = World(model)
    found: dict[str, float | str] = {}
    steps: dict[str, Step] = {}
    for name in names:
        try:
            steps[name] = step_of(world, name)
            steps[name]()
        except Exception as error:  # noqa: BLE001 - a peer's mode that cannot run is a result
            steps.pop(name, None)
            found[name] = f"cannot run: {type(error).__name__}: {str(error).splitlines()[0][:80]}"
    for _ in range(repeats):
        for name, step in steps.items():
            started = time.process_time()
            step()
            spent = time.process_time() - started
            found[name] = min(spent, float(found.get(name, spent)))
    return found


def peak_bytes(model: str, name: str) -> int:
    """Peak memory of one row in a process of its own, less what it took before its first step."""
    done = subprocess.run(
        [sys.executable, __file__, "--memory-of", f"{model}:{name}"], capture_output=True, text=True, check=False
    )
    return int(done.stdout.split()[-1]) if done.returncode == 0 and done.stdout.split() else 0


def _memory(model: str, name: str) -> None:
    world = World(model)
    step = step_of(world, name)
    # Linux: forget the peak of building the model.
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = _status_bytes("VmRSS")
    step()
    step()
    print(_status_bytes("VmHWM") - before)


def _status_bytes(field: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the tiny model only, two repeats")
    parser.add_argument("--models", default="tiny,vit")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--memory-of", help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    if options.memory_of:
        _memory(*options.memory_of.split(":", 1))
        return
    rows: list[dict[str, Any]] = []
    for model in ["tiny"] if options.quick else options.models.split(","):
        for names in (BANK_ROWS, GROUP_ROWS):
            spent = seconds(model, names, 2 if options.quick else options.repeats)
            base = spent[names[0]]
            base_bytes = peak_bytes(model, names[0])
            print(f"{model}: {'step':18s} {'CPU s':>8s} {'ratio':>7s} {'peak MB':>8s} {'ratio':>7s}")
            for name in names:
                value = spent[name]
                if isinstance(value, str) or isinstance(base, str):
                    print(f"{model}: {name:18s} {value}", flush=True)
                    rows.append({"model": model, "step": name, "reason": value})
                    continue
                held = base_bytes if name == names[0] else peak_bytes(model, name)
                more = held / base_bytes if base_bytes else 0.0
                print(
                    f"{model}: {name:18s} {value:8.3f} {value / base:6.2f}x {held / 1e6:8.0f} {more:6.2f}x", flush=True
                )
                rows.append({"model": model, "step": name, "cpu_s": value, "ratio": value / base, "peak_bytes": held})
    RESULTS.mkdir(exist_ok=True)
    result = {"threads": 1, "torch": torch.__version__, "rows": rows}
    (RESULTS / "privacy-cost.json").write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
