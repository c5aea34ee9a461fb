"""The model that comes with the package: `builtin`, trained on phantoms alone; its card lies beside its weights.

`python -m ethicclip.clip.shipped RUN` makes the folder from a finished run. Light to import: only making
it needs torch.
"""

from __future__ import annotations

import json
import sys
from importlib import resources
from pathlib import Path

from ethicclip.errors import BadInputError
from ethicclip.files import write_json

NAME = "builtin"
"""What any verb that takes a run accepts in place of a folder."""

MOST_BYTES = 20_000_000
"""A package may not grow beyond this for its model."""

_FACTS = (
    "settings",
    "settings_sha256",
    "data",
    "versions",
    "hardware",
    "steps",
    "batch_size",
    "learning_rate",
    "seconds",
)


def locate(run: Path) -> Path:
    """The folder of a run; `builtin` is the package's own, unless a folder of that name stands here.

    Raises:
        BadInputError: This installation has no built-in model.
    """
    if str(run) != NAME or run.exists():
        return run
    folder = builtin_folder()
    if not (folder / "open_clip_config.json").is_file():
        raise BadInputError("this installation has no built-in model", next_step="Train one with `ethicclip train`.")
    return folder


def builtin_folder() -> Path:
    """Where the built-in model lies."""
    return Path(str(resources.files("ethicclip.clip").joinpath(NAME)))


def ship(run: Path, folder: Path) -> int:
    """Write the model of a finished run into `folder` in half precision; the size of its weights in bytes.

    Raises:
        BadInputError: The run is not finished, saw real pictures, or its weights are too large for a package.
    """
    from ethicclip.clip.folder import WEIGHTS_FILE, load, save  # noqa: PLC0415

    record = json.loads((run / "run.json").read_text(encoding="utf-8"))
    origins = {source["origin"] for source in record["data"]}
    if not record.get("finished") or origins != {"synthetic"}:
        raise BadInputError(f"{run} is not a finished run on synthetic pairs alone (origins: {sorted(origins)})")
    model = load(run)
    model.model.half()
    save(model, folder)
    write_json(folder / "run.json", {name: record[name] for name in _FACTS if name in record})
    size = (folder / WEIGHTS_FILE).stat().st_size
    if size > MOST_BYTES:
        raise BadInputError(f"the weights take {size:,} bytes, more than the {MOST_BYTES:,} a package may carry")
    return size


if __name__ == "__main__":
    sys.stdout.write(f"{ship(Path(sys.argv[1]), builtin_folder()):,} bytes of weights\n")
