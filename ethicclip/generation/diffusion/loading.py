"""What every folder of foreign weights goes through: no pickles, no words on the screen, and errors in one line."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ethicclip.errors import BadInputError

_PICKLES = frozenset({".bin", ".ckpt", ".pt", ".pth", ".pkl"})


def refuse_pickles(folder: Path) -> None:
    """Refuse a folder whose only weights are pickles.

    Raises:
        BadInputError: It is one.
    """
    files = list(folder.glob("*")) if folder.is_dir() else []
    pickles = sorted(one.name for one in files if one.suffix in _PICKLES)
    if pickles and not any(one.suffix == ".safetensors" for one in files):
        raise BadInputError(
            f"the weights of {folder} are pickles ({', '.join(pickles[:3])}), which can run code when read",
            next_step="Save them with save_pretrained(..., safe_serialization=True) on a machine you trust.",
        )


def first_line(error: Exception) -> str:
    """What went wrong in a library, short."""
    return f"{type(error).__name__}: {(str(error).splitlines() or [''])[0][:300]}"


@contextmanager
def quiet() -> Iterator[None]:
    """Progress bars and advice of diffusers belong on nobody's screen."""
    from diffusers.utils import logging as theirs  # noqa: PLC0415

    before = theirs.get_verbosity()
    theirs.set_verbosity(logging.CRITICAL)
    theirs.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        theirs.set_verbosity(before)
        theirs.enable_progress_bar()
