"""One way from a fundus photograph to the model's input, the same for a phantom and for a real eye.

The eye is cropped to its field of view, resized, and its local mean is subtracted: what is left is local contrast
(vessels, lesions, disc) without the camera's colour and light, in which simulated and real pictures differ most.
The result is kept as 8-bit pixels, so that a cached picture and a fresh one are equal to the bit.

It does not promise that plain open_clip's own transform gives the same input: that one only resizes and normalises.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from ethicclip.errors import BadInputError
from ethicclip.imaging import Pixels, field_of_view

if TYPE_CHECKING:
    import torch

NEUTRAL = 128
"""The 8-bit value outside of the field, and of a place that equals its surround."""

_WORKING_SIDES = 2.0
"""A picture is reduced to this many times the model's side before it is cropped."""

_FIELD_SIDE = 192
"""The field is sought at this size: its circle is exact to half a percent, whatever the picture's size."""


@dataclass(frozen=True, kw_only=True)
class Square:
    """The part of a picture that becomes the model's input: the square around its field of view.

    Attributes:
        left, top, side: In pixels of a picture `width` pixels wide; the square may reach over the picture's edge.
        width: See above; the same square fits the picture at any resolution.
    """

    left: int
    top: int
    side: int
    width: int

    def cut(self, plane: npt.NDArray[np.uint8], size: int) -> npt.NDArray[np.uint8]:
        """The square of a plane that lies over the picture, uint8 (h, w) or (h, w, c), at (size, size); 0 outside."""
        height, width = plane.shape[:2]
        scale = width / self.width
        left, top = round(self.left * scale), round(self.top * scale)
        side = max(2, round(self.side * scale))
        square = np.zeros((side, side, *plane.shape[2:]), dtype=np.uint8)
        inner = (slice(max(0, top), min(height, top + side)), slice(max(0, left), min(width, left + side)))
        outer = tuple(
            slice(part.start - start, part.stop - start) for part, start in zip(inner, (top, left), strict=True)
        )
        square[outer] = plane[inner]
        method = cv2.INTER_AREA if side > size else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(square, (size, size), interpolation=method), dtype=np.uint8)


