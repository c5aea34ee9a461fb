"""What `train` can be given: folders of pair sets, and streams that draw pairs while training reads them.

A stream is written ``phantom:COUNT[,NAME=VALUE...]`` with the names of `generate`'s settings, such as
``phantom:200000,size=256,seed=3,findings.dr_grade=3``. The settings file's ``generate`` section is what it starts from.
Any source may end with ``@WEIGHT``: how often it is drawn from beside the others.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ethicclip.errors import UsageError

if TYPE_CHECKING:
    from ethicclip.generation import PhantomStream
    from ethicclip.pairs import PairSet
    from ethicclip.provenance import Artifact

STREAM = "phantom:"

_WEIGHTED = re.compile(r"(.+)@(\d+(?:\.\d+)?)")

_EXAMPLE = "Write for example phantom:200000 or phantom:200000,size=256,seed=3."


def open_sources(names: Sequence[str], config: Path | None) -> list[PairSet | PhantomStream]:
    """Open every source.

    Args:
        names: As typed: folders, and streams.
        config: The settings file, whose ``generate`` section a stream starts from.

    Raises:
        UsageError: A stream that is not of the form, has settings that do not exist, or stands twice.
        BadInputError: A folder that is no pair set.
    """
    from ethicclip.pairs import PairSet

    sources: list[PairSet | PhantomStream] = []
    streams: dict[str, str] = {}
    for name in names:
        if not name.startswith(STREAM):
            sources.append(PairSet.open(Path(name)))
            continue
        stream = _open_stream(name, config)
        eyes = _eyes(stream)
        if eyes in streams:
            raise UsageError(
                f"the streams {streams[eyes]!r} and {name!r} draw the same eyes",
                next_step="Give each a seed of its own.",
            )
        streams[eyes] = name
        sources.append(stream)
    return sources


def split_weights(names: Sequence[str]) -> tuple[list[str], list[float] | None]:
    """Take ``@WEIGHT`` off the sources.

    Returns:
        The sources without, and the weights; None where no source has one.

    Raises:
        UsageError: Some sources have a weight and others have none, or a weight is not positive.
    """
    parted = [_WEIGHTED.fullmatch(name) for name in names]
    if not any(parted):
        return list(names), None
    bare = [name for name, found in zip(names, parted, strict=True) if found is None]
    if bare:
        raise UsageError(
            f"the source {bare[0]!r} has no weight and others have one",
            next_step=f"Write {bare[0]}@1, or give no weights: then every pair comes once an epoch.",
        )
    weights = [float(found[2]) for found in parted if found]
    if not all(0 < weight < float("inf") for weight in weights):
        raise UsageError(f"the weights {weights} are not all positive", next_step="Leave away what has no weight.")
    return [found[1] for found in parted if found], weights


def _eyes(stream: PhantomStream) -> str:
    """Streams that differ in nothing but how many pairs they have begin with the same ones."""
    return stream.settings.model_copy(update={"count": 1}).digest()


def _open_stream(name: str, config: Path | None) -> PhantomStream:
    from ethicclip.generation import GenerateSettings, PhantomStream
    from ethicclip.settings import resolve

    count, *overrides = _split(name.removeprefix(STREAM))
    if not count.isascii() or not count.isdigit():
        raise UsageError(f"the stream {name!r} does not begin with a count", next_step=_EXAMPLE)
    settings = resolve(
        GenerateSettings, verb="generate", config=config, overrides=overrides, flags={"count": int(count)}
    )
    return PhantomStream(settings)


def _split(text: str) -> list[str]:
    """Parts between commas; commas within brackets belong to a value."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts]


def source_artifact(source: PairSet | PhantomStream) -> Artifact:
    """How the ledger names a source: a set by its manifest, a stream by the hash of its settings and generator."""
    from ethicclip.cli.recording import pair_set_artifact
    from ethicclip.pairs import PairSet
    from ethicclip.provenance import Artifact

    if isinstance(source, PairSet):
        return pair_set_artifact(source)
    alias = f"{STREAM}{len(source)},size={source.settings.size},seed={source.settings.seed}"
    return Artifact(kind="pair_stream", sha256=source.digest, origin=source.origin, alias=alias)
