"""Photographs a scene: media, light, optics, stray light, sensor. Cheap, so one scene serves many pictures.

Levels are display levels from 0 to 1 until the last step; what a lens or a sensor does is applied in the order in
which light meets it.
"""

from __future__ import annotations

import io
import math

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from ethicclip.generation.findings import Eye, Photograph
from ethicclip.generation.rendering.scene import Scene
from ethicclip.generation.rendering.view import Plane, norm, smoothstep
from ethicclip.imaging import Pixels

Frame = npt.NDArray[np.float32]
"""Levels, shape (size, size, 3), red, green, blue."""


class _Field:
    """Coordinates in the lit circle: radius 1 at its border, direction in radians."""

    def __init__(self, photograph: Photograph, size: int) -> None:
        self.size = size
        self.radius_px = photograph.radius * size / 2
        self.stretch = photograph.stretch
        steps = (np.arange(size, dtype=np.float32) - np.float32((size - 1) / 2)) / np.float32(self.radius_px)
        self.u = np.broadcast_to(steps[None, :], (size, size))
        self.v = np.broadcast_to((steps / np.float32(photograph.stretch))[:, None], (size, size))
        self.r = np.asarray(norm(self.u, self.v), dtype=np.float32)

    def patch(self, u: float, v: float, sigma: float) -> Plane:
        """A Gaussian patch of light of height 1."""
        return np.asarray(
            np.exp(-((self.u - np.float32(u)) ** 2 + (self.v - np.float32(v)) ** 2) / np.float32(2 * sigma**2))
        )

    def around(self, u: float, v: float, reach: float) -> tuple[slice, slice] | None:
        """The window of pixels within `reach` of a place; None when it is outside the picture."""
        middle = (self.size - 1) / 2
        column, row = middle + u * self.radius_px, middle + v * self.radius_px * self.stretch
        wide = reach * self.radius_px * max(self.stretch, 1.0) + 2
        edges = [int(min(max(value, 0), self.size)) for value in (row - wide, row + wide, column - wide, column + wide)]
        if edges[0] >= edges[1] or edges[2] >= edges[3]:
            return None
        return slice(edges[0], edges[1]), slice(edges[2], edges[3])

    def towards(self, angle: float) -> Plane:
        """From -1 to 1 across the field in a direction."""
        return np.asarray(self.u * np.float32(math.cos(angle)) + self.v * np.float32(math.sin(angle)))


