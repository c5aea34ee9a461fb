"""The `copy` network: a small residual net with generalised-mean pooling, made mirror-blind by adding both mirrors.

Generalised-mean pooling (Radenovic et al. 2018) and the shape of the head follow SSCD (Pizzi et al. 2022).
"""

from __future__ import annotations

from importlib.resources import as_file, files
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ethicclip.files import sha256_bytes

WEIGHTS = "copy.safetensors"
WIDTHS = (32, 64, 128, 192)
DIMENSIONS = 256


class CopyNetwork(nn.Module):
    """float32 (n, 2, side, side) in units of standard deviations to L2-normalised float32 (n, `DIMENSIONS`)."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_convolution(2, WIDTHS[0], size=5, stride=2)]
        for before, after in pairwise(WIDTHS):
            layers += [_convolution(before, after, stride=2), _Residual(after)]
        self.body = nn.Sequential(*layers)
        self.power = nn.Parameter(torch.tensor(3.0))
        self.head = nn.Linear(WIDTHS[-1], DIMENSIONS)

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """Descriptor of each picture as it is given (one orientation)."""
        found = self.body(planes).float().clamp(min=1e-6)
        pooled = found.pow(self.power).mean(dim=(2, 3)).pow(1 / self.power)
        return nn.functional.normalize(self.head(pooled), dim=1)

    def mirror_blind(self, planes: torch.Tensor) -> torch.Tensor:
        """Descriptor that is the same for a picture and its mirror image."""
        both = self(planes) + self(planes.flip(3))
        return nn.functional.normalize(both, dim=1)


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = _convolution(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, padding=1, bias=False), nn.BatchNorm2d(width))

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return torch.relu(values + self.second(self.first(values)))


def _convolution(before: int, after: int, *, size: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(before, after, size, stride, size // 2, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)
    )


def load_copy_network(path: Path | None = None) -> CopyNetwork:
    """The network with the weights of `path`, by default those that ship with the package; ready for use."""
    network = CopyNetwork()
    if path is None:
        with as_file(files("ethicclip.audits.description").joinpath(WEIGHTS)) as shipped:
            state = load_file(shipped)
    else:
        state = load_file(path)
    network.load_state_dict(
        {name: value.float() if value.is_floating_point() else value for name, value in state.items()}
    )
    return network.eval()


def save_copy_network(network: CopyNetwork, path: Path) -> None:
    """Write weights in half precision: the descriptor's cosine changes in the fourth place, the file halves."""
    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in network.state_dict().items()
    }
    save_file(state, path)


def shipped_digest() -> str:
    """The sha256 (hex) of the weights that ship with the package."""
    return sha256_bytes(files("ethicclip.audits.description").joinpath(WEIGHTS).read_bytes())
