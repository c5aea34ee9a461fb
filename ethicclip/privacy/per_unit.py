"""The gradient of every privacy unit, clipped and summed, for about the price of one ordinary backward pass.

While a model runs, calls of linear, convolution, normalisation and attention functions that meet a trained parameter
are taken over: their backward pass gives the input's gradient as always, and for the parameter either the gradient of
each unit (small weights) or only what its norm needs (large ones: "ghost norms", Li et al. 2022, 2110.05679; the sum
is then one matrix product from the kept activations, "book-keeping", Bu et al. 2023, 2210.00038). It works on
unmodified modules, since functions are taken over and not layers.

A parameter that is used in any other way cannot be clipped by unit: `clippable_parameters` finds out which can, and
`PerUnitGradients` refuses when one of its parameters was touched elsewhere.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ethicclip.errors import UsageError
from ethicclip.privacy.clipping import ClippedSum, clip_factors

_aten: Any = torch.ops.aten


class PerUnitGradients:
    """Adds the clipped gradient of each unit of a batch to a `ClippedSum`.

    Args:
        parameters: What is trained.

    Example:
        >>> layer = torch.nn.Linear(3, 2)
        >>> engine, total = PerUnitGradients(list(layer.parameters())), ClippedSum(list(layer.parameters()), 1.0)
        >>> norms = engine.add(lambda: layer(torch.ones(4, 3)).square().sum(1), units=4, into=total)
        >>> norms.shape
        torch.Size([4])
    """

    def __init__(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        self._parameters = list(parameters)

    def add(self, losses: Callable[[], Tensor], *, units: int, into: ClippedSum) -> Tensor:
        """Run `losses`, differentiate, clip each unit's gradient and add it.

        Args:
            losses: Runs the model on a batch and gives one loss a row, (units * m,): the m rows of unit 0 first. The
                batch must be the first dimension of every activation. A unit's loss is the sum over its rows.
            units: Number of units in the batch.
            into: Receives the clipped gradients; its parameters are those of this object.

        Returns:
            Norms before clipping, float32 of shape (units,): private.

        Raises:
            UsageError: A parameter was used in a way that cannot be told apart by unit.
        """
        book = _Book(self._parameters, units)
        with _TakeOver(book):
            rows = losses()
        if rows.requires_grad:
            rows.sum().backward()  # type: ignore[no-untyped-call]
        if any(parameter.grad is not None for parameter in self._parameters):
            for parameter in self._parameters:
                parameter.grad = None
            raise UsageError(
                "a trained parameter is used by an operation whose gradient cannot be told apart by unit",
                next_step="Train only parameters of linear, convolution, attention and normalisation layers.",
            )
        norms = book.squared_norms().sqrt()
        book.add_weighted(clip_factors(norms, into.max_norm), into.total)
        return norms


def clippable_parameters(parameters: Iterable[torch.nn.Parameter], run: Callable[[], Tensor]) -> list[bool]:
    """Which parameters `PerUnitGradients` can train, found by one probe.

    Args:
        parameters: Candidates; all require gradients.
        run: Runs the model on any batch of one row and gives a tensor.
    """
    candidates = list(parameters)
    book = _Book(candidates, 1)
    with _TakeOver(book):
        result = run()
    result.sum().backward()  # type: ignore[no-untyped-call]
    able = [parameter.grad is None and book.knows(parameter) for parameter in candidates]
    for parameter in candidates:
        parameter.grad = None
    return able


class _Book:
    """What the backward pass leaves for each parameter: gradients by unit, or activations and their gradients."""

    def __init__(self, parameters: Sequence[torch.nn.Parameter], units: int) -> None:
        self.units = units
        self._numbers = {id(parameter): number for number, parameter in enumerate(parameters)}
        self._by_unit: dict[int, Tensor] = {}
        self._ghosts: dict[int, tuple[Tensor, Tensor]] = {}
        self._used: set[int] = set()

    def knows(self, parameter: Tensor | None) -> bool:
        return parameter is not None and id(parameter) in self._used

    def wants(self, parameter: Any) -> bool:
        return id(parameter) in self._numbers

    def gradient(self, parameter: Tensor | None, by_unit: Callable[[], Tensor]) -> None:
        """Note a parameter's gradient by unit, (units, *shape)."""
        if parameter is None or not self.wants(parameter):
            return
        self._used.add(id(parameter))
        number = self._numbers[id(parameter)]
        fresh = by_unit().float().reshape(self.units, -1)
        if number in self._ghosts:
            inputs, outputs = self._ghosts.pop(number)
            self._by_unit[number] = torch.bmm(outputs.transpose(1, 2), inputs).reshape(self.units, -1)
        known = self._by_unit.get(number)
        self._by_unit[number] = fresh if known is None else known + fresh

    def product(self, weight: Tensor, inputs: Tensor, outputs: Tensor) -> None:
        """Note a weight (p, d) whose gradient is the product of (units, l, p)^T and (units, l, d)."""
        if not self.wants(weight):
            return
        length, wide, deep = inputs.shape[1], inputs.shape[2], outputs.shape[2]
        number = self._numbers[id(weight)]
        ghost_is_cheaper = length * (wide + deep) < wide * deep
        if ghost_is_cheaper and number not in self._by_unit and number not in self._ghosts:
            self._used.add(id(weight))
            self._ghosts[number] = (inputs.detach().float(), outputs.detach().to(torch.float32, copy=True))
        else:
            self.gradient(weight, lambda: torch.bmm(outputs.transpose(1, 2), inputs))

    def squared_norms(self) -> Tensor:
        total: Tensor | None = None
        for gradients in self._by_unit.values():
            part = gradients.square().sum(1)
            total = part if total is None else total + part
        for inputs, outputs in self._ghosts.values():
            # |B^T A|^2 = <A A^T, B B^T>; rounding may leave it just under zero.
            part = (torch.bmm(inputs, inputs.mT) * torch.bmm(outputs, outputs.mT)).sum((1, 2)).clamp(min=0)
            total = part if total is None else total + part
        return torch.zeros(self.units) if total is None else total

    def add_weighted(self, factors: Tensor, totals: Sequence[Tensor]) -> None:
        if not bool((factors > 0).all()):
            # Zero times infinity is no zero: what is left out has to be cut out.
            live = factors > 0
            factors = factors[live]
            self._by_unit = {number: gradients[live] for number, gradients in self._by_unit.items()}
            self._ghosts = {number: (x[live], outputs[live]) for number, (x, outputs) in self._ghosts.items()}
        for number, gradients in self._by_unit.items():
            totals[number].add_((factors @ gradients).view(totals[number].shape))
        for number, (inputs, outputs) in self._ghosts.items():
            scaled = outputs.mul_(factors[:, None, None]).flatten(0, 1)
            totals[number].add_((scaled.T @ inputs.flatten(0, 1)).view(totals[number].shape))

    def by_unit(self, rows: Tensor) -> Tensor:
        """(units * m, ..., d) as (units, m * ..., d)."""
        return rows.reshape(self.units, -1, rows.shape[-1])

    def summed(self, rows: Tensor) -> Tensor:
        """Sum the m rows of each unit: (units * m, ...) to (units, ...)."""
        return rows.reshape(self.units, -1, *rows.shape[1:]).sum(1)