@dataclass(frozen=True, kw_only=True)
class FundusPreprocess:
    """From uint8 RGB of shape (height, width, 3) to float32 of shape (3, size, size).

    Attributes:
        size: Side of the model's input, in pixels.
        local_mean: Subtract the local mean inside the field; False keeps the colours.
        surround: Standard deviation of the Gaussian that defines "local", as a share of `size`.
        gain: Factor on the difference from the local mean before it becomes 8 bits.
        mean, std: What the image tower expects; the 8-bit result over 255 is normalised by them.
    """

    size: int
    local_mean: bool = True
    surround: float = 0.06
    gain: float = 4.0
    mean: tuple[float, float, float] = (0.5, 0.5, 0.5)
    std: tuple[float, float, float] = (0.25, 0.25, 0.25)

    def __post_init__(self) -> None:
        if not 16 <= self.size <= 4096:
            raise BadInputError(f"a model input of {self.size} pixels a side is outside 16 to 4096")
        if not (0 < self.surround <= 1 and self.gain > 0 and min(self.std) > 0):
            raise BadInputError(
                f"preprocessing with surround {self.surround}, gain {self.gain}, std {self.std}: all must be positive"
            )

    def pixels(self, image: Pixels) -> Pixels:
        """Crop, resize and subtract: uint8 of shape (size, size, 3), `NEUTRAL` (or black) outside of the field.

        Raises:
            BadInputError: `image` is not uint8 of shape (height, width, 3).
        """
        return self.pixels_and_square(image)[0]

    def pixels_and_square(self, image: Pixels) -> tuple[Pixels, Square]:
        """`pixels`, and which part of the picture they are, for what else lies over it."""
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise BadInputError(
                f"a picture of type {image.dtype} and shape {image.shape} is not uint8 RGB (height, width, 3)",
                next_step="Read files with ethicclip.imaging.read_image.",
            )
        cropped, mask, square = self._crop(image)
        if not self.local_mean:
            result: Pixels = cropped * (mask > 0)[:, :, None].astype(np.uint8)
            return result, square
        return self._subtract(cropped, mask), square

    def tensor(self, pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
        """Normalise the uint8 result of `pixels`, (..., size, size, 3), to float32 of shape (..., 3, size, size)."""
        # Here, because the processes that only decode images need no torch.
        import torch  # noqa: PLC0415

        channels = torch.from_numpy(np.ascontiguousarray(np.moveaxis(pixels, -1, -3)))
        mean = torch.tensor(self.mean).view(3, 1, 1)
        std = torch.tensor(self.std).view(3, 1, 1)
        return channels.to(torch.float32).div_(255.0).sub_(mean).div_(std)

    def __call__(self, image: Pixels) -> torch.Tensor:
        """`pixels` and `tensor` in one: float32 of shape (3, size, size)."""
        return self.tensor(self.pixels(image))

    def to_json(self) -> dict[str, Any]:
        """The description that is stored beside the weights."""
        return {**asdict(self), "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> FundusPreprocess:
        """The inverse of `to_json`; unknown or missing names are a `BadInputError`."""
        try:
            return cls(**{**stored, "mean": tuple(stored["mean"]), "std": tuple(stored["std"])})
        except (TypeError, KeyError) as error:
            raise BadInputError(
                f"the stored preprocessing cannot be used: {error}",
                next_step="It was written by another version; train again or restore ethicclip_model.json.",
            ) from None

    def _crop(self, image: Pixels) -> tuple[Pixels, Pixels, Square]:
        """The square around the field at (size, size, 3), the field in it as 0 or 1, and where it was."""
        image, _ = _reduced(image, int(_WORKING_SIDES * self.size))
        small, scale = _reduced(image, _FIELD_SIDE)
        field = field_of_view(small)
        height, width = image.shape[:2]
        radius = field.radius / scale if field.found else max(height, width) / 2
        square = Square(
            left=round((field.centre_x + 0.5) / scale - radius),
            top=round((field.centre_y + 0.5) / scale - radius),
            side=max(2, 2 * round(radius)),
            width=width,
        )
        lit = cv2.resize(field.mask.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
        # Averaging 0 and 255 and cutting at half is what nearest neighbours do, but for ties.
        mask = square.cut(np.asarray(lit, dtype=np.uint8) * np.uint8(255), self.size)
        return square.cut(image, self.size), _as_pixels(mask > 127), square

    def _subtract(self, pixels: Pixels, mask: Pixels) -> Pixels:
        """`gain` times the difference from the mean of the surround that lies inside the field."""
        # The lit border is smeared by resizing and compression; a rim less of it is no loss.
        rim = max(2, round(0.015 * self.size))
        inside = cv2.erode(
            mask, np.ones((3, 3), np.uint8), iterations=rim, borderType=cv2.BORDER_CONSTANT, borderValue=0
        )
        weight = inside.astype(np.float32)
        values = np.asarray(cv2.bitwise_and(pixels, pixels, mask=inside), dtype=np.float32)
        # A mean over many pixels is smooth: on a reduced grid it is the same to a grey level, at a tenth of the time.
        step = max(1, int(self.surround * self.size / 2.5))
        grid = (-(-self.size // step), -(-self.size // step))
        sigma = self.surround * grid[0]
        total = _blurred(cv2.resize(weight, grid, interpolation=cv2.INTER_AREA), sigma)
        local = _blurred(cv2.resize(values, grid, interpolation=cv2.INTER_AREA), sigma)
        mean = cv2.resize(local / np.maximum(total, 1e-3)[:, :, None], (self.size, self.size))
        scaled = cv2.addWeighted(values, self.gain, np.asarray(mean), -self.gain, NEUTRAL)
        # The conversion rounds and cuts to 0 ... 255.
        signed = np.where(inside[:, :, None] > 0, scaled, np.float32(NEUTRAL))
        return _as_pixels(cv2.convertScaleAbs(np.maximum(signed, 0)))


def _reduced(image: Pixels, longest: int) -> tuple[Pixels, float]:
    """The picture with its longer side at most `longest`, and the factor applied."""
    height, width = image.shape[:2]
    if max(height, width) <= longest:
        return image, 1.0
    scale = longest / max(height, width)
    target = (max(1, round(width * scale)), max(1, round(height * scale)))
    return _as_pixels(cv2.resize(image, target, interpolation=cv2.INTER_AREA)), scale


def _blurred(values: Any, sigma: float) -> npt.NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), sigma, borderType=cv2.BORDER_CONSTANT), dtype=np.float32)


def _as_pixels(array: Any) -> Pixels:
    """OpenCV's stubs promise less than it returns."""
    result: Pixels = np.asarray(array, dtype=np.uint8)
    return result
