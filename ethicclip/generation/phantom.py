"""The phantom engine: number in, image-text pair out, with no patient's image anywhere."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from ethicclip.errors import UsageError
from ethicclip.generation import grading
from ethicclip.generation.cameras import camera_named, draw_camera, draw_photograph
from ethicclip.generation.captions import write_captions
from ethicclip.generation.findings import VIEWPOINT, Eye, Photograph, summary
from ethicclip.generation.marking import encode_marked
from ethicclip.generation.rendering.acquisition import take_photograph
from ethicclip.generation.rendering.scene import Scene, render_scene
from ethicclip.generation.sampling import draw_eye, draw_plan
from ethicclip.generation.settings import GenerateSettings
from ethicclip.generation.streams import GENERATED, Stream, stream
from ethicclip.imaging import Pixels
from ethicclip.pairs.pair import Pair

GENERATOR = "phantom/2"
"""Name and version of the renderer; it changes when the same seed gives other bytes."""

LICENCE = "CC0-1.0"
"""Pictures without a source in anybody's data carry no licence of anybody."""

_LANGUAGES = ("en", "zh")


@dataclass(frozen=True)
class PhantomEngine:
    """Makes pair `index` from (seed, index) alone; picklable, so that workers can share the work.

    Example:
        >>> from ethicclip.generation import GenerateSettings, PhantomEngine
        >>> PhantomEngine(GenerateSettings(count=10)).pair(3).record["labels"]  # doctest: +SKIP
    """

    settings: GenerateSettings
    photographs: int = 1
    """Pictures of one eye, in turn: light, media, optics and sensor anew, the eye and the camera's place kept.

    A photograph is about a third of the work of a picture. Pairs `k * photographs` and those after it show one eye.
    """
    _last: dict[tuple[int, int], Scene] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if not 1 <= self.photographs <= 64:
            raise UsageError(
                f"{self.photographs} photographs of an eye are outside 1 to 64",
                next_step="More photographs of one eye teach less than more eyes.",
            )

    def _key(self, index: int) -> tuple[int, int, int]:
        """Random key of the eye that picture `index` shows."""
        return GENERATED, self.settings.seed, index // self.photographs

    def case(self, index: int) -> tuple[Eye, Photograph]:
        """Findings and way of photographing of picture `index`, without rendering it."""
        eye, first = self._first(index)
        shot = index % self.photographs
        if shot == 0:
            return eye, first
        random = stream(*self._key(index), Stream.CASE, shot)
        recipe = self.settings.findings
        camera = draw_camera(random) if recipe.camera is None else camera_named(recipe.camera)
        again = draw_photograph(random, eye, camera, good=recipe.quality == "good", field_deg=recipe.field_deg)
        # What the scene was rendered for stays.
        return eye, replace(again, **{name: getattr(first, name) for name in VIEWPOINT})

    def _first(self, index: int) -> tuple[Eye, Photograph]:
        random = stream(*self._key(index), Stream.CASE)
        recipe = self.settings.findings
        plan = draw_plan(random, self.settings.sampling, recipe)
        eye = draw_eye(random, plan)
        camera = draw_camera(random)
        if recipe.camera is not None:
            camera = camera_named(recipe.camera)
        photograph = draw_photograph(random, eye, camera, good=recipe.quality == "good", field_deg=recipe.field_deg)
        return eye, photograph

    def scene(self, index: int) -> Scene:
        """The rendered geometry of picture `index`, with masks of vessels, disc, cup and lesions."""
        eye, photograph = self.case(index)
        return self._scene(eye, photograph, index)

    def _scene(self, eye: Eye, photograph: Photograph, index: int) -> Scene:
        if self.photographs == 1:
            return render_scene(eye, photograph, self.settings.size, self._key(index))
        key = (self.settings.seed, index // self.photographs)
        if key not in self._last:
            # Only the last scene is kept: pairs are asked for in order, and memory must not grow with their number.
            self._last.clear()
            self._last[key] = render_scene(eye, photograph, self.settings.size, self._key(index))
        return self._last[key]

    def masks(self, index: int) -> dict[str, Pixels]:
        """Ground truth of picture `index`: uint8 (size, size) of 0 or 255 for disc, cup, artery, vein and lesions.

        The masks are those of the geometry: what haze or blur hides is still marked. Lesions carry the names of
        `LesionKind`; a kind that the eye does not have has no mask.
        """
        scene = self.scene(index)
        return {name: np.where(cover > 0.4, 255, 0).astype(np.uint8) for name, cover in scene.masks.items()}

    def image(self, index: int) -> Pixels:
        """Picture `index` before encoding: uint8 RGB (size, size, 3)."""
        eye, photograph = self.case(index)
        return self._image(eye, photograph, index)

    def _image(self, eye: Eye, photograph: Photograph, index: int) -> Pixels:
        key, shot = self._key(index), index % self.photographs
        random = stream(*key, Stream.PICTURE, shot) if shot else stream(*key, Stream.PICTURE)
        return take_photograph(self._scene(eye, photograph, index), eye, photograph, random)

    def pair(self, index: int) -> Pair:
        """Pair `index`: encoded and marked image, captions, and the findings they both come from."""
        # One picture is drawn by one thread: parallelism is over pictures, and the pool would only be in the way.
        threads = cv2.getNumThreads()
        cv2.setNumThreads(1)
        try:
            return self._pair(index)
        finally:
            cv2.setNumThreads(threads)

    def _pair(self, index: int) -> Pair:
        settings = self.settings
        eye, photograph = self.case(index)
        pixels = self._image(eye, photograph, index)
        captions = {
            language: write_captions(
                eye,
                photograph,
                language,
                stream(*self._key(index), Stream.CAPTION, _LANGUAGES.index(language)),
                count=settings.phrasings,
            )
            for language in settings.languages
        }
        leading = "en" if "en" in captions else settings.languages[0]
        diabetic = grading.dr_grade(eye)
        return Pair(
            key=f"{index:09d}",
            image=encode_marked(pixels, settings.format, quality=settings.quality),
            suffix=settings.format,
            caption=captions[leading][0],
            record={
                "findings": summary(eye, photograph),
                "labels": [condition.value for condition in grading.conditions(eye)],
                "grade": diabetic,
                "eye": eye.laterality.value,
                "captions": captions,
                "seed": settings.seed,
                "index": index,
                "generator": GENERATOR,
                "patient_id": None,
            },
        )

    def __call__(self, index: int) -> Pair:
        """Same as `pair`: the engine itself is the function that `write_pair_set` wants."""
        return self.pair(index)