class _TakeOver(TorchFunctionMode):
    """Sends calls that meet a trained parameter to their counterparts below; everything else runs as it is."""

    def __init__(self, book: _Book) -> None:
        super().__init__()
        self._book = book

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        counterpart = _COUNTERPARTS.get(func)
        if counterpart is not None:
            given = [value for value in (*args, *named.values()) if isinstance(value, torch.nn.Parameter)]
            if any(self._book.wants(value) for value in given):
                result = counterpart(self._book, *args, **named)
                if result is not NotImplemented:
                    return result
        return func(*args, **named)


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, book: _Book) -> Tensor:
        ctx.save_for_backward(x)
        ctx.weight, ctx.bias, ctx.book = weight, bias, book
        return functional.linear(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *outputs: Any) -> Any:
        (x,), gradient, book = ctx.saved_tensors, outputs[0], ctx.book
        book.product(ctx.weight, book.by_unit(x), book.by_unit(gradient))
        book.gradient(ctx.bias, lambda: book.by_unit(gradient).sum(1))
        return (gradient @ ctx.weight if ctx.needs_input_grad[0] else None), None, None, None


class _Conv2d(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, geometry: tuple[Any, ...], book: _Book
    ) -> Tensor:
        ctx.save_for_backward(x)
        ctx.weight, ctx.bias, ctx.geometry, ctx.book = weight, bias, geometry, book
        return functional.conv2d(x, weight, bias, *geometry)

    @staticmethod
    def backward(ctx: Any, *outputs: Any) -> Any:
        (x,), gradient, book = ctx.saved_tensors, outputs[0], ctx.book
        stride, padding, dilation, groups = ctx.geometry
        if ctx.weight.shape[2:] == (1, 1) and groups == 1 and stride == (1, 1) and padding == (0, 0):
            book.product(ctx.weight, book.by_unit(x.flatten(2).mT), book.by_unit(gradient.flatten(2).mT))
        else:
            book.gradient(ctx.weight, lambda: _conv_weights(x, gradient, ctx.weight, ctx.geometry, book.units))
        book.gradient(ctx.bias, lambda: book.summed(gradient.sum((2, 3))))
        into = None
        if ctx.needs_input_grad[0]:
            into = _aten.convolution_backward(
                gradient, x, ctx.weight, None, stride, padding, dilation, False, (0, 0), groups, (True, False, False)
            )[0]
        return into, None, None, None, None


