"""The engine's clipped sums against a plain loop over units, on every kind of layer that CLIP towers have."""

from __future__ import annotations

from collections.abc import Callable

import open_clip
import pytest
import torch
from torch import nn

from ethicclip import clip
from ethicclip.errors import UsageError
from ethicclip.privacy.clipping import ClippedSum
from ethicclip.privacy.per_unit import PerUnitGradients, clippable_parameters


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def vision_transformer() -> nn.Module:
    text = {"context_length": 8, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
    vision = {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 4}
    return open_clip.CLIP(embed_dim=16, vision_cfg=vision, text_cfg=text)


MODELS: dict[str, tuple[Callable[[], nn.Module], int, set[str]]] = {
    "tiny": (lambda: clip.create("tiny", image_size=64).model, 64, set()),
    "nano": (lambda: clip.create("nano").model, 64, {"gamma"}),
    "vit": (vision_transformer, 32, {"class_embedding", "positional_embedding"}),
}


@pytest.mark.parametrize("name", sorted(MODELS))
@pytest.mark.parametrize("max_norm", [1e9, 0.5])
def test_clipped_sum_equals_a_plain_loop(name, max_norm):
    build, side, beyond = MODELS[name]
    torch.manual_seed(0)
    model = build().train()
    if name == "tiny":
        model.to(memory_format=torch.channels_last)
    names, candidates = zip(*model.visual.named_parameters(), strict=True)
    for parameter in model.parameters():
        parameter.requires_grad_(any(parameter is one for one in candidates))
    able = clippable_parameters(candidates, lambda: model.encode_image(torch.randn(1, 3, side, side)))
    assert {name.split(".")[-1] for name, possible in zip(names, able, strict=True) if not possible} == beyond
    for parameter, possible in zip(candidates, able, strict=True):
        parameter.requires_grad_(possible)
    trained = [parameter for parameter in candidates if parameter.requires_grad]
    units, each = 4, 2
    pixels = torch.randn(units * each, 3, side, side).contiguous(memory_format=torch.channels_last)
    width = model.encode_image(pixels[:1]).shape[1]
    words = nn.functional.normalize(torch.randn(5, width), dim=1)
    labels = torch.randint(0, 5, (units * each,))

    def losses(rows: slice) -> torch.Tensor:
        image = nn.functional.normalize(model.encode_image(pixels[rows]), dim=1)
        return nn.functional.cross_entropy(20 * image @ words.T, labels[rows], reduction="none")

    ours, plain = ClippedSum(trained, max_norm), ClippedSum(trained, max_norm)
    norms = PerUnitGradients(trained).add(lambda: losses(slice(None)), units=units, into=ours)
    expected = [
        plain.add(torch.autograd.grad(losses(slice(start, start + each)).sum(), trained))
        for start in range(0, units * each, each)
    ]
    assert norms.tolist() == pytest.approx(expected, rel=1e-3)
    for one, other in zip(ours.total, plain.total, strict=True):
        torch.testing.assert_close(one, other, rtol=2e-3, atol=2e-5 * max(expected) if max_norm > 1 else 2e-5)


def test_grouped_and_strided_convolutions_and_shared_layers():
    torch.manual_seed(1)
    layers = nn.ModuleList(
        [
            nn.Conv2d(4, 8, 3, stride=2, padding=1, dilation=1),
            nn.Conv2d(8, 8, 3, groups=4, padding=2, dilation=2),
            nn.Conv2d(8, 8, 3, groups=8, padding=1),
            nn.Conv2d(8, 8, 1, stride=2),
            nn.GroupNorm(2, 8),
        ]
    )
    shared = nn.Linear(8, 8)
    parameters = [*layers.parameters(), *shared.parameters()]
    x = torch.randn(3, 4, 12, 12)

    def losses(rows: slice) -> torch.Tensor:
        y = x[rows]
        for layer in layers:
            y = layer(y).tanh()
        return shared(shared(y.mean((2, 3)))).square().sum(1)

    ours, plain = ClippedSum(parameters, 0.3), ClippedSum(parameters, 0.3)
    PerUnitGradients(parameters).add(lambda: losses(slice(None)), units=3, into=ours)
    for row in range(3):
        plain.add(torch.autograd.grad(losses(slice(row, row + 1)).sum(), parameters))
    for one, other in zip(ours.total, plain.total, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_parameter_used_elsewhere_is_refused():
    layer = nn.Linear(3, 3)
    engine, total = PerUnitGradients([layer.weight]), ClippedSum([layer.weight], 1.0)
    with pytest.raises(UsageError, match="cannot be told apart"):
        engine.add(lambda: (torch.ones(2, 3) * layer.weight.sum()).sum(1), units=2, into=total)
    assert layer.weight.grad is None


def test_one_unit_that_is_not_finite_leaves_the_others_alone():
    layer = nn.Linear(3, 2)
    parameters = list(layer.parameters())
    x = torch.randn(3, 3)
    clean = ClippedSum(parameters, 1.0)
    PerUnitGradients(parameters).add(lambda: layer(x[1:]).square().sum(1), units=2, into=clean)
    x[0] = float("inf")
    poisoned = ClippedSum(parameters, 1.0)
    norms = PerUnitGradients(parameters).add(lambda: layer(x).square().sum(1), units=3, into=poisoned)
    assert not torch.isfinite(norms[0])
    for one, other in zip(poisoned.total, clean.total, strict=True):
        torch.testing.assert_close(one, other)
