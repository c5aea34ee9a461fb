"""What `train` can be given: folders of pair sets, and streams that draw pairs while training reads them.

A stream is written ``phantom:COUNT[,NAME=VALUE...]`` with the names of `generate`'s settings, such as
``phantom:200000,size=256,seed=3,findings.dr_grade=3``. The settings file's ``generate`` section is what it starts from.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ethicclip.errors import UsageError

if TYPE_CHECKING:
    from ethicclip.generation import PhantomStream
    from ethicclip.pairs import PairSet
    from ethicclip.provenance import Artifact

STREAM = "phantom:"

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
