"""`generate --engine diffusion`: a pair set drawn from a learned generator, marked as such."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ethicclip.errors import BadInputError
from ethicclip.files import canonical_json, read_json, sha256_bytes, sha256_file
from ethicclip.generation.diffusion.conditions import captions, drawn, record
from ethicclip.generation.diffusion.drawing import DiffusionSource, lane_of
from ethicclip.generation.diffusion.folder import MANIFEST, of_autoencoder
from ethicclip.generation.diffusion.hub import located
from ethicclip.generation.diffusion.opening import open_generator
from ethicclip.generation.diffusion.settings import DiffusionSettings
from ethicclip.generation.diffusion.starting import of_start
from ethicclip.generation.generating import GenerateResult
from ethicclip.generation.learning import Known
from ethicclip.generation.marking import TRAINED, encode_marked, marking_of
from ethicclip.generation.streams import GENERATED, Stream, stream
from ethicclip.imaging import Pixels
from ethicclip.pairs.pair import Pair
from ethicclip.pairs.writing import Description, write_pair_set
from ethicclip.progress import SILENT, Progress
from ethicclip.provenance.artifacts import Origin

ENGINE = "diffusion/2"
"""Changes when the same generator, seed and number give another picture."""

_NOT_STATED = "not stated: ask the generator's owner"


@dataclass(frozen=True)
class DiffusionEngine:
    """Makes pair `index` from the generator, (seed, index) alone; picklable, it opens the generator where it draws.

    Attributes:
        settings: What to draw, and from what.
        leave_out: Numbers that a guard dropped.
    """

    settings: DiffusionSettings
    leave_out: frozenset[int] = frozenset()
    _opened: dict[str, Any] = field(default_factory=dict, init=False, repr=False, compare=False)
    """The generator and the lane drawn last; they change no pair."""

    def __getstate__(self) -> dict[str, Any]:
        return {"settings": self.settings, "leave_out": self.leave_out, "_opened": {}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)

    @property
    def source(self) -> DiffusionSource:
        """The opened generator.

        Raises:
            BadInputError: It cannot be opened.
        """
        if "source" not in self._opened:
            self._opened["source"] = open_generator(self.settings)
        found: DiffusionSource = self._opened["source"]
        return found

    def asked(self, index: int) -> Known:
        """What picture `index` is asked for."""
        wanted = drawn(stream(GENERATED, self.settings.seed, index, Stream.CASE), self.settings.sampling)
        return self.source.askable(wanted)

    def image(self, index: int) -> Pixels:
        """Picture `index` before encoding: uint8 RGB (side, side, 3)."""
        lane = lane_of(index)
        if self._opened.get("lane") != lane:
            self._opened["pictures"] = self.source.draw(
                [self.asked(number) for number in lane],
                [(self.settings.seed, number) for number in lane],
                steps=self.settings.steps,
                guidance=self.settings.guidance,
            )
            self._opened["lane"] = lane
        pictures: Sequence[Pixels] = self._opened["pictures"]
        return pictures[index - lane.start]

    def pair(self, index: int) -> Pair:
        """Pair `index`: encoded and marked picture, captions of what it was asked for."""
        settings, known = self.settings, self.asked(index)
        words = captions(known, settings.languages)
        leading = "en" if "en" in words else settings.languages[0]
        return Pair(
            key=f"{index:09d}",
            image=encode_marked(self.image(index), settings.format, quality=settings.quality, source=TRAINED),
            suffix=settings.format,
            caption=words[leading][0],
            record={
                **record(known),
                "captions": words,
                "seed": settings.seed,
                "index": index,
                "generator": f"{ENGINE} {self.source.name}",
                "patient_id": None,
            },
        )

    def __call__(self, index: int) -> Pair | None:
        """What `write_pair_set` wants; None for what a guard dropped."""
        return None if index in self.leave_out else self.pair(index)


def generate_learned(
    settings: DiffusionSettings,
    out: Path,
    *,
    workers: int = 1,
    leave_out: frozenset[int] = frozenset(),
    notes: Sequence[str] = (),
    progress: Progress = SILENT,
    engine: Callable[..., DiffusionEngine] = DiffusionEngine,
) -> GenerateResult:
    """Write `settings.count` pairs drawn from a learned generator.

    Args:
        settings: What to draw, and from what.
        out: Folder of the pair set: new, empty, or begun with the same settings and generator.
        workers: Processes; changes no byte.
        leave_out: Numbers that are not written, as a guard found.
        notes: Further sentences for the manifest.
        progress: Where to report.
        engine: Makes the pairs.

    Raises:
        BadInputError: The generator cannot be opened, or `out` holds something else.
        StorageError: Memory or disk ran out; finished shards are kept.
    """
    started = time.monotonic()
    if len(leave_out) >= settings.count:
        raise BadInputError(
            f"all {settings.count} pictures were dropped", next_step="Do not release this generator; fit it anew."
        )
    made = engine(settings, leave_out)
    source = made.source
    manifest = write_pair_set(
        out,
        made,
        settings.count,
        description=Description(
            name=f"diffusion-{source.side}px-seed{settings.seed}",
            origin=Origin.SYNTHETIC,
            licence=settings.licence or _licence(settings),
            generator={
                "name": f"{ENGINE} {source.name}",
                "sha256": source.digest,
                "settings": settings.resolved(),
                "privacy": privacy_of(settings),
            },
            settings_digest=sha256_bytes(
                canonical_json([ENGINE, settings.resolved(), source.digest, sorted(leave_out)])
            ),
            marking=marking_of(TRAINED),
            notes=(
                f"Drawn by a learned generator at {source.side} px. Labels and captions say what was asked for, "
                "which is not always what the picture shows.",
                _whose(settings),
                *notes,
            ),
        ),
        workers=workers,
        shard_size=settings.shard_size,
        progress=progress,
    )
    return GenerateResult(
        path=out,
        count=int(manifest["counts"]["pairs"]),
        labels=dict(Counter(manifest["counts"]["labels"]).most_common()),
        manifest_sha256=sha256_file(out / "manifest.json"),
        seconds=time.monotonic() - started,
    )


def _manifest(settings: DiffusionSettings) -> dict[str, Any]:
    """What a generator of our own says of itself; nothing for a foreign one."""
    path = located(settings.generator) / MANIFEST
    found = read_json(path) if path.is_file() else {}
    return found if isinstance(found, dict) else {}


def _licence(settings: DiffusionSettings) -> str:
    return str(_manifest(settings).get("licence") or _NOT_STATED)


def privacy_of(settings: DiffusionSettings) -> dict[str, Any] | None:
    """The statement of a private generator."""
    found = _manifest(settings).get("differential_privacy")
    return found if isinstance(found, dict) else None


def _whose(settings: DiffusionSettings) -> str:
    said = _manifest(settings)
    start, lineage = said.get("start"), said.get("autoencoder")
    through = "" if start is None else " " + of_start(start)
    through += "" if lineage is None else " " + of_autoencoder(lineage)
    return _whose_network(settings) + through


def _whose_network(settings: DiffusionSettings) -> str:
    said = _manifest(settings)
    private = privacy_of(settings)
    if private is not None:
        return (
            f"The generator was fitted under differential privacy: epsilon {private['epsilon']:.3f} at delta "
            f"{private['delta']:g} ({private['adjacency']}); whose: {private['scope']['whose']}."
        )
    if said:
        data = said.get("data", {})
        return (
            f"The generator was fitted to {data.get('origin')} pictures without differential privacy: it can repeat "
            "them. Audit the set before it leaves the house."
        )
    return (
        "What the generator learnt from is not known here: it may repeat it. Audit the set before it leaves the house."
    )
