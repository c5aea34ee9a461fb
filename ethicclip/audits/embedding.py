"""Embeds sets of pictures with a learned descriptor, and keeps the vectors beside the audit so that none is made twice.

A vector is kept under the hash of its descriptor (weights and preprocessing) and the sha256 of its picture, so a cache
can never give the vector of another picture or of other weights. Vectors of real eyes can be matched with the eyes
again: the folder is restricted, as the audit is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from ethicclip.audits.describing import Described, Pictures, in_order
from ethicclip.audits.description.learned import BATCH, LearnedDescriptor
from ethicclip.errors import BadInputError
from ethicclip.files import atomic_path
from ethicclip.imaging import Pixels, refuse_unreadable
from ethicclip.progress import Progress

Floats = npt.NDArray[np.float32]

_SIDE = 1024
"""Pictures are shrunk to this before they are prepared; no descriptor looks at more."""


class EmbeddingCache:
    """Vectors by descriptor and picture, in one file a descriptor.

    Args:
        folder: Where they are written; made, and readable to its owner only, when there is something to keep.
        earlier: A folder of an earlier audit's to read beside it.
    """

    def __init__(self, folder: Path, earlier: Path | None = None) -> None:
        self.folder = folder
        self._sources = [place for place in (earlier, folder) if place is not None]
        self._known: dict[str, dict[str, npt.NDArray[np.float16]]] = {}
        self.reused = 0
        self.made = 0

    def get(self, digest: str, picture: str) -> Floats | None:
        """The vectors of a picture, float32 (orientations, d), or None."""
        found = self._of(digest).get(picture)
        return None if found is None else found.astype(np.float32)

    def put(self, digest: str, pictures: Sequence[str], vectors: Floats) -> None:
        """Keep vectors, float32 (n, orientations, d), and write the descriptor's file."""
        known = self._of(digest)
        known.update(zip(pictures, vectors.astype(np.float16), strict=True))
        names = sorted(known)
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        tensors: dict[str, npt.NDArray[Any]] = {
            "pictures": np.frombuffer(bytes.fromhex("".join(names)), dtype=np.uint8).reshape(-1, 32).copy(),
            "vectors": np.stack([known[name] for name in names]),
        }
        with atomic_path(self._file(self.folder, digest)) as partial:
            save_file(tensors, partial)
            partial.chmod(0o600)

    def _of(self, digest: str) -> dict[str, npt.NDArray[np.float16]]:
        if digest not in self._known:
            self._known[digest] = {}
            for place in self._sources:
                self._known[digest].update(_read(self._file(place, digest)))
        return self._known[digest]

    @staticmethod
    def _file(folder: Path, digest: str) -> Path:
        return folder / f"{digest[:32]}.safetensors"


def _read(file: Path) -> dict[str, npt.NDArray[np.float16]]:
    if not file.is_file():
        return {}
    try:
        tensors: dict[str, npt.NDArray[Any]] = load_file(file)
        names = [row.tobytes().hex() for row in tensors["pictures"]]
        return dict(zip(names, tensors["vectors"], strict=True))
    except (SafetensorError, KeyError, ValueError, OSError) as error:
        raise BadInputError(
            f"the embeddings in {file} cannot be read: {error}", next_step="Delete this file; it is made again."
        ) from None


def embed_pictures(
    pictures: Pictures,
    descriptor: LearnedDescriptor,
    *,
    hashes: Sequence[str] | None = None,
    cache: EmbeddingCache | None = None,
    what: str,
    workers: int,
    progress: Progress,
    change: Callable[[int, Pixels], Pixels] | None = None,
) -> Floats:
    """Vectors of every picture, float32 (n, orientations, d).

    Args:
        pictures: Where they come from.
        descriptor: What describes them.
        hashes: sha256 (hex) of each, for the cache; None leaves the cache out.
        cache: Where vectors are kept.
        what: What the set is called in messages.
        workers: Threads that decode and prepare; they change no result.
        progress: Where progress goes.
        change: Applied to the i-th picture before it is described (planted copies).

    Raises:
        BadInputError: Some pictures cannot be read; all of them are named.
    """
    cached = cache if hashes is not None else None
    digest = descriptor.digest
    found: dict[int, Floats] = {}
    if cached is not None and hashes is not None:
        for i, name in enumerate(hashes):
            vectors = cached.get(digest, name)
            if vectors is not None:
                found[i] = vectors
        cached.reused += len(found)
    missing = [i for i in range(len(pictures)) if i not in found]

    def one(place: int) -> npt.NDArray[Any] | str:
        row = missing[place]
        try:
            image = pictures.image(row, max_side=_SIDE)
        except BadInputError as error:
            return error.what
        return descriptor.prepare(image if change is None else change(row, image))

    problems: list[str] = []
    waiting: list[tuple[int, npt.NDArray[Any]]] = []

    def flush() -> None:
        if waiting:
            vectors = descriptor.embed(np.stack([prepared for _, prepared in waiting]))
            found.update({row: vector for (row, _), vector in zip(waiting, vectors, strict=True)})
            waiting.clear()

    with progress.task(f"embedding {what} ({descriptor.name})", total=len(missing), unit="images") as task:
        for place, result in enumerate(in_order(one, len(missing), workers)):
            if isinstance(result, str):
                problems.append(result)
            else:
                waiting.append((missing[place], result))
            if len(waiting) == BATCH:
                flush()
            task.advance()
        flush()
    refuse_unreadable(problems, of=len(pictures), what=what)
    if cached is not None and hashes is not None and missing:
        cached.made += len(missing)
        cached.put(digest, [hashes[i] for i in missing], np.stack([found[i] for i in missing]))
    return np.stack([found[i] for i in range(len(pictures))])


def with_embeddings(
    described: Described,
    pictures: Pictures,
    descriptors: Sequence[LearnedDescriptor],
    *,
    hashes: Sequence[str] | None = None,
    cache: EmbeddingCache | None = None,
    what: str,
    workers: int,
    progress: Progress,
    change: Callable[[int, Pixels], Pixels] | None = None,
) -> Described:
    """A described set with the vectors of every descriptor added; see `embed_pictures`."""
    found = {
        descriptor.name: embed_pictures(
            pictures,
            descriptor,
            hashes=hashes,
            cache=cache,
            what=what,
            workers=workers,
            progress=progress,
            change=change,
        )
        for descriptor in descriptors
    }
    return replace(described, embeddings=found)
