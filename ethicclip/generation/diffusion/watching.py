"""Looks for copies among a generator's samples while it learns, through a check that comes from outside this room."""

from __future__ import annotations

import csv
import io
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ethicclip.files import write_bytes, write_text
from ethicclip.generation.diffusion.drawing import LANE, drawn_pictures
from ethicclip.generation.diffusion.latent import Autoencoder
from ethicclip.generation.diffusion.settings import FitSettings
from ethicclip.generation.learning import Known
from ethicclip.generation.marking import TRAINED, encode_marked
from ethicclip.generation.streams import GENERATED, Stream, stream

Watch = Callable[[Path, int], int]
"""Takes a folder of samples and the step they are from; gives how many of them it flags as copies."""

_TABLE, _CURVE = "copies.csv", "copies.svg"
_STEPS, _GUIDANCE = 20, 2.0


class Watching:
    """The checks of one run, with what they found; everything it writes shows or concerns patients.

    Args:
        watch: The check, or None where nobody asked for one.
        settings: How many samples.
        known: What is known of the pictures learnt from: samples are asked for the like, since what was seen for no
            condition cannot come back for it.
        restricted: The run's restricted folder.
        since: Step that the run goes on from; later rows of an earlier call are dropped.
    """

    def __init__(
        self, watch: Watch | None, settings: FitSettings, known: Sequence[Known], restricted: Path, *, since: int
    ) -> None:
        self._watch, self._settings, self._folder = watch, settings, restricted
        self._known = known
        self._rows: list[tuple[int, int, int]] = []
        path = restricted / _TABLE
        if watch is not None and path.is_file():
            rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
            kept = [(int(row["step"]), int(row["copies"]), int(row["samples"])) for row in rows]
            self._rows = [row for row in kept if row[0] <= since]

    @property
    def found(self) -> tuple[tuple[int, int, int], ...]:
        """(step, copies, samples) of each check."""
        return tuple(self._rows)

    def look(
        self, network: Any, schedule: Any, autoencoder: Autoencoder | None, device: torch.device, step: int
    ) -> int:
        """Draw samples, have them checked, note the copies, draw the curve; how many were flagged."""
        if self._watch is None:
            return 0
        samples = self._folder / "watched" / f"step_{step:06d}"
        shutil.rmtree(samples, ignore_errors=True)
        settings, count = self._settings, self._settings.watch_samples
        for first in range(0, count, LANE):
            # Numbers from high up: what is generated later with this seed begins with other noise.
            numbers = [2**40 + first + place for place in range(LANE)]
            rows = [stream(GENERATED, settings.seed, one, Stream.CASE).integers(len(self._known)) for one in numbers]
            known = [self._known[int(row)] for row in rows]
            keys = [(settings.seed, number) for number in numbers]
            pictures = drawn_pictures(
                network, schedule, autoencoder, known, keys, device=device, steps=_STEPS, guidance=_GUIDANCE
            )
            for place, picture in enumerate(pictures[: count - first]):
                encoded = encode_marked(picture, "png", quality=100, source=TRAINED)
                write_bytes(samples / f"{first + place:06d}.png", encoded)
        copies = self._watch(samples, step)
        self._rows.append((step, copies, count))
        text = "".join(f"{at},{found},{of}\n" for at, found, of in self._rows)
        write_text(self._folder / _TABLE, f"step,copies,samples\n{text}")
        write_bytes(self._folder / _CURVE, _curve(self._rows))
        return copies


def _curve(rows: list[tuple[int, int, int]]) -> bytes:
    """Copy rate against steps, with 95 % Wilson intervals, as SVG."""
    import matplotlib as mpl  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    z = 1.959964
    steps = [step for step, _, _ in rows]
    share = np.array([found / of for _, found, of in rows])
    count = np.array([of for _, _, of in rows])
    middle = (share + z**2 / (2 * count)) / (1 + z**2 / count)
    half = z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2)) / (1 + z**2 / count)
    with mpl.rc_context({"svg.hashsalt": "ethicclip"}):
        figure = Figure(figsize=(6, 3.2), layout="constrained")
        axes = figure.subplots()
        axes.errorbar(steps, share, yerr=[share - (middle - half), middle + half - share], fmt="o-", capsize=3)
        axes.set(xlabel="step", ylabel="share of samples flagged as copies", ylim=(-0.02, 1.02))
        buffer = io.BytesIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
