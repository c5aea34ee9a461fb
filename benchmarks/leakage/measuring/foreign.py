"""A third ladder, in another hand: copies made with none of the package's rungs, by another library (Pillow, SciPy).

The package's own ladder is what its detector was built beside; a recall on it is therefore a little flattering. These
rungs have other parameters, other operations and other orders. They are for measuring only.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFilter, ImageOps
from scipy import ndimage

from ethicclip.imaging import Pixels

Picture = Image.Image
Change = Callable[[Picture, Picture, np.random.Generator], Picture]


def foreign(kind: str, image: Pixels, other: Pixels, rng: np.random.Generator) -> Pixels:
    """One copy of `image` by the rung `kind`, RGB uint8; `other` is a picture of another patient."""
    first = Image.fromarray(image)
    second = Image.fromarray(other).resize(first.size, Image.Resampling.BILINEAR)
    return np.asarray(FOREIGN[kind](first, second, rng).convert("RGB"), dtype=np.uint8)


def _window(one: Picture, width: float, height: float, rng: np.random.Generator, reach: float = 0.7) -> Picture:
    """A part of these shares of the sides, its centre within a share `reach` of what is possible."""
    w, h = one.size
    x = w * (1 - width) * (0.5 + reach * rng.uniform(-0.5, 0.5))
    y = h * (1 - height) * (0.5 + reach * rng.uniform(-0.5, 0.5))
    return one.crop((round(x), round(y), round(x + w * width), round(y + h * height)))


def _saved(one: Picture, form: str, quality: int) -> Picture:
    stream = io.BytesIO()
    one.convert("RGB").save(stream, form, quality=quality)
    return Image.open(stream).convert("RGB")


def _array(one: Picture) -> np.ndarray:
    return np.asarray(one.convert("RGB"), dtype=np.float32)


def _picture(values: np.ndarray) -> Picture:
    return Image.fromarray(np.clip(np.rint(values), 0, 255).astype(np.uint8))


def _noise(one: Picture, sigma: float, rng: np.random.Generator) -> Picture:
    return _picture(_array(one) + rng.normal(0, sigma, _array(one).shape))


def _salt(one: Picture, share: float, rng: np.random.Generator) -> Picture:
    values, hit = _array(one), rng.uniform(size=(one.height, one.width))
    values[hit < share / 2], values[hit > 1 - share / 2] = 0, 255
    return _picture(values)


def _small(one: Picture, side: int) -> Picture:
    factor = side / max(one.size)
    small = one.resize((round(one.width * factor), round(one.height * factor)), Image.Resampling.BOX)
    return small.resize(one.size, Image.Resampling.BILINEAR)


def _tilted(one: Picture, strength: float, rng: np.random.Generator) -> Picture:
    """A change of perspective: each corner moves by up to a share of the sides."""
    w, h = one.size
    corners = np.array([(0, 0), (w, 0), (w, h), (0, h)], dtype=float)
    moved = corners + strength * np.array([w, h]) * rng.uniform(-1, 1, (4, 2))
    rows, target = [], []
    for (x, y), (u, v) in zip(moved, corners, strict=True):
        rows += [[x, y, 1, 0, 0, 0, -u * x, -u * y], [0, 0, 0, x, y, 1, -v * x, -v * y]]
        target += [u, v]
    return one.transform(
        one.size, Image.Transform.PERSPECTIVE, np.linalg.solve(rows, target).tolist(), Image.Resampling.BICUBIC
    )


def _waved(one: Picture, amplitude: float, smooth: float, rng: np.random.Generator) -> Picture:
    values, (h, w) = _array(one), (one.height, one.width)
    shift = [ndimage.gaussian_filter(rng.normal(size=(h, w)), smooth * w) for _ in range(2)]
    shift = [amplitude * w * plane / plane.std() for plane in shift]
    at = np.mgrid[0:h, 0:w] + np.array(shift)
    return _picture(np.dstack([ndimage.map_coordinates(values[..., c], at, order=1, mode="nearest") for c in range(3)]))


def _masked(one: Picture, second: Picture, mask: np.ndarray) -> Picture:
    return _picture(_array(one) * mask[..., None] + _array(second) * (1 - mask[..., None]))


def _half(one: Picture, rng: np.random.Generator) -> np.ndarray:
    """A mask of a straight half."""
    mask = np.zeros((one.height, one.width), dtype=np.float32)
    turn = int(rng.integers(4))
    if turn % 2:
        mask[:, : one.width // 2] = 1
    else:
        mask[: one.height // 2] = 1
    return mask[::-1, ::-1] if turn > 1 else mask


def _black(one: Picture) -> Picture:
    return Image.new("RGB", one.size)


def _patch_in(one: Picture, second: Picture, rng: np.random.Generator) -> Picture:
    """A soft round piece of the source, about half as wide as the field, set into another eye in its own place."""
    h, w = one.height, one.width
    y, x = np.mgrid[0:h, 0:w]
    angle, out = rng.uniform(0, 2 * np.pi), 0.15 * w * rng.uniform()
    far = np.hypot(x - w / 2 - out * np.cos(angle), y - h / 2 - out * np.sin(angle))
    return _masked(one, second, 1 / (1 + np.exp((far - 0.26 * w) / (0.015 * w))))


def _beside(one: Picture, second: Picture, rng: np.random.Generator) -> Picture:
    """Two eyes side by side on one canvas."""
    w, h = one.size
    canvas, pair = Image.new("RGB", (2 * w, h)), [one, second]
    first = int(rng.integers(2))
    canvas.paste(pair[first], (0, 0))
    canvas.paste(pair[1 - first], (w, 0))
    return canvas.resize((w, round(h / 2)), Image.Resampling.LANCZOS)


def _covered(one: Picture, rng: np.random.Generator) -> Picture:
    """A grid of grey squares over about half of the picture."""
    covered, draw_on = one.copy(), max(one.size) // 8
    draw = ImageDraw.Draw(covered)
    for x in range(0, one.width, draw_on):
        for y in range(0, one.height, draw_on):
            if rng.uniform() < 0.5:
                draw.rectangle((x, y, x + draw_on, y + draw_on), fill=(90, 90, 90))
    return covered


def _written_on(one: Picture, rng: np.random.Generator) -> Picture:
    marked = one.copy()
    draw = ImageDraw.Draw(marked)
    for _ in range(14):
        ends = (rng.uniform(0, 1, 4) * np.array([one.width, one.height] * 2)).tolist()
        draw.line(ends, fill=tuple(int(v) for v in rng.integers(0, 256, 3)), width=int(rng.integers(2, 9)))
    return marked


def _lit(one: Picture, rng: np.random.Generator) -> Picture:
    """Light falls off to one side, to a fifth."""
    y, x = np.mgrid[0 : one.height, 0 : one.width] / max(one.size)
    angle = rng.uniform(0, 2 * np.pi)
    ramp = (x - 0.5) * np.cos(angle) + (y - 0.5) * np.sin(angle)
    return _picture(_array(one) * np.clip(0.6 + 1.1 * ramp, 0.2, 1.2)[..., None])


def _swapped(one: Picture, rng: np.random.Generator) -> Picture:
    order = [(1, 2, 0), (2, 0, 1), (1, 0, 2)][int(rng.integers(3))]
    return _picture(_array(one)[..., order])


def _moved(one: Picture, length: int, rng: np.random.Generator) -> Picture:
    """Blur by movement along a random direction."""
    kernel = np.zeros((length, length))
    kernel[length // 2] = 1
    kernel = ndimage.rotate(kernel, rng.uniform(0, 180), reshape=False, order=1)
    kernel /= kernel.sum()
    values = _array(one)
    return _picture(np.dstack([ndimage.convolve(values[..., c], kernel) for c in range(3)]))


def _pinched(one: Picture, share: float) -> Picture:
    return one.resize((one.width, max(16, round(share * one.height))), Image.Resampling.LANCZOS)


def _far(one: Picture, share: float, rng: np.random.Generator) -> Picture:
    canvas, small = _black(one), one.resize((round(one.width * share), round(one.height * share)))
    room = (one.width - small.width, one.height - small.height)
    canvas.paste(small, (int(rng.integers(0, room[0] + 1)), int(rng.integers(0, room[1] + 1))))
    return canvas


def _everything(one: Picture, _: Picture, rng: np.random.Generator) -> Picture:
    turned = ImageOps.mirror(one).rotate(float(rng.uniform(30, 330)), Image.Resampling.BICUBIC)
    part = _window(turned, 0.6, 0.6, rng, 0.5).resize(one.size, Image.Resampling.BICUBIC)
    dyed = ImageEnhance.Contrast(ImageEnhance.Color(part).enhance(0.4)).enhance(0.6)
    return _saved(_noise(dyed, 15, rng), "JPEG", 25)


FOREIGN: dict[str, Change] = {
    "webp5": lambda a, _, __: _saved(a, "WEBP", 5),
    "jpeg6": lambda a, _, __: _saved(a, "JPEG", 6),
    "noise40": lambda a, _, rng: _noise(a, 40, rng),
    "noise60": lambda a, _, rng: _noise(a, 60, rng),
    "salt10": lambda a, _, rng: _salt(a, 0.1, rng),
    "side80": lambda a, _, __: _small(a, 80),
    "side56": lambda a, _, __: _small(a, 56),
    "blur4": lambda a, _, __: a.filter(ImageFilter.GaussianBlur(4)),
    "motion15": lambda a, _, rng: _moved(a, 15, rng),
    "median9": lambda a, _, __: a.filter(ImageFilter.MedianFilter(9)),
    "rotation": lambda a, _, rng: a.rotate(float(rng.uniform(20, 340)), Image.Resampling.BICUBIC, expand=True),
    "quarter_turn_flip": lambda a, _, __: ImageOps.flip(a.transpose(Image.Transpose.ROTATE_90)),
    "tilt": lambda a, _, rng: _tilted(a, 0.15, rng),
    "shear": lambda a, _, rng: a.transform(
        a.size, Image.Transform.AFFINE, (1, s := float(rng.choice([-0.4, 0.4])), -s * a.height / 2, 0, 1, 0)
    ),
    "pinch60": lambda a, _, __: _pinched(a, 0.6),
    "wave": lambda a, _, rng: _waved(a, 0.012, 0.06, rng),
    "crop40": lambda a, _, rng: _window(a, 0.4, 0.4, rng).resize(a.size, Image.Resampling.BICUBIC),
    "crop30": lambda a, _, rng: _window(a, 0.3, 0.3, rng).resize(a.size, Image.Resampling.BICUBIC),
    "crop30_small": lambda a, _, rng: _window(a, 0.3, 0.3, rng),
    "strip": lambda a, _, rng: _window(a, 0.9, 0.3, rng),
    "half_crop": lambda a, _, rng: _window(a, 0.5, 1.0, rng),
    "half_black": lambda a, _, rng: _masked(a, _black(a), _half(a, rng)),
    "half_other": lambda a, b, rng: _masked(a, b, _half(a, rng)),
    "patch_in_other": _patch_in,
    "beside_other": _beside,
    "blend50": lambda a, b, _: Image.blend(a, b, 0.5),
    "blend40": lambda a, b, _: Image.blend(a, b, 0.6),
    "blend_moved": lambda a, b, rng: Image.blend(a.rotate(float(rng.uniform(10, 60))), ImageOps.mirror(b), 0.5),
    "covered": lambda a, _, rng: _covered(a, rng),
    "written_on": lambda a, _, rng: _written_on(a, rng),
    "light": lambda a, _, rng: _lit(a, rng),
    "swapped": lambda a, _, rng: _swapped(a, rng),
    "negative": lambda a, _, __: ImageOps.invert(a),
    "flat": lambda a, _, __: ImageEnhance.Contrast(a).enhance(0.25),
    "posterised": lambda a, _, __: ImageOps.posterize(a, 2),
    "equalised": lambda a, _, __: ImageOps.equalize(a),
    "far30": lambda a, _, rng: _far(a, 0.3, rng),
    "everything": _everything,
}
"""Every rung by name; ``crop40`` keeps that share of each side, ``blend40`` two fifths of the source."""