def _conv_weights(x: Tensor, gradient: Tensor, weight: Tensor, geometry: tuple[Any, ...], units: int) -> Tensor:
    """Each unit's gradient of a convolution's weight: (units, out, in / groups, height, width)."""
    (step_y, step_x), (pad_y, pad_x), (dilate_y, dilate_x), groups = geometry
    outs, ins, kernel_y, kernel_x = weight.shape
    if not (ins == 1 and outs == groups):
        # The library's own kernel, a unit at a time, beat unfolding, shifting and one grouped call (cost.py).
        each = len(x) // units
        return torch.stack(
            [
                _aten.convolution_backward(
                    gradient[start : start + each],
                    x[start : start + each],
                    weight,
                    None,
                    *geometry[:3],
                    False,
                    (0, 0),
                    groups,
                    (False, True, False),
                )[1]
                for start in range(0, len(x), each)
            ]
        )
    high, wide = gradient.shape[2:]
    padded = functional.pad(x, (pad_x, pad_x, pad_y, pad_y)) if pad_x or pad_y else x
    shifts = []
    for top in range(0, kernel_y * dilate_y, dilate_y):
        for left in range(0, kernel_x * dilate_x, dilate_x):
            rows = slice(top, top + step_y * (high - 1) + 1, step_y)
            columns = slice(left, left + step_x * (wide - 1) + 1, step_x)
            shifts.append((padded[:, :, rows, columns] * gradient).sum((2, 3)))
    by_row = torch.stack(shifts, -1).view(len(x), outs, ins, kernel_y, kernel_x)
    return by_row.reshape(units, -1, *by_row.shape[1:]).sum(1)


class _LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, shape: list[int], weight: Tensor | None, bias: Tensor | None, eps: float, book: _Book
    ) -> Tensor:
        result, mean, scale = _aten.native_layer_norm(x, shape, weight, bias, eps)
        ctx.save_for_backward(x, mean, scale)
        ctx.shape, ctx.weight, ctx.bias, ctx.book = shape, weight, bias, book
        return result  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *outputs: Any) -> Any:
        (x, mean, scale), gradient, book = ctx.saved_tensors, outputs[0], ctx.book
        wide = math.prod(ctx.shape)
        book.gradient(ctx.weight, lambda: _products((x - mean) * scale, gradient, book, wide))
        book.gradient(ctx.bias, lambda: gradient.reshape(book.units, -1, wide).sum(1))
        into = None
        if ctx.needs_input_grad[0]:
            into = _aten.native_layer_norm_backward(
                gradient.contiguous(), x, ctx.shape, mean, scale, ctx.weight, ctx.bias, (True, False, False)
            )[0]
        return into, None, None, None, None, None


def _products(x: Tensor, gradient: Tensor, book: _Book, wide: int) -> Tensor:
    return (x * gradient).reshape(book.units, -1, wide).sum(1)


