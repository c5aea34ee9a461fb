"""Nearest captions of reports, by words and pairs of words weighted by rarity; no model, no language assumed."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

Indices = npt.NDArray[np.int64]

_BLOCK_CELLS = 1 << 25
"""Likenesses held at a time."""


def words(text: str) -> list[str]:
    """Lower-case words; characters of scripts without spaces between words stand alone.

    >>> words("Mild NPDR, 眼底")
    ['mild', 'npdr', '眼', '底']
    """
    found: list[str] = []
    current = ""
    for character in unicodedata.normalize("NFKC", text).lower():
        if unicodedata.category(character) == "Lo" and unicodedata.east_asian_width(character) in "WF":
            found.extend([current, character] if current else [character])
            current = ""
        elif character.isalnum():
            current += character
        elif current:
            found.append(current)
            current = ""
    return [*found, current] if current else found


def terms(text: str) -> Counter[str]:
    """Words and pairs of neighbouring words with their counts."""
    single = words(text)
    return Counter([*single, *(f"{a} {b}" for a, b in pairwise(single))])


def nearest_texts(queries: Sequence[str], database: Sequence[str], k: int) -> Indices:
    """The k most alike texts of `database` for each query by cosine, equal ones in order, int64 (queries, min(k, m)).

    Weights are the logarithm of counts times the rarity in the database.
    """
    theirs = [terms(text) for text in database]
    vocabulary: dict[str, int] = {}
    for counts in theirs:
        for term in counts:
            vocabulary.setdefault(term, len(vocabulary))
    seen = Counter(term for counts in theirs for term in counts)
    rarity = np.array([np.log((1 + len(theirs)) / (1 + seen[term])) + 1 for term in vocabulary])
    second = _matrix(theirs, vocabulary, rarity)
    first = _matrix([terms(text) for text in queries], vocabulary, rarity)
    wanted = min(k, len(database))
    result = np.empty((len(queries), wanted), dtype=np.int64)
    block = max(1, _BLOCK_CELLS // max(1, len(database)))
    for start in range(0, len(queries), block):
        likeness = np.asarray((first[start : start + block] @ second.T).todense())
        result[start : start + block] = np.argsort(-likeness, axis=1, kind="stable")[:, :wanted]
    return result


def _matrix(counted: Sequence[Counter[str]], vocabulary: dict[str, int], rarity: npt.NDArray[np.float64]) -> csr_matrix:
    rows: list[int] = []
    columns: list[int] = []
    values: list[float] = []
    for row, counts in enumerate(counted):
        known = [(vocabulary[term], count) for term, count in counts.items() if term in vocabulary]
        weights = np.array([(1 + np.log(count)) * rarity[column] for column, count in known])
        length = float(np.linalg.norm(weights)) if len(weights) else 1.0
        rows.extend([row] * len(known))
        columns.extend(column for column, _ in known)
        values.extend(weights / length)
    return csr_matrix((values, (rows, columns)), shape=(len(counted), max(1, len(vocabulary))))