def _soften(frame: Frame, sigma: float) -> Frame:
    """Gaussian blur; a wide one is done on fewer pixels, which it would level out anyway."""
    factor = int(sigma // 3)
    if factor < 2:
        return np.asarray(cv2.GaussianBlur(frame, (0, 0), sigma), dtype=np.float32)
    height, width = frame.shape[:2]
    small = cv2.resize(frame, (-(-width // factor), -(-height // factor)), interpolation=cv2.INTER_AREA)
    # Averaging and enlarging blur by about half a small pixel each.
    soft = cv2.GaussianBlur(small, (0, 0), math.sqrt(max((sigma / factor) ** 2 - 0.35, 0.5)))
    return np.asarray(cv2.resize(soft, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def _clouds(random: np.random.Generator, size: int, cells: int) -> Plane:
    grid = random.standard_normal((cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def take_photograph(scene: Scene, eye: Eye, photograph: Photograph, random: np.random.Generator) -> Pixels:
    """Turn a scene into an 8-bit picture.

    Args:
        scene: The eye, rendered with this photograph's field and direction.
        eye: Its lens opacity dims, yellows and blurs the picture.
        photograph: Light, optics and sensor.
        random: Places of reflections, dust and noise.

    Returns:
        RGB uint8 of shape (size, size, 3).
    """
    field = _Field(photograph, scene.view.size)
    reflected = np.asarray(cv2.exp(scene.reflectance), dtype=np.float32)
    colour = np.array(photograph.colour, dtype=np.float32)
    frame = np.ascontiguousarray(reflected.transpose(1, 2, 0) * colour, dtype=np.float32)
    frame = _through_lens(frame, eye, photograph, field, random)
    # However green the cast of a camera, no tissue is greener than red or bluer than green.
    frame[..., 1] = np.minimum(frame[..., 1], 0.97 * frame[..., 0])
    frame[..., 2] = np.minimum(frame[..., 2], 0.97 * frame[..., 1])
    frame *= _illumination(photograph, field, random)[..., None]
    frame = _colour_drift(frame, field, random)
    frame = _optics(frame, photograph, field)
    frame = _stray_light(frame, photograph, field, random)
    frame = _tone(frame, photograph)
    frame = _decoys(frame, photograph, field, random)
    return _sensor(frame, photograph, field, random)


def _through_lens(frame: Frame, eye: Eye, photograph: Photograph, field: _Field, random: np.random.Generator) -> Frame:
    """Lens and vitreous: ageing yellows, opacity scatters and blurs."""
    media = eye.media
    yellow = np.float32(max(0.0, (eye.age - 25) / 60) * 0.16 + 0.5 * media.nuclear**1.5)
    frame = frame * np.exp(-yellow * np.array([0.12, 0.35, 0.9], dtype=np.float32))
    density = media.density
    if density <= 0.08:
        return frame
    mean = np.array(cv2.mean(frame)[:3], dtype=np.float32)
    sigma = density**1.3 * random.uniform(0.016, 0.05) * field.size
    soft = _soften(frame, max(sigma, 0.3))
    where = np.full((field.size, field.size), 1.0, dtype=np.float32)
    if media.posterior_subcapsular >= density:
        where = 0.55 + 0.6 * field.patch(random.normal(0, 0.25), random.normal(0, 0.25), 0.55)
    elif media.cortical >= density:
        angle = np.arctan2(field.v, field.u)
        spokes = np.clip(
            np.cos(angle * random.integers(4, 8) + random.uniform(0, 6.3)) + 0.4 * _clouds(random, field.size, 7), 0, 1
        )
        where = np.float32(0.75) + np.float32(0.5) * spokes * smoothstep(0.25, 0.95, field.r)
    where = np.clip(where, 0, 1.2)[..., None].astype(np.float32)
    mix = np.clip(where * np.float32(min(1.0, 0.25 + 1.1 * density)), 0, 1)
    frame = frame * (1 - mix) + soft * mix
    # Light scattered in the lens: the fundus' own red glow in the middle, grey to olive towards the rim.
    grey = np.float32(1.3 * mean.mean()) * np.array([1.0, random.uniform(0.92, 1.04), 0.86], dtype=np.float32)
    glowing = field.patch(random.normal(0, 0.2), random.normal(0, 0.2), random.uniform(0.4, 0.9))
    own = np.clip(random.uniform(0.1, 0.5) + random.uniform(0.0, 0.7) * glowing, 0, 1)[..., None]
    veil_colour = own * mean + (1 - own) * grey
    veil = np.clip(np.float32(0.97 * density**0.9) * where, 0, 0.95)
    glow = (1 + 0.10 * _clouds(random, field.size, 4))[..., None] * random.uniform(0.6, 1.35)
    return np.asarray(frame * (1 - veil) + veil * veil_colour * glow, dtype=np.float32)


def _illumination(photograph: Photograph, field: _Field, random: np.random.Generator) -> Plane:
    lean = random.uniform(0, 2 * math.pi)
    light = 1 - np.float32(photograph.vignette) * np.minimum(field.r, 1.05) ** 2
    light = light * (1 + np.float32(random.normal(0, 0.3)) * field.towards(lean))
    light = light * (1 + np.float32(random.uniform(0.03, 0.16)) * _clouds(random, field.size, 4))
    if photograph.shadow > 0:
        # The edge of a small pupil: a dark lobe, as often over the macula as not.
        place = random.uniform(0.0, 1.1)
        across = field.towards(lean) - np.float32(place)
        along = field.towards(lean + math.pi / 2) * np.float32(random.uniform(0.5, 1.1))
        ragged = 1 + np.float32(0.35) * _clouds(random, field.size, 5)
        distance = (across * across + along * along) * ragged / np.float32(2 * random.uniform(0.18, 0.7) ** 2)
        light = light * (1 - np.float32(photograph.shadow) * np.exp(-np.maximum(distance, 0)))
    return np.asarray(np.maximum(light, 0.10), dtype=np.float32)


def _colour_drift(frame: Frame, field: _Field, random: np.random.Generator) -> Frame:
    """The hue changes slowly over the field: flash and lens do not light all wavelengths alike; in place."""
    towards = field.towards(random.uniform(0, 2 * math.pi))
    drift = random.normal(0, 0.07, 3)
    rim = random.normal(0, 0.12, 3) - np.array([0.20, 0.0, -0.03])
    # What all channels share is light, not hue.
    drift -= 0.5 * drift.mean()
    square = np.minimum(field.r, 1.0) ** 2
    for channel in range(3):
        frame[..., channel] *= 1 + np.float32(drift[channel]) * towards + np.float32(rim[channel]) * square
    return frame


def _optics(frame: Frame, photograph: Photograph, field: _Field) -> Frame:
    sigma = photograph.blur * field.size / 1000
    if sigma > 0.3:
        frame = _soften(frame, sigma)
    shift = photograph.aberration * field.size / 1000
    if abs(shift) > 0.2:
        middle = (field.size - 1) / 2
        for channel, amount in ((0, shift), (2, -shift)):
            zoom = 1 + amount / middle
            matrix = np.array([[zoom, 0, middle * (1 - zoom)], [0, zoom, middle * (1 - zoom)]])
            plane = np.ascontiguousarray(frame[..., channel])
            frame[..., channel] = cv2.warpAffine(
                plane, matrix, (field.size, field.size), borderMode=cv2.BORDER_REPLICATE
            )
    return frame


def _stray_light(frame: Frame, photograph: Photograph, field: _Field, random: np.random.Generator) -> Frame:
    """Haze, light at the rim, patches of stray light: added, not multiplied, so contrast goes."""
    mean = np.array(cv2.mean(frame)[:3], dtype=np.float32)
    white = np.full(3, mean.mean(), dtype=np.float32)
    if photograph.haze > 0:
        pale = random.uniform(0.15, 0.75)
        veil = (1 - pale) * mean + pale * white * np.array([1.0, 1.0, random.uniform(0.75, 1.1)], dtype=np.float32)
        amount = np.clip(photograph.haze * (1 + 0.22 * _clouds(random, field.size, 4)), 0, 0.95)[..., None]
        frame = frame * (1 - amount) + amount * (veil * np.float32(random.uniform(0.9, 1.35))).astype(np.float32)
    if photograph.crescent > 0:
        lean, spread = random.uniform(0, 2 * math.pi), random.uniform(-0.9, 1.0)
        side = np.clip(field.towards(lean) / np.maximum(field.r, 0.05) + np.float32(spread), 0, 1)
        width = 0.05 * 8 ** random.random()
        rim = np.exp((np.minimum(field.r, 1.0) - 1) / np.float32(width)) * side
        colour = _stray_colour(random, photograph)
        frame = np.asarray(frame + (rim * np.float32(photograph.crescent))[..., None] * colour, dtype=np.float32)
    if photograph.glare > 0:
        angle, place = random.uniform(0, 2 * math.pi), random.uniform(0.85, 1.5)
        patch = field.patch(place * math.cos(angle), place * math.sin(angle), random.uniform(0.16, 0.7))
        colour = _stray_colour(random, photograph)
        amount = np.clip(patch * np.float32(photograph.glare), 0, 1)[..., None]
        frame = frame * (1 - np.float32(0.75) * amount) + amount * colour
    return np.asarray(frame, dtype=np.float32)


def _stray_colour(random: np.random.Generator, photograph: Photograph) -> Frame:
    """White, yellow, green or bluish, never far from what the camera's colours allow."""
    own = np.array(photograph.colour) / max(photograph.colour)
    kinds = ((0.95, 0.95, 0.72), (0.95, 0.90, 0.50), (0.62, 0.85, 0.70), (0.70, 0.85, 0.88), (0.95, 0.75, 0.50))
    kind = np.array(kinds[int(random.integers(len(kinds)))])
    # A camera that shows hardly any blue shows no blue in its stray light either.
    kind[2] *= min(1.0, 0.25 + 1.6 * own[2])
    return np.asarray((0.75 * kind + 0.25 * own) * random.uniform(0.6, 1.0), dtype=np.float32)


def _tone(frame: Frame, photograph: Photograph) -> Frame:
    grey = cv2.transform(frame, np.full((1, 3), 1 / 3, dtype=np.float32))[..., None]
    frame = grey + np.float32(photograph.saturation) * (frame - grey)
    frame = np.maximum(frame, 0)
    # What is overexposed in one channel scatters into the others: highlights go white, not to a pure colour.
    frame[..., 2] += np.float32(0.45) * np.maximum(frame[..., 1] - np.float32(0.6), 0)
    mean = max(float(frame.mean()), 0.02)
    frame = cv2.pow(frame, photograph.gamma) * np.float32(mean ** (1 - photograph.gamma))
    # A soft shoulder: highlights saturate as on a sensor.
    knee = np.float32(0.66)
    over = np.maximum(frame - knee, 0)
    return np.asarray(np.minimum(frame, knee) + (1 - knee) * (1 - cv2.exp(over / (knee - 1))), dtype=np.float32)


def _decoys(frame: Frame, photograph: Photograph, field: _Field, random: np.random.Generator) -> Frame:
    """Reflections, dust and scratches that belong to the camera and mean nothing; in place."""
    for _ in range(photograph.ghosts):
        # Reflections of the lens lie near the optical axis, lilac or bluish; others lie anywhere and are small.
        central = random.random() < 0.65
        u, v = random.normal(0, 0.04 if central else 0.45, 2)
        size = random.uniform(0.035, 0.10) if central else random.uniform(0.012, 0.05)
        colour = np.array([0.55, random.uniform(0.48, 0.58), random.uniform(0.55, 0.8)], dtype=np.float32)
        colour *= np.float32(0.03 + 0.32 * random.random() ** 1.5)
        ring = random.random() < 0.12
        near = field.around(u, v, 3 * size)
        if near is not None:
            distance = norm(field.u[near] - np.float32(u), field.v[near] - np.float32(v)) / np.float32(size)
            shape = (
                np.exp(-(((distance - 1) / np.float32(0.6)) ** 2))
                if ring
                else np.exp(-0.7 * distance ** np.float32(random.uniform(1.6, 3.0)))
            )
            frame[near] += shape[..., None] * colour
    for _ in range(photograph.dust):
        angle, place = random.uniform(0, 2 * math.pi), math.sqrt(random.random())
        u, v = place * math.cos(angle), place * math.sin(angle)
        # Out of focus: small flat discs, dark where they shade the light, pale where they scatter it.
        size, pale = random.uniform(0.004, 0.022), random.random() < 0.6
        change = np.float32(random.uniform(0.03, 0.22))
        near = field.around(u, v, 3 * size)
        if near is not None:
            square = (field.u[near] - np.float32(u)) ** 2 + (field.v[near] - np.float32(v)) ** 2
            shape = np.exp(-((square / np.float32(2 * size**2)) ** np.float32(1.5)))[..., None] * change
            if pale:
                frame[near] += shape * (np.float32(0.7) - frame[near])
            else:
                frame[near] *= 1 - shape
    for _ in range(photograph.streaks):
        angle, offset = random.uniform(0, 2 * math.pi), random.normal(0, 0.4)
        across = field.towards(angle) - np.float32(offset)
        along = field.towards(angle + math.pi / 2) - np.float32(random.normal(0, 0.3))
        line = np.exp(-((across / np.float32(random.uniform(0.004, 0.03))) ** 2))
        line = line * np.exp(-((along / np.float32(random.uniform(0.1, 0.5))) ** 4))
        frame *= 1 + np.float32(random.normal(0, 0.12)) * line[..., None]
    return frame


def _sensor(frame: Frame, photograph: Photograph, field: _Field, random: np.random.Generator) -> Pixels:
    size = field.size
    if photograph.sharpening > 0:
        sigma = max(0.8, 0.0045 * size)
        frame = frame + np.float32(photograph.sharpening) * (frame - cv2.GaussianBlur(frame, (0, 0), sigma))
    soft = np.float32(1.2 / field.radius_px)
    lit = np.clip((1 - field.r) / soft, 0, 1)
    if random.random() < 0.3:
        # The tab with which a camera marks which way is up.
        angle, wide = random.uniform(-0.9, -0.6), random.uniform(0.012, 0.028)
        near = field.around(math.cos(angle), math.sin(angle), 0.08)
        if near is not None:
            along = field.u[near] * math.cos(angle) + field.v[near] * math.sin(angle)
            across = field.v[near] * math.cos(angle) - field.u[near] * math.sin(angle)
            lit[near] = np.maximum(lit[near], (np.abs(along - 1) < 0.014) & (np.abs(across) < wide))
    if photograph.cut < 1:
        lit = lit * np.clip((np.float32(photograph.cut) - np.abs(field.v)) / soft, 0, 1)
    frame = frame * lit[..., None] + np.float32(photograph.black_level) * (1 - lit[..., None])
    if photograph.noise > 0:
        # Sensor noise of a large picture that was shrunk: fine, part of it shared by the channels. One field of
        # noise serves all channels, shifted by more than its grain.
        far = 24
        grain = random.standard_normal((size + far, size + far), dtype=np.float32) * np.float32(photograph.noise)
        shared = grain[:size, :size] * np.float32(0.63)
        own = (grain[far:, far:], grain[far:, :size], grain[:size, far:])
        for channel, plane in enumerate(own):
            frame[..., channel] += (shared + np.float32(0.54) * plane) * lit
    pixels: Pixels = np.rint(np.clip(frame, 0, 1) * 255).astype(np.uint8)
    if photograph.quality < 100:
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, format="JPEG", quality=photograph.quality)
        with Image.open(buffer) as reread:
            pixels = np.asarray(reread.convert("RGB"), dtype=np.uint8)
    return pixels
