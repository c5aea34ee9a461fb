"""The phantom engine: number in, image-text pair out, with no patient's image anywhere."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import cv2
import numpy as np

from ethicclip.generation import grading
from ethicclip.generation.cameras import CAMERAS, camera_named, draw_camera, draw_photograph
from ethicclip.generation.captions import write_captions
from ethicclip.generation.findings import VIEWPOINT, Eye, Photograph, summary
from ethicclip.generation.fixing import fixed_photograph
from ethicclip.generation.marking import encode_marked
from ethicclip.generation.readability import readability
from ethicclip.generation.recipes import FindingsRecipe
from ethicclip.generation.rendering.acquisition import take_photograph
from ethicclip.generation.rendering.scene import Scene, render_scene
from ethicclip.generation.sampling import draw_case
from ethicclip.generation.settings import GenerateSettings
from ethicclip.generation.streams import GENERATED, Stream, stream
from ethicclip.generation.truth import true_masks
from ethicclip.imaging import Pixels
from ethicclip.pairs.masks import Mask
from ethicclip.pairs.pair import Pair

GENERATOR = "phantom/6"
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
    _last: dict[int, Scene] = field(default_factory=dict, init=False, repr=False, compare=False)
    """The eye drawn last, for its other photographs; what is in it changes no pair."""

    def __getstate__(self) -> dict[str, object]:
        return {"settings": self.settings, "_last": {}}

    def __setstate__(self, state: dict[str, object]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)

    def eye_number(self, index: int) -> int:
        """Which eye picture `index` shows; with one photograph an eye, its own number."""
        return index // self.settings.photographs

    def _key(self, number: int) -> tuple[int, int, int]:
        return GENERATED, self.settings.seed, number

    def case(self, index: int) -> tuple[Eye, Photograph]:
        """Findings and way of photographing of picture `index`, without rendering it."""
        eye, first = self._first(self.eye_number(index))
        if index % self.settings.photographs == 0:
            return eye, first
        again = stream(*self._key(self.eye_number(index)), Stream.AGAIN, index % self.settings.photographs)
        other = self._photograph(eye, self.recipe(self.eye_number(index)), again, again)
        # The same direction and field, so that the eye need not be drawn again.
        return eye, replace(other, **{name: getattr(first, name) for name in VIEWPOINT})

    def recipe(self, number: int) -> FindingsRecipe:
        """What is fixed of eye `number`: the settings' findings, or those of its part of the mixture."""
        mixture = self.settings.mixture
        if not mixture:
            return self.settings.findings
        weights = np.cumsum([component.weight for component in mixture])
        draw = stream(*self._key(number), Stream.COMPONENT).random() * weights[-1]
        return mixture[min(int(np.searchsorted(weights, draw, side="right")), len(mixture) - 1)].findings

    def _first(self, number: int) -> tuple[Eye, Photograph]:
        random, fixed = stream(*self._key(number), Stream.CASE), stream(*self._key(number), Stream.FIXED)
        recipe = self.recipe(number)
        eye = draw_case(random, fixed, self.settings, recipe)
        return eye, self._photograph(eye, recipe, random, fixed)

    def _photograph(
        self, eye: Eye, recipe: FindingsRecipe, random: np.random.Generator, fixed: np.random.Generator
    ) -> Photograph:
        camera = draw_camera(random)
        if "camera" in self.settings.balance:
            camera = CAMERAS[int(fixed.integers(len(CAMERAS)))]
        if recipe.camera is not None:
            camera = camera_named(recipe.camera)
        photograph = draw_photograph(random, eye, camera, good=recipe.quality != "any", field_deg=recipe.field_deg)
        return fixed_photograph(photograph, eye, recipe, fixed)

    def scene(self, index: int) -> Scene:
        """The rendered geometry of picture `index`, with masks of vessels, disc, cup and lesions."""
        number = self.eye_number(index)
        if number not in self._last:
            eye, photograph = self.case(index)
            scene = render_scene(eye, photograph, self.settings.size, self._key(number))
            self._last.clear()
            self._last[number] = scene
        return self._last[number]

    def masks(self, index: int) -> dict[str, Mask]:
        """Ground truth of picture `index`; see `ethicclip.generation.truth`."""
        return true_masks(self.scene(index), self.case(index)[1])

    def image(self, index: int) -> Pixels:
        """Picture `index` before encoding: uint8 RGB (size, size, 3)."""
        eye, photograph = self.case(index)
        return self._drawn(eye, photograph, index)[1]

    def _drawn(self, eye: Eye, photograph: Photograph, index: int) -> tuple[Scene, Pixels]:
        scene, key = self.scene(index), self._key(self.eye_number(index))
        shot = index % self.settings.photographs
        random = stream(*key, Stream.PICTURE, shot) if shot else stream(*key, Stream.PICTURE)
        return scene, take_photograph(scene, eye, photograph, random)

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
        scene, pixels = self._drawn(eye, photograph, index)
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
                "readability": readability(eye, photograph),
                "captions": captions,
                "seed": settings.seed,
                "index": index,
                "eye_number": self.eye_number(index),
                "generator": GENERATOR,
                "patient_id": None,
            },
            masks=true_masks(scene, photograph) if settings.masks else None,
        )

    def __call__(self, index: int) -> Pair:
        """Same as `pair`: the engine itself is the function that `write_pair_set` wants."""
        return self.pair(index)