class _GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, groups: int, weight: Tensor | None, bias: Tensor | None, eps: float, book: _Book
    ) -> Tensor:
        rows, channels = x.shape[:2]
        result, mean, scale = _aten.native_group_norm(x, weight, bias, rows, channels, x[0, 0].numel(), groups, eps)
        ctx.save_for_backward(x, mean, scale)
        ctx.groups, ctx.weight, ctx.bias, ctx.book = groups, weight, bias, book
        return result  # type: ignore[no-any-return]

    @staticmethod
    def backward(ctx: Any, *outputs: Any) -> Any:
        (x, mean, scale), gradient, book = ctx.saved_tensors, outputs[0], ctx.book
        rows, channels = x.shape[:2]
        places = x[0, 0].numel()
        if book.wants(ctx.weight) or book.wants(ctx.bias):
            # sum((x - mean) scale g) = scale (sum(x g) - mean sum(g)): two sums, no normalised copy.
            sums = gradient.flatten(2).sum(2)
            each = channels // ctx.groups
            crossed = (x * gradient).flatten(2).sum(2)
            spread, centre = scale.repeat_interleave(each, 1), mean.repeat_interleave(each, 1)
            book.gradient(ctx.weight, lambda: book.summed(spread * (crossed - centre * sums)))
            book.gradient(ctx.bias, lambda: book.summed(sums))
        into = None
        if ctx.needs_input_grad[0]:
            # The kernel wants both in one memory layout.
            layout = (
                torch.channels_last
                if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
                else torch.contiguous_format
            )
            into = _aten.native_group_norm_backward(
                gradient.contiguous(memory_format=layout),
                x.contiguous(memory_format=layout),
                mean,
                scale,
                ctx.weight,
                rows,
                channels,
                places,
                ctx.groups,
                (True, False, False),
            )[0]
        return into, None, None, None, None, None


def _linear(book: _Book, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
    return _Linear.apply(input, weight, bias, book)


def _matmul(book: _Book, input: Tensor, other: Tensor) -> Any:
    if not book.wants(other) or other.ndim != 2 or book.wants(input):
        return NotImplemented
    return _Product.apply(input, other, book)


class _Product(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, book: _Book) -> Tensor:
        ctx.save_for_backward(x)
        ctx.weight, ctx.book = weight, book
        return x @ weight

    @staticmethod
    def backward(ctx: Any, *outputs: Any) -> Any:
        (x,), gradient, book = ctx.saved_tensors, outputs[0], ctx.book
        # The weight stands the other way round than a linear layer's, (d, p): its factors change places.
        book.product(ctx.weight, book.by_unit(gradient), book.by_unit(x))
        return (gradient @ ctx.weight.T if ctx.needs_input_grad[0] else None), None, None


def _conv2d(
    book: _Book,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    if isinstance(padding, str) or input.ndim != 4:
        return NotImplemented
    geometry = (_pair(stride), _pair(padding), _pair(dilation), groups)
    return _Conv2d.apply(input, weight, bias, geometry, book)


def _pair(value: Any) -> tuple[int, int]:
    return (int(value), int(value)) if isinstance(value, int) else (int(value[0]), int(value[-1]))


def _layer_norm(
    book: _Book,
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Any:
    return _LayerNorm.apply(input, list(normalized_shape), weight, bias, eps, book)


def _group_norm(
    book: _Book,
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Any:
    return _GroupNorm.apply(input, num_groups, weight, bias, eps, book)


def _attention(
    book: _Book,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    **rest: Any,
) -> Any:
    """Self-attention as `multi_head_attention_forward` does it, for what CLIP towers ask of it."""
    plain = (
        query is key and key is value and in_proj_weight is not None and bias_k is None and bias_v is None
    ) and not (add_zero_attn or use_separate_proj_weight or need_weights or key_padding_mask is not None)
    if not plain or rest.get("is_causal") or query.ndim != 3:
        return NotImplemented
    # Here the sequence comes first; units are told apart along the first dimension.
    x = query.transpose(0, 1)
    rows, length, width = x.shape
    projected = _linear(book, x, in_proj_weight, in_proj_bias)  # type: ignore[arg-type]
    queries, keys, values = (
        part.view(rows, length, num_heads, width // num_heads).transpose(1, 2) for part in projected.chunk(3, -1)
    )
    mixed = functional.scaled_dot_product_attention(
        queries, keys, values, attn_mask=attn_mask, dropout_p=dropout_p if training else 0.0
    )
    joined = mixed.transpose(1, 2).reshape(rows, length, width)
    return _linear(book, joined, out_proj_weight, out_proj_bias).transpose(0, 1), None


_COUNTERPARTS: dict[Any, Callable[..., Any]] = {
    functional.linear: _linear,
    functional.conv2d: _conv2d,
    functional.layer_norm: _layer_norm,
    functional.group_norm: _group_norm,
    functional.multi_head_attention_forward: _attention,
    torch.Tensor.matmul: _matmul,
    torch.Tensor.__matmul__: _matmul,
    torch.matmul: _matmul,
}
