"""Did the model learn from the eyes it is about to be scored on? Asked of the ledger, and of pair sets that are named.

The ledger knows patients of every recorded cohort by commitment: the check walks from the weights back to the cohorts
that reached them and compares people. Pair sets on disk are compared picture by picture too: equal bytes, and
near-duplicates (`ethicclip.cohorts.near_duplicates`), which survive the new encoding of an import. Not found: the same
eye under another id in another view, and sets that neither the ledger nor the caller names; that is said, not passed
over. Ids of two hospitals may be equal by chance: whoever knows that names the overlap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from ethicclip.cohorts import Cohort
from ethicclip.cohorts.near_duplicates import find_across, signatures, signatures_of
from ethicclip.cohorts.settings import NEAR_DUPLICATE_THRESHOLD
from ethicclip.errors import BadInputError, UsageError
from ethicclip.progress import SILENT, Progress
from ethicclip.provenance import ArtifactRecord, KeyStore, LedgerSnapshot, commit_cohort, commit_patients

if TYPE_CHECKING:
    from ethicclip.pairs import PairSet


class State(StrEnum):
    """What the check can say."""

    NO_REAL_DATA = "NO_REAL_DATA"
    CLEAR = "CLEAR"
    SHARED = "SHARED"
    NOT_CHECKED = "NOT_CHECKED"


@dataclass(frozen=True, kw_only=True)
class Shared:
    """What the cohort has in common with one source of the training.

    Attributes:
        source: Alias of the cohort or pair set.
        patients: Patients of the cohort that are in it.
        images: Images of the cohort that are in it byte by byte.
        near_duplicates: Images of the cohort that look like one of it, equal bytes left out.
        also: Other aliases under which it was recorded.
    """

    source: str
    patients: int = 0
    images: int = 0
    near_duplicates: int = 0
    also: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.patients or self.images or self.near_duplicates)

    def to_json(self) -> dict[str, Any]:
        """JSON types."""
        return {
            "source": self.source,
            "patients": self.patients,
            "images": self.images,
            "near_duplicates": self.near_duplicates,
        }

    def line(self) -> str:
        """For people; counts and the alias, no name of a patient or file."""
        parts = [(self.patients, "patient(s)"), (self.images, "image(s)"), (self.near_duplicates, "near-duplicate(s)")]
        return f"{', '.join(f'{count} {what}' for count, what in parts if count)} of {self.source}"


@dataclass(frozen=True, kw_only=True)
class Contamination:
    """What a check found.

    Attributes:
        state: See `State`.
        shared: Sources with something in common; every one of them was named by the caller.
        compared: Aliases of the sources that were compared.
        caveats: What a reader of the scores has to know.
    """

    state: State
    shared: tuple[Shared, ...] = ()
    compared: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON types."""
        return {
            "state": str(self.state),
            "shared": [one.to_json() for one in self.shared],
            "compared": list(self.compared),
            "caveats": list(self.caveats),
        }


@dataclass(frozen=True, kw_only=True)
class Training:
    """What is known of how a model came to be.

    Attributes:
        name: Of the model, for messages.
        weights: Artifact ids (``sha256:HEX``) of its weights and of those that it went on from.
        data: The ``data`` entries of run.json of all these runs; None where nothing says what it learned from.
    """

    name: str
    weights: tuple[str, ...]
    data: tuple[Mapping[str, Any], ...] | None

    @property
    def real_digests(self) -> frozenset[str]:
        """Digests of the sources that hold real eyes."""
        return frozenset(str(one.get("digest")) for one in self.data or () if one.get("origin") != "synthetic")


def check_contamination(
    training: Training,
    cohort: Cohort,
    *,
    ledger: LedgerSnapshot | None,
    keys: KeyStore,
    sets: Sequence[PairSet] = (),
    known: Sequence[str] = (),
    threshold: float = NEAR_DUPLICATE_THRESHOLD,
    progress: Progress = SILENT,
) -> Contamination:
    """Compare a cohort with everything that is known to have reached the weights.

    Args:
        training: What is known of the model.
        cohort: The eyes that are about to be scored.
        ledger: The ledger that may have recorded the training.
        keys: Hold the commitment key of that ledger.
        sets: Pair sets that the model was trained on, to compare pictures too.
        known: Sources whose overlap the caller knows of and accepts; it is recorded.
        threshold: Of near-duplicates.
        progress: Where to report.

    Raises:
        BadInputError: Something is shared with a source that `known` does not name.
        UsageError: A set that the model's run.json does not name, or a name in `known` with nothing in common.
    """
    digests = {str(one.get("digest")) for one in training.data or ()}
    if strangers := [one.path.name for one in sets if training.data is not None and one.digest not in digests]:
        raise UsageError(
            f"{training.name} was not trained on {', '.join(strangers)}: its run.json names other digests",
            next_step="Name the pair sets that it was trained on, or leave --trained-on out.",
        )
    upstream = [] if ledger is None else _cohorts_behind(ledger, training.weights)
    found = [] if ledger is None else [_in_ledger(ledger, record, cohort, keys) for record in upstream]
    found += [_in_set(pairs, cohort, threshold, progress) for pairs in sets]
    shared = tuple(one for one in found if one)
    if unnamed := [one for one in shared if not {one.source, *one.also} & set(known)]:
        raise BadInputError(
            f"the cohort {cohort.alias} shares eyes with what {training.name} was trained on",
            details=[one.line() for one in unnamed],
            next_step="Score it on other patients (`ethicclip split`), or say that you know with "
            + " ".join(f"--known-overlap {name}" for name in dict.fromkeys(one.source for one in unnamed))
            + "; the record then says so.",
        )
    caveats = [f"the model was trained on eyes of this cohort: {one.line()}" for one in shared]
    by_patient = cohort.patient_ids is not None and any(_members(ledger, record) for record in upstream)
    unseen = bool(training.real_digests - {one.digest for one in sets}) or (bool(upstream) and not sets)
    if training.data is None and not upstream and not sets:
        caveats.append("what the model was trained on is not known: whether it saw these eyes cannot be said")
    elif unseen and not by_patient:
        caveats.append(
            "the model was trained on real eyes that could not be compared with this cohort: name the pair set with "
            "--trained-on, or the ledger of its training with --ledger"
        )
    elif unseen:
        caveats.append(
            "the patients of the model's real training eyes were compared with this cohort by id, its pictures were not"
        )
    if shared:
        state = State.SHARED
    elif training.data is not None and not training.real_digests and not upstream:
        state = State.NO_REAL_DATA
    elif caveats and not by_patient:
        state = State.NOT_CHECKED
    else:
        state = State.CLEAR
    compared = dict.fromkeys(one.source for one in found)
    return Contamination(state=state, shared=shared, compared=tuple(compared), caveats=tuple(caveats))


def _cohorts_behind(ledger: LedgerSnapshot, weights: Sequence[str]) -> list[ArtifactRecord]:
    """Every cohort and real pair set that reached the weights, nearest first.

    The walk ends at a cohort: it knows its own people, and the whole it was split from holds others too.
    """
    made: dict[str, list[str]] = {}
    used: dict[str, list[str]] = {}
    for edge in ledger.edges:
        if edge.role == "generated":
            made.setdefault(edge.artifact, []).append(edge.run_id)
        else:
            used.setdefault(edge.run_id, []).append(edge.artifact)
    records = ledger.by_artifact
    waiting, seen = deque(weights), set(weights)
    found = []
    while waiting:
        for run_id in made.get(waiting.popleft(), ()):
            for artifact in used.get(run_id, ()):
                if artifact in seen or artifact not in records:
                    continue
                seen.add(artifact)
                if records[artifact].kind == "cohort":
                    found.append(records[artifact])
                else:
                    waiting.append(artifact)
    return found


def _members(ledger: LedgerSnapshot | None, record: ArtifactRecord) -> frozenset[str]:
    return frozenset() if ledger is None else frozenset(m.member for m in ledger.members if m.cohort == record.id)


def _in_ledger(ledger: LedgerSnapshot, record: ArtifactRecord, cohort: Cohort, keys: KeyStore) -> Shared:
    aliases = dict.fromkeys(one.alias or one.id[:24] for one in ledger.artifacts if one.id == record.id)
    alias, *others = aliases
    whole = commit_cohort(cohort.content_hashes(), cohort.alias, keys).id == record.id
    people = commit_patients(cohort.patient_ids or (), keys)
    return Shared(
        source=alias,
        patients=len(_members(ledger, record) & set(people)),
        images=len(cohort) if whole else 0,
        also=tuple(others),
    )


def _in_set(pairs: PairSet, cohort: Cohort, threshold: float, progress: Progress) -> Shared:
    """The same with a set on disk; near-duplicates are sought among the images that are not equal by bytes."""
    people = {pairs.patient_id(number) for number in range(len(pairs))} - {None}
    hashes = {pairs.sha256(number) for number in range(len(pairs))}
    equal = [digest in hashes for digest in cohort.content_hashes()]
    own = signatures(cohort, progress=progress)
    theirs = signatures_of(pairs.image, len(pairs), what=pairs.path.name, progress=progress)
    near = {one.first for one in find_across(own, theirs, threshold=threshold, progress=progress)}
    return Shared(
        source=pairs.path.name,
        patients=len(set(cohort.patient_ids or ()) & people),
        images=sum(equal),
        near_duplicates=sum(1 for row in near if not equal[row]),
    )
