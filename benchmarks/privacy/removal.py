"""How far one pair can move a step's clipped sum: what each mechanism claims, against a search for worse.

    python benchmarks/privacy/removal.py [--quick] [--pairs 16,128]

An adversary climbs the gradient of |sum(D) - sum(D without its last pair)| over the pairs themselves, for two linear
towers; what it finds is then measured with the code under test: the grouped and the prompt-bank mechanism of this
package, and Opacus' per-sample hooks wrapped around InfoNCE. Claimed: 2C, C, and (for the hooks) C. Prints a table and
writes benchmarks/results/privacy-removal.json.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from opacus import GradSampleModule
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from ethicclip.privacy.clipping import ClippedSum
from ethicclip.privacy.per_unit import PerUnitGradients

RESULTS = Path(__file__).parents[1] / "results"
DIM = 8
SCALE = 10.0
CLASSES = 5
CLAIMED = {"grouped": 2.0, "prompt-bank": 1.0, "hooks": 1.0}


class Towers(nn.Module):
    """Two linear towers of fixed weights."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Linear(DIM, DIM, bias=False)
        self.text = nn.Linear(DIM, DIM, bias=False)
        generator = torch.Generator().manual_seed(7)
        for layer in (self.image, self.text):
            layer.weight.data = torch.eye(DIM) + 0.1 * torch.randn(DIM, DIM, generator=generator)

    def forward(self, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """Both towers' outputs."""
        return self.image(x), self.text(t)


def info_nce(u: Tensor, v: Tensor) -> Tensor:
    """The loss of CLIP, mean over pairs and directions."""
    logits = SCALE * normalize(u, dim=1) @ normalize(v, dim=1).T
    own = torch.arange(len(u))
    return (cross_entropy(logits, own) + cross_entropy(logits.T, own)) / 2


def bank() -> Tensor:
    """Unit vectors of the public classes."""
    return normalize(torch.randn(CLASSES, DIM, generator=torch.Generator().manual_seed(3)), dim=1)


def hooks_sum(x: Tensor, t: Tensor) -> list[Tensor]:
    """Opacus: per-sample gradients of the batch's InfoNCE, each clipped to 1, summed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wrapped = GradSampleModule(Towers(), loss_reduction="mean")
        info_nce(*wrapped(x, t)).backward()
    samples = [parameter.grad_sample.flatten(1) for parameter in wrapped.parameters()]
    norms = torch.cat(samples, 1).norm(dim=1)
    factors = (1.0 / norms).clamp(max=1.0)
    return [(factors[:, None] * sample).sum(0) for sample in samples]


def grouped_sum(x: Tensor, t: Tensor) -> list[Tensor]:
    """One group's clipped gradient, as `training.private_steps` takes it; the other groups stay as they are."""
    towers = Towers()
    parameters = list(towers.parameters())
    total = ClippedSum(parameters, 1.0)
    if len(x) > 1:
        total.add(torch.autograd.grad(info_nce(*towers(x, t)), parameters))
    return [part.flatten() for part in total.total]


def prompt_bank_sum(x: Tensor, t: Tensor) -> list[Tensor]:
    """Every unit's clipped gradient against the bank; the caption only says which class."""
    towers = Towers()
    parameters = list(towers.image.parameters())
    total = ClippedSum(parameters, 1.0)
    labels = t[:, :CLASSES].argmax(1)

    def losses() -> Tensor:
        return cross_entropy(SCALE * normalize(towers.image(x), dim=1) @ bank().T, labels, reduction="none")

    PerUnitGradients(parameters).add(losses, units=len(x), into=total)
    return [part.flatten() for part in total.total]


SUMS: dict[str, Callable[[Tensor, Tensor], list[Tensor]]] = {
    "grouped": grouped_sum,
    "prompt-bank": prompt_bank_sum,
    "hooks": hooks_sum,
}


def change(kind: str, x: Tensor, t: Tensor) -> float:
    """|sum(D) - sum(D without the last pair)| in units of C, by the code under test."""
    after, before = SUMS[kind](x, t), SUMS[kind](x[:-1], t[:-1])
    return float(torch.cat([a - b for a, b in zip(after, before, strict=True)]).norm())


def _soft_sum(kind: str, x: Tensor, t: Tensor) -> Tensor:
    """The same sums in closed form, differentiable in the pairs: what the adversary climbs on."""
    towers = Towers()
    u, v = x @ towers.image.weight.detach().T, t @ towers.text.weight.detach().T
    if kind == "prompt-bank":
        logits = SCALE * normalize(u, dim=1) @ bank().T
        loss = cross_entropy(logits, t[:, :CLASSES].argmax(1), reduction="sum")
        (du,) = torch.autograd.grad(loss, u, create_graph=True)
        norms = du.norm(dim=1) * x.norm(dim=1)
        return ((du / norms.clamp(min=1.0)[:, None]).T @ x).flatten()
    du, dv = torch.autograd.grad(info_nce(u, v), (u, v), create_graph=True)
    if kind == "grouped":
        whole = torch.cat([(du.T @ x).flatten(), (dv.T @ t).flatten()])
        return whole / whole.norm().clamp(min=1.0)
    du, dv = du * len(x), dv * len(x)
    norms = ((du.norm(dim=1) * x.norm(dim=1)).square() + (dv.norm(dim=1) * t.norm(dim=1)).square() + 1e-12).sqrt()
    factors = 1.0 / norms.clamp(min=1.0)
    return torch.cat([((factors[:, None] * du).T @ x).flatten(), ((factors[:, None] * dv).T @ t).flatten()])


def search(kind: str, pairs: int, *, steps: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pairs whose last one moves the sum as far as the climb got; float32 (pairs, DIM) each."""
    generator = torch.Generator().manual_seed(seed)
    # Long inputs have long gradients: everything is clipped, which is where directions count. One text for all but the
    # last pair is a start from which removal turns every other pair's gradient.
    x = 6.0 * (torch.randn(1, DIM, generator=generator) + 0.3 * torch.randn(pairs, DIM, generator=generator))
    t = 6.0 * (torch.randn(1, DIM, generator=generator) + 0.3 * torch.randn(pairs, DIM, generator=generator))
    x.requires_grad_(True)
    t.requires_grad_(True)
    climber = torch.optim.Adam([x, t], lr=0.3)
    best, found = -1.0, (x.detach().clone(), t.detach().clone())
    for _ in range(steps):
        distance = (_soft_sum(kind, x, t) - _soft_sum(kind, x[:-1], t[:-1])).norm()
        if float(distance.detach()) > best:
            best, found = float(distance.detach()), (x.detach().clone(), t.detach().clone())
        climber.zero_grad()
        (-distance).backward()
        climber.step()
    return found


def worst(kind: str, pairs: int, *, steps: int, restarts: int) -> float:
    """The largest change found, measured by the code under test."""
    return max(change(kind, *search(kind, pairs, steps=steps, seed=seed)) for seed in range(restarts))


def main() -> None:
    """Search, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer steps and restarts")
    parser.add_argument("--pairs", default="16,128")
    options = parser.parse_args()
    steps, restarts = (150, 2) if options.quick else (400, 6)
    rows = []
    print(f"{'mechanism':12s} {'pairs':>6s} {'claimed':>8s} {'found':>8s}")
    for kind in SUMS:
        for pairs in (int(text) for text in options.pairs.split(",")):
            found = worst(kind, pairs, steps=steps, restarts=restarts)
            rows.append({"mechanism": kind, "pairs": pairs, "claimed_C": CLAIMED[kind], "found_C": found})
            print(f"{kind:12s} {pairs:6d} {CLAIMED[kind]:7.0f}C {found:7.3f}C", flush=True)
    RESULTS.mkdir(exist_ok=True)
    result = {"steps": steps, "restarts": restarts, "torch": torch.__version__, "rows": rows}
    (RESULTS / "privacy-removal.json").write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
