"""Which units each shadow model of LiRA is trained on, and their pairs as one source."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ethicclip.audits.models.signals import Side
from ethicclip.errors import UsageError
from ethicclip.files import canonical_json, sha256_bytes
from ethicclip.imaging import Pixels
from ethicclip.provenance.artifacts import Origin

if TYPE_CHECKING:
    from ethicclip.pairs import Pair, PairSource


def shadow_halves(units: int, shadows: int, seed: int) -> npt.NDArray[np.bool_]:
    """For each shadow and unit, whether it is trained on it: each unit is in exactly half of the shadows.

    Raises:
        UsageError: An odd number of shadows, or fewer than 4.
    """
    if shadows < 4 or shadows % 2:
        raise UsageError(f"{shadows} shadow models; LiRA takes an even number of at least 4")
    generator = np.random.default_rng([seed, 0x51AD])
    ranks = generator.random((shadows, units)).argsort(0)
    return np.asarray(ranks < shadows // 2)


class Pool:
    """Members and non-members together, members first."""

    def __init__(self, inside: Side, outside: Side) -> None:
        self._sides = (inside, outside)
        self.units = len(inside.names) + len(outside.names)

    def subset(self, chosen: npt.NDArray[np.bool_]) -> PairSource:
        """The pairs of the chosen units, bool (units,)."""
        places: list[tuple[PairSource, int, str]] = []
        start = 0
        for side in self._sides:
            wanted = {
                name for name, take in zip(side.names, chosen[start : start + len(side.names)], strict=True) if take
            }
            places += [(side.source, index, unit) for index, unit in enumerate(side.units) if unit in wanted]
            start += len(side.names)
        return _Subset(places)


class _Subset:
    """Some pairs of several sources."""

    def __init__(self, places: list[tuple[PairSource, int, str]]) -> None:
        self._places = places

    @property
    def origin(self) -> Origin:
        found = {Origin(source.origin) for source, _, _ in self._places}
        return found.pop() if len(found) == 1 else Origin.MIXED

    @property
    def licence(self) -> str:
        return "; ".join(sorted({source.licence for source, _, _ in self._places}))

    @property
    def digest(self) -> str:
        return sha256_bytes(canonical_json([[source.digest, index] for source, index, _ in self._places]))

    def __len__(self) -> int:
        return len(self._places)

    def read(self, index: int) -> Pair:
        source, number, _ = self._places[index]
        return source.read(number)

    def image(self, index: int) -> Pixels:
        source, number, _ = self._places[index]
        return source.image(number)

    def patient_id(self, index: int) -> str:
        return self._places[index][2]
