"""One budget for everything that touches the same patients: generator, training and tuning, composed together.

An epsilon of one run says nothing of the others. This file is opened once for a population; whoever releases something
about it reserves first, and what would pass the limit is refused. Composition is exact (all mechanisms in one privacy
loss), not a sum of epsilons. The file is sealed with a MAC; whoever deletes it deletes the limit.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ethicclip.errors import BadInputError, UsageError
from ethicclip.files import storage_errors
from ethicclip.privacy.account import read_sealed, write_sealed
from ethicclip.privacy.accountant import Epsilon, epsilon_of
from ethicclip.privacy.mechanisms import Purpose, SampledGaussian, Unit, check_budget
from ethicclip.provenance import KeyStore

SCHEMA = "ethicclip/privacy-budget/1"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One release, reserved or done.

    Attributes:
        number: Names the release; reserving it again changes nothing.
        purpose: What it was for.
        what: A short name for people; no path and no patient.
        event: The mechanism with all steps it may take, or has taken once it is settled.
        settled: Whether it ended.
    """

    number: str
    purpose: Purpose
    what: str
    event: SampledGaussian
    settled: bool

    def to_json(self) -> dict[str, Any]:
        """JSON types."""
        return {
            "number": self.number,
            "purpose": str(self.purpose),
            "what": self.what,
            "event": self.event.to_json(),
            "settled": self.settled,
        }


@dataclass(frozen=True, kw_only=True)
class BudgetState:
    """A budget as it stands.

    Attributes:
        population: What people call the patients.
        unit: Whose privacy it counts.
        epsilon: Limit, for adding or removing one unit.
        delta: Limit.
        entries: All releases.
        spent: Epsilon of all releases together, reserved ones in full.
    """

    population: str
    unit: Unit
    epsilon: float
    delta: float
    entries: tuple[Entry, ...]
    spent: Epsilon

    def to_json(self) -> dict[str, Any]:
        """JSON types."""
        return {
            "schema": SCHEMA,
            "population": self.population,
            "unit": str(self.unit),
            "epsilon": self.epsilon,
            "delta": self.delta,
            "entries": [entry.to_json() for entry in self.entries],
            "spent": self.spent.to_json(),
            "adjacency": f"add or remove one {self.unit}",
        }

    def lines(self) -> tuple[str, ...]:
        """What a person reads."""
        rows = [
            f"  {entry.purpose:9s} {entry.what}: {entry.event.steps} steps, sigma {entry.event.noise_multiplier:g}, "
            f"q {entry.event.sample_rate:.4g}{'' if entry.settled else ' (reserved)'}"
            for entry in self.entries
        ]
        return (
            f"population {self.population}: epsilon {self.spent.value:.3f} of {self.epsilon:g} spent "
            f"at delta {self.delta:g} (add or remove one {self.unit})",
            *rows,
        )


