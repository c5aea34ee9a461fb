"""What a run took: time, memory, and energy where the machine tells it.

Energy is read from counters that some machines have and some users may read: Intel's and AMD's RAPL for processor
packages, NVML for NVIDIA GPUs. They count everything that runs on the machine, not this process alone. Where there is
none the summary says so; nothing is estimated.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

POWERCAP = Path("/sys/class/powercap")

Counter = Callable[[], float]
"""Joules since some beginning."""


class EnergyMeter:
    """Joules since it was made.

    Args:
        gpu: Number of the GPU that is used; None on a processor.
        powercap: Where the kernel shows RAPL.
    """

    def __init__(self, *, gpu: int | None = None, powercap: Path = POWERCAP) -> None:
        self._zones = _rapl_zones(powercap)
        self._gpu = None if gpu is None else _nvml_counter(gpu)
        self._asked_gpu = gpu is not None
        self._began = {zone: _read(zone / "energy_uj") for zone in self._zones}
        self._gpu_began = None if self._gpu is None else self._gpu()

    def summary(self) -> dict[str, Any]:
        """Joules of processor packages and GPU; None where not measurable, with the reason."""
        processor = None
        if self._zones:
            spent = 0
            for zone, began in self._began.items():
                difference = _read(zone / "energy_uj") - began
                # The counter starts again at its range; a run longer than several ranges is undercounted.
                spent += difference if difference >= 0 else difference + _read(zone / "max_energy_range_uj")
            processor = round(spent / 1e6, 3)
        gpu = None if self._gpu is None or self._gpu_began is None else round(self._gpu() - self._gpu_began, 3)
        reasons = [] if self._zones else ["no readable RAPL counter"]
        if self._asked_gpu and gpu is None:
            reasons.append("no NVML energy counter")
        return {
            "processor_joules": processor,
            "gpu_joules": gpu,
            "whole_machine": True,
            "not_measurable": "; ".join(reasons) or None,
        }


def energy_words(summary: dict[str, Any]) -> str:
    """One phrase for people."""
    known = [
        f"{summary[key] / 3600:.1f} Wh ({name}, all that ran there)"
        for key, name in (("processor_joules", "processor"), ("gpu_joules", "GPU"))
        if summary[key] is not None
    ]
    missing = [f"energy not measurable: {summary['not_measurable']}"] if summary["not_measurable"] else []
    return ", ".join([*known, *missing])


def _rapl_zones(powercap: Path) -> list[Path]:
    """Packages whose counter can be read; their parts (`intel-rapl:0:1`) are counted in them."""
    found = []
    for zone in sorted(powercap.glob("intel-rapl:*")):
        if zone.name.count(":") == 1:
            with suppress(OSError, ValueError):
                _read(zone / "energy_uj")
                _read(zone / "max_energy_range_uj")
                found.append(zone)
    return found


def _read(path: Path) -> int:
    return int(path.read_text())


def _nvml_counter(gpu: int) -> Counter | None:
    """The counter of one GPU, read through the driver's own library."""
    try:
        library = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    handle, millijoules = ctypes.c_void_p(), ctypes.c_ulonglong()
    if library.nvmlInit_v2() or library.nvmlDeviceGetHandleByIndex_v2(gpu, ctypes.byref(handle)):
        return None

    def read() -> float:
        library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules))
        return millijoules.value / 1000

    failed = library.nvmlDeviceGetTotalEnergyConsumption(handle, ctypes.byref(millijoules))
    return None if failed else read
