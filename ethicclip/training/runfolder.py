"""The run folder: who may write into it, and run.json, which says what the run is and whether it is finished."""

from __future__ import annotations

import platform
import resource
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ethicclip import __version__
from ethicclip.errors import BadInputError
from ethicclip.files import PARTIAL_SUFFIX, read_json, require_empty_or_absent, write_json
from ethicclip.training.settings import TrainSettings

if TYPE_CHECKING:
    from ethicclip.pairs import PairSource

SCHEMA = "ethicclip/run/1"
RUN_FILE = "run.json"
LOG_FILE = "log.csv"
FIGURE_FILE = "loss.svg"
CARD_FILE = "README.md"
CHECKPOINTS = "checkpoints"


def identity(
    settings: TrainSettings,
    sources: Sequence[PairSource],
    *,
    weights: Sequence[float] | None = None,
    validation: PairSource | None = None,
    pretrained: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What makes two runs the same run: settings, data and what they begin with."""
    data = [_source(source) for source in sources]
    if weights is not None:
        data = [{**source, "weight": weight} for source, weight in zip(data, weights, strict=True)]
    run: dict[str, Any] = {
        "schema": SCHEMA,
        "settings": settings.resolved(),
        "settings_sha256": settings.digest(),
        "data": data,
    }
    if validation is not None:
        run["validation"] = _source(validation)
    if pretrained is not None:
        run["pretrained"] = pretrained
    return run


def _source(source: PairSource) -> dict[str, Any]:
    """A source's identity; one that draws its pairs says from what, since no folder does."""
    known = {
        "digest": source.digest,
        "pairs": len(source),
        "origin": str(source.origin),
        "licence": source.licence,
    }
    description = getattr(source, "description", None)
    return known if description is None else {**known, "description": description}


def environment(device: torch.device) -> dict[str, Any]:
    """Versions and hardware, without the machine's name."""
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else None
    return {
        "versions": {
            "ethicclip": __version__,
            "numpy": np.__version__,
            "open_clip": metadata.version("open_clip_torch"),
            "python": platform.python_version(),
            "torch": str(torch.__version__),
        },
        "hardware": {
            "device": device.type,
            "gpu": gpu,
            "machine": platform.machine(),
            "threads": torch.get_num_threads(),
        },
    }


def peak_memory_bytes(device: torch.device) -> dict[str, int]:
    """Largest memory of this process so far, and of the GPU where one is used."""
    unit = 1 if sys.platform == "darwin" else 1024  # Linux counts in KiB
    result = {"process": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit}
    if device.type == "cuda":
        result["gpu"] = int(torch.cuda.max_memory_allocated(device))
    return result


def claim(out: Path, run: dict[str, Any], *, resume: bool) -> None:
    """Make sure that `out` is a place this run may write to, and note the run there as unfinished.

    Args:
        out: The run folder.
        run: From `identity`.
        resume: Whether an unfinished run of the same identity may be continued.

    Raises:
        BadInputError: The folder holds something else, a finished run, a run with other settings or data, or an
            unfinished run and `resume` is False.
        StorageError: The place refuses writing.
    """
    run_file = out / RUN_FILE
    if not run_file.is_file():
        require_empty_or_absent(out)
        write_json(run_file, {**run, "finished": False})
        return
    found = read_json(run_file)
    if not isinstance(found, dict) or found.get("schema") != SCHEMA:
        raise BadInputError(f"{run_file} was not written by this version", next_step="Choose a new folder.")
    if found.get("finished"):
        raise BadInputError(f"the run in {out} is finished", next_step="Choose a new folder for another run.")
    if not resume:
        raise BadInputError(
            f"the folder {out} holds an unfinished run", next_step="Go on with --resume, or choose a new folder."
        )
    different = _differences(found, run)
    if different:
        raise BadInputError(
            f"the unfinished run in {out} has other settings or other data",
            details=different,
            next_step="Resume with the settings and pair sets it was started with, or choose a new folder.",
        )
    for folder in (out, out / CHECKPOINTS):
        for left_by_a_kill in folder.glob(f".*{PARTIAL_SUFFIX}"):
            left_by_a_kill.unlink()


def _differences(found: dict[str, Any], run: dict[str, Any]) -> list[str]:
    """One line for every setting or pair set that differs."""
    before, now = found.get("settings", {}), run["settings"]
    lines = [
        f"{name}: the run has {before.get(name)!r}, now {now.get(name)!r}"
        for name in sorted({*before, *now})
        if before.get(name) != now.get(name)
    ]
    old, new = found.get("data", []), run["data"]
    if len(old) != len(new):
        lines.append(f"pair sets: the run has {len(old)}, now {len(new)}")
    lines += [
        f"pair set {number}: the run has {_short(one)}, now {_short(other)}"
        for number, (one, other) in enumerate(zip(old, new, strict=False), start=1)
        if one != other
    ]
    for name in ("validation", "pretrained"):
        if found.get(name) != run.get(name):
            lines.append(f"{name}: the run has {_short(found.get(name))}, now {_short(run.get(name))}")
    return lines


def _short(source: dict[str, Any] | None) -> str:
    """What a source or pretrained weights are told apart by."""
    if source is None:
        return "none"
    if "sha256" in source:
        return f"{source['source']} with sha256 {str(source['sha256'])[:16]}"
    weight = f" and weight {source['weight']}" if "weight" in source else ""
    return f"{source['pairs']} pairs with digest {str(source['digest'])[:16]}{weight}"
