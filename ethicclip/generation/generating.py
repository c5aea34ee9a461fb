"""The verb `generate`: writes a pair set of phantom eyes, or says beforehand what that would take."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ethicclip.files import sha256_file
from ethicclip.generation import grading
from ethicclip.generation.marking import MARKING
from ethicclip.generation.phantom import GENERATOR, LICENCE, PhantomEngine
from ethicclip.generation.resolution import resolution_note
from ethicclip.generation.settings import GenerateSettings
from ethicclip.pairs.masks import encode_masks
from ethicclip.pairs.pair import Pair
from ethicclip.pairs.writing import Description, write_pair_set
from ethicclip.progress import SILENT, Progress
from ethicclip.provenance.artifacts import Origin

_TAR_BLOCK_BYTES = 512
_INDEX_BYTES_A_PAIR = 700
_PLAN_PICTURES = 6
_PLAN_CASES = 400


@dataclass(frozen=True, kw_only=True)
class GenerateResult:
    """A finished pair set.

    Attributes:
        path: Its folder.
        count: Pairs in it.
        labels: Images by condition id; an eye with two conditions counts in both.
        manifest_sha256: Hash of ``manifest.json``, which holds the hash of every shard.
        seconds: Wall clock of this call; a set that was already there takes next to none.
    """

    path: Path
    count: int
    labels: dict[str, int]
    manifest_sha256: str
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """JSON types."""
        return {
            "path": str(self.path),
            "count": self.count,
            "labels": self.labels,
            "manifest_sha256": self.manifest_sha256,
            "seconds": round(self.seconds, 3),
        }

    def lines(self) -> list[str]:
        """What a person wants to read."""
        listed = ", ".join(f"{name} {count}" for name, count in self.labels.items())
        return [
            f"{self.count} pairs in {self.path} ({self.seconds:.1f} s)",
            f"labels: {listed}",
            f"manifest sha256: {self.manifest_sha256}",
        ]


@dataclass(frozen=True, kw_only=True)
class GeneratePlan:
    """What a run would take, from a few pictures drawn on this machine.

    Attributes:
        disk_bytes, seconds: Estimates for the whole set; seconds with this many workers.
        labels: Expected images by condition id, from a sample of cases.
        resolution: What the size can show.
    """

    count: int
    workers: int
    shards: int
    disk_bytes: int
    seconds: float
    labels: dict[str, int]
    resolution: str

    def to_json(self) -> dict[str, Any]:
        """JSON types."""
        return {
            "count": self.count,
            "workers": self.workers,
            "shards": self.shards,
            "disk_bytes": self.disk_bytes,
            "seconds": round(self.seconds, 1),
            "labels": self.labels,
            "resolution": self.resolution,
        }

    def lines(self) -> list[str]:
        """What a person wants to read."""
        listed = ", ".join(f"{name} {count}" for name, count in self.labels.items())
        return [
            f"{self.count} pairs in {self.shards} shard(s), about {self.disk_bytes / 1e6:.1f} MB",
            f"about {self.seconds:.0f} s with {self.workers} worker(s) on this machine",
            f"labels expected: {listed}",
            self.resolution,
        ]


def _by_condition(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def generate(settings: GenerateSettings, out: Path, *, workers: int = 1, progress: Progress = SILENT) -> GenerateResult:
    """Write `settings.count` image-text pairs below `out`.

    The same call after a kill goes on where the last one stopped and ends with the same bytes.

    Args:
        settings: What to make.
        out: Folder of the pair set: new, empty, or begun with the same settings.
        workers: Processes; changes no byte.
        progress: Where to report.

    Raises:
        UsageError: Fixed findings that contradict each other.
        BadInputError: `out` holds something else.
        StorageError: The disk is full; finished shards are kept.

    Example:
        >>> from ethicclip.generation import GenerateSettings, generate
        >>> generate(GenerateSettings(count=100), Path("pairs"), workers=2)  # doctest: +SKIP
    """
    started = time.monotonic()
    engine = PhantomEngine(settings)
    refuse_impossible(settings)
    manifest = write_pair_set(
        out,
        engine,
        settings.count,
        description=Description(
            name=f"phantom-{settings.size}px-seed{settings.seed}",
            origin=Origin.SYNTHETIC,
            licence=LICENCE,
            generator={"name": GENERATOR, "settings": settings.resolved()},
            settings_digest=settings.digest(),
            marking=MARKING,
            notes=(
                resolution_note(settings.size),
                "Labels and captions are derived by rule from the findings rendered. " + _who_entered(settings),
            ),
        ),
        workers=workers,
        shard_size=settings.shard_size,
        progress=progress,
    )
    return GenerateResult(
        path=out,
        count=settings.count,
        labels=_by_condition(Counter(manifest["counts"]["labels"])),
        manifest_sha256=sha256_file(out / "manifest.json"),
        seconds=time.monotonic() - started,
    )


def refuse_impossible(settings: GenerateSettings) -> None:
    """Find out before anything is written whether there is an eye as the recipe, or each of its parts, wants it.

    Raises:
        UsageError: Fixed findings that contradict each other.
    """
    recipes = [component.findings for component in settings.mixture] or [settings.findings]
    for recipe in recipes:
        PhantomEngine(settings.model_copy(update={"mixture": (), "findings": recipe})).case(0)


def _who_entered(settings: GenerateSettings) -> str:
    """Whether patients had a say in the set."""
    fitted = settings.fitted
    if fitted is None:
        return "No patient's image entered."
    return (
        f"The recipe was fitted by noisy votes: epsilon {fitted.epsilon:.3f} at delta {fitted.delta:g} for adding or "
        f"removing one {fitted.unit}; whose: {fitted.whose}. Statement sha256: {fitted.statement_sha256}."
    )


def _count_labels(engine: PhantomEngine, count: int) -> dict[str, int]:
    """Labels by condition, from the findings alone (about a thousandth of the work of a picture)."""
    counts: Counter[str] = Counter()
    for index in range(count):
        counts.update(condition.value for condition in grading.conditions(engine.case(index)[0]))
    return _by_condition(counts)


def plan(
    settings: GenerateSettings, *, workers: int = 1, clock: Callable[[], float] = time.perf_counter
) -> GeneratePlan:
    """Estimate disk and time by drawing a few pictures; nothing is written.

    Args:
        settings: As for `generate`.
        workers: Processes the run would use.
        clock: Seconds; an argument for tests.
    """
    engine = PhantomEngine(settings)
    pairs: list[Pair] = [engine.pair(0)]
    started = clock()
    pairs = [engine.pair(index) for index in range(min(settings.count, _PLAN_PICTURES))]
    each = (clock() - started) / len(pairs)

    def on_tape(size: int) -> int:
        # A tar member is a header and its content, both in blocks.
        return _TAR_BLOCK_BYTES * (1 + math.ceil(size / _TAR_BLOCK_BYTES))

    sizes = [
        on_tape(len(pair.image))
        + on_tape(len(pair.caption.encode()))
        + on_tape(len(json.dumps(pair.record, ensure_ascii=False).encode()))
        + (on_tape(len(encode_masks(pair.masks))) if pair.masks else 0)
        + _INDEX_BYTES_A_PAIR
        for pair in pairs
    ]
    cases = min(settings.count, _PLAN_CASES)
    seen = _count_labels(engine, cases)
    return GeneratePlan(
        count=settings.count,
        workers=workers,
        shards=math.ceil(settings.count / settings.shard_size),
        disk_bytes=round(settings.count * sum(sizes) / len(sizes)),
        seconds=settings.count * each / workers,
        labels={name: round(number * settings.count / cases) for name, number in seen.items()},
        resolution=resolution_note(settings.size),
    )