class Budget:
    """A budget file; every change is made under a lock and written atomically.

    Args:
        path: The file.
        keys: Hold the key that seals it.

    Example:
        >>> budget = Budget(Path("budget.json"), KeyStore.default())  # doctest: +SKIP
        >>> budget.create(population="clinic", unit=Unit.PATIENT, epsilon=8.0, delta=1e-5)  # doctest: +SKIP
        >>> budget.reserve("gen-1", Purpose.GENERATOR, "private evolution", votes)  # doctest: +SKIP
    """

    def __init__(self, path: Path, keys: KeyStore) -> None:
        self.path = path
        self._keys = keys

    def create(self, *, population: str, unit: Unit, epsilon: float, delta: float) -> BudgetState:
        """Open the budget of a population.

        Raises:
            BadInputError: The file exists: a limit is set once.
            UsageError: An impossible limit.
        """
        check_budget(epsilon, delta)
        with self._locked():
            if self.path.exists():
                raise BadInputError(
                    f"{self.path} already holds a budget",
                    next_step="A limit is set once; look at it without --epsilon.",
                )
            limit = {"population": population, "unit": str(unit), "epsilon": epsilon, "delta": delta}
            self._write(limit, ())
        return self.state()

    def state(self) -> BudgetState:
        """The budget as it stands.

        Raises:
            BadInputError: There is no such file.
            IntegrityError: It is not as it was written.
        """
        limit, entries = self._read()
        return BudgetState(
            population=str(limit["population"]),
            unit=Unit(limit["unit"]),
            epsilon=float(limit["epsilon"]),
            delta=float(limit["delta"]),
            entries=entries,
            spent=epsilon_of([entry.event for entry in entries], float(limit["delta"])),
        )

    def require(self, unit: Unit, event: SampledGaussian, *, number: str = "") -> Epsilon:
        """What would be spent in all after `event`; nothing is written.

        Raises:
            UsageError: It would pass the limit, or the budget counts another unit.
        """
        limit, entries = self._read()
        return self._fits(limit, [entry for entry in entries if entry.number != number], unit, event)

    def reserve(self, number: str, purpose: Purpose, what: str, event: SampledGaussian, *, unit: Unit) -> Epsilon:
        """Set `event` aside before the first step; the same number again replaces nothing and costs nothing.

        Raises:
            UsageError: It would pass the limit, or the budget counts another unit.
        """
        with self._locked():
            limit, entries = self._read()
            if any(entry.number == number for entry in entries):
                return epsilon_of([entry.event for entry in entries], float(limit["delta"]))
            total = self._fits(limit, entries, unit, event)
            entry = Entry(number=number, purpose=purpose, what=what, event=event, settled=False)
            self._write(limit, (*entries, entry))
        return total

    def settle(self, number: str, steps: int) -> None:
        """Say that a release ended after `steps` steps; steps that were reserved and not taken come back.

        Raises:
            UsageError: No such release, or more steps than were reserved.
        """
        with self._locked():
            limit, entries = self._read()
            found = [entry for entry in entries if entry.number == number]
            if not found or steps > found[0].event.steps:
                raise UsageError(f"the budget {self.path} has no reservation {number!r} of at least {steps} steps")
            event = SampledGaussian(**{**found[0].event.to_json(), "steps": steps})  # type: ignore[arg-type]
            done = Entry(number=number, purpose=found[0].purpose, what=found[0].what, event=event, settled=True)
            self._write(limit, [done if entry.number == number else entry for entry in entries])

    def _fits(self, limit: dict[str, Any], entries: Sequence[Entry], unit: Unit, event: SampledGaussian) -> Epsilon:
        if Unit(limit["unit"]) is not unit:
            raise UsageError(
                f"the budget {self.path} counts each {limit['unit']}, this release protects each {unit}",
                next_step=f"Use --unit {limit['unit']}.",
            )
        total = epsilon_of([*(entry.event for entry in entries), event], float(limit["delta"]))
        if total.value > float(limit["epsilon"]):
            before = epsilon_of([entry.event for entry in entries], float(limit["delta"]))
            raise UsageError(
                f"the budget of {limit['population']} would be overspent: epsilon {before.value:.3f} is spent or "
                f"reserved, with this release it would be {total.value:.3f} of {float(limit['epsilon']):g} "
                f"(delta {float(limit['delta']):g})",
                next_step="Use a smaller --epsilon or fewer epochs. A budget that is spent stays spent.",
            )
        return total

    def _read(self) -> tuple[dict[str, Any], tuple[Entry, ...]]:
        if not self.path.is_file():
            raise BadInputError(
                f"there is no budget {self.path}",
                next_step="Open one: ethicclip privacy budget FILE --epsilon 8 --delta 1e-5 --population NAME.",
            )
        stored = read_sealed(self.path, SCHEMA, self._keys, what="privacy budget")
        entries = tuple(
            Entry(
                number=item["number"],
                purpose=Purpose(item["purpose"]),
                what=item["what"],
                event=SampledGaussian(**item["event"]),
                settled=item["settled"],
            )
            for item in stored["entries"]
        )
        return stored["limit"], entries

    def _write(self, limit: dict[str, Any], entries: Sequence[Entry]) -> None:
        content = {"schema": SCHEMA, "limit": limit, "entries": [entry.to_json() for entry in entries]}
        write_sealed(self.path, content, self._keys)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        beside = self.path.with_name(f".{self.path.name}.lock")
        with storage_errors(beside):
            beside.parent.mkdir(parents=True, exist_ok=True)
            with beside.open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield
