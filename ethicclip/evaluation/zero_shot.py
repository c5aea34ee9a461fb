"""Zero-shot classification: a picture belongs to the class whose prompts lie nearest.

Two published ways to make one vector of a class's prompts are offered, since scores reported under one do not
compare with the other. CLIP_benchmark (and the CLIP paper, section 3.1.4) average the unit vectors of the prompts and
normalise the mean. FLAIR (Silva-Rodriguez et al., Medical Image Analysis 2025) averages and does not normalise: that
equals the mean of the prompts' logits, and a class whose prompts disagree gets smaller logits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from ethicclip.errors import BadInputError
from ethicclip.evaluation.metrics import Array
from ethicclip.imaging import Pixels, read_image, refuse_unreadable
from ethicclip.progress import SILENT, Progress
from ethicclip.terms.conditions import Language
from ethicclip.terms.vocabulary import Concept

Embeddings = npt.NDArray[np.float32]
Ensemble = Literal["clip_benchmark", "flair"]
PromptKinds = Literal["knowledge", "name", "both"]


class ZeroShotModel(Protocol):
    """What a model must offer; `ethicclip.clip.ClipModel` does."""

    @property
    def name(self) -> str:
        """What to call it."""

    @property
    def logit_scale(self) -> float:
        """The factor on cosine similarities before the softmax."""

    def encode_images(self, images: Iterable[Pixels], *, batch_size: int = ...) -> Embeddings:
        """Unit vectors, float32 (n, d), in the order of the pictures."""

    def encode_texts(self, texts: Sequence[str]) -> Embeddings:
        """Unit vectors, float32 (m, d), in the order of the texts."""


@dataclass(frozen=True, kw_only=True)
class ClassPrompts:
    """What was asked, class by class; written to the record of a run."""

    classes: tuple[Concept, ...]
    texts: tuple[tuple[str, ...], ...]


def class_prompts(classes: Sequence[Concept], *, kind: PromptKinds, language: Language) -> ClassPrompts:
    """The prompts of each class, without repetitions, in the order of the data file.

    Raises:
        BadInputError: Two classes are asked by the same prompts, or a prompts file lacks the language.
    """
    texts = []
    for concept in classes:
        knowledge = concept.prompts(language, "knowledge") if kind != "name" else ()
        names = concept.prompts(language, "name") if kind != "knowledge" else ()
        texts.append(tuple(dict.fromkeys((*knowledge, *names))))
    for place, text in enumerate(texts):
        if text in texts[:place]:
            twin = classes[texts.index(text)].id
            raise BadInputError(
                f"the classes {twin!r} and {classes[place].id!r} have the same prompts, so nothing can tell them apart",
                next_step="Give each class its own prompts in the prompts file.",
            )
    return ClassPrompts(classes=tuple(classes), texts=tuple(texts))


def class_embeddings(model: ZeroShotModel, prompts: ClassPrompts, *, ensemble: Ensemble) -> Array:
    """One vector a class, float64 of shape (classes, d); of length 1 unless `ensemble` is "flair"."""
    flat = [text for texts in prompts.texts for text in texts]
    encoded = _unit(np.asarray(model.encode_texts(flat), dtype=np.float64))
    ends = np.cumsum([len(texts) for texts in prompts.texts])
    means = np.stack([part.mean(axis=0) for part in np.split(encoded, ends[:-1])])
    return means if ensemble == "flair" else _unit(means)


def zero_shot_logits(images: Embeddings, classes: Array, *, logit_scale: float) -> Array:
    """Scaled similarities, float64 of shape (n, classes).

    Raises:
        BadInputError: The model gave a value that is not finite.
    """
    logits = logit_scale * (_unit(images.astype(np.float64)) @ classes.T)
    broken = int((~np.isfinite(logits)).any(axis=1).sum())
    if broken:
        raise BadInputError(
            f"the model gives values that are not finite for {broken} of {len(logits)} images",
            next_step="The model did not train well (look at its loss); use another checkpoint.",
        )
    return np.asarray(logits)


def encode_files(
    model: ZeroShotModel,
    files: Sequence[Path],
    *,
    what: str,
    batch_size: int,
    max_side: int,
    look: Callable[[Pixels], None] | None = None,
    progress: Progress = SILENT,
) -> Embeddings:
    """Read and embed each file once, in order, holding one batch in memory.

    Args:
        model: Turns pictures into vectors.
        files: The pictures.
        what: What to call the collection in an error.
        batch_size: Images a forward pass.
        max_side: Longer side in pixels to which larger pictures are shrunk.
        look: Called with each picture, so that other measurements need no second reading.
        progress: Where to report.

    Raises:
        BadInputError: Files that cannot be read, all of them listed.
    """
    problems: list[str] = []
    with progress.task("read and embed eyes", total=len(files), unit="image") as task:

        def pictures() -> Iterator[Pixels]:
            for file in files:
                try:
                    picture = read_image(file, max_side=max_side)
                except BadInputError as error:
                    problems.append(error.what)
                    continue
                finally:
                    task.advance()
                # After the first failure the rest is only read, to list every file that fails.
                if not problems:
                    if look is not None:
                        look(picture)
                    yield picture

        embeddings = model.encode_images(pictures(), batch_size=batch_size)
    refuse_unreadable(problems, of=len(files), what=what)
    return embeddings


def _unit(vectors: Array) -> Array:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, np.finfo(np.float64).tiny))
