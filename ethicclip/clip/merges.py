"""Learns the merges of a byte-pair vocabulary from texts: which neighbouring pieces become one token, in order.

Byte-pair encoding as CLIP's tokenizer reads it (Sennrich et al. 2016, 1508.07909, on bytes): words are cut by
open_clip's own pattern, a word's last byte carries an end mark, and any text stays encodable because every byte is a
token.
"""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from open_clip.tokenizer import SimpleTokenizer, bytes_to_unicode

from ethicclip.errors import BadInputError

Merge = tuple[str, str]

_END = "</w>"


def count_words(texts: Iterable[str], tokenizer: Any | None = None) -> Counter[str]:
    """Words as open_clip's tokenizer cuts them after its cleaning, and how often each occurs.

    Args:
        texts: Any.
        tokenizer: An open_clip `SimpleTokenizer`; the default one when None.
    """
    cutter: Any = tokenizer or SimpleTokenizer()
    words: Counter[str] = Counter()
    for text in texts:
        words.update(cutter.pat.findall(cutter.clean_fn(text)))
    return words


def learn_merges(
    words: Mapping[str, int], count: int, *, base: Sequence[Merge] = (), most_bytes: int = 16
) -> list[Merge]:
    """The merges in the order in which they are applied: the base first, then the most frequent pair each time.

    Args:
        words: From `count_words`.
        count: Merges in all, the base's included.
        base: Merges to begin with, such as the first of a general vocabulary; what they give is learned on.
        most_bytes: No token is longer. Without a bound whole clauses of a grammar become tokens, and their words are
            never seen by themselves.

    Returns:
        `count` merges, fewer where the words have no more pairs that occur twice. Ties go to the pair that sorts first.

    Raises:
        BadInputError: No words.
    """
    if not words:
        raise BadInputError("there are no words to learn a vocabulary from", next_step="Give texts.")
    letters = bytes_to_unicode()
    values = {letter: byte for byte, letter in letters.items()}
    merges = list(base[:count])
    ranks = {merge: rank for rank, merge in enumerate(merges)}
    known = {left + right for left, right in merges}
    spelled = sorted((_spelled(word, letters, ranks), times) for word, times in words.items())
    pieces = [spelling for spelling, _ in spelled]
    times = [number for _, number in spelled]
    pairs: Counter[Merge] = Counter()
    homes: dict[Merge, set[int]] = defaultdict(set)
    for index, spelling in enumerate(pieces):
        for pair in itertools.pairwise(spelling):
            pairs[pair] += times[index]
            homes[pair].add(index)
    while len(merges) < count:
        allowed = [
            (-number, pair)
            for pair, number in pairs.items()
            if number > 1 and pair[0] + pair[1] not in known and _allowed(pair, values, most_bytes)
        ]
        if not allowed:
            break
        best = min(allowed)[1]
        merges.append(best)
        known.add(best[0] + best[1])
        for index in sorted(homes[best]):
            before = pieces[index]
            after = _merged(before, best)
            for pair in itertools.pairwise(before):
                pairs[pair] -= times[index]
                homes[pair].discard(index)
            for pair in itertools.pairwise(after):
                pairs[pair] += times[index]
                homes[pair].add(index)
            pieces[index] = after
        del pairs[best]
    return merges


def _spelled(word: str, letters: Mapping[int, str], ranks: Mapping[Merge, int]) -> list[str]:
    """The pieces of a word under the merges so far."""
    pieces = [letters[byte] for byte in word.encode()]
    pieces[-1] += _END
    while True:
        found = [ranks[pair] for pair in itertools.pairwise(pieces) if pair in ranks]
        if not found:
            return pieces
        first = min(found)
        pieces = _merged(pieces, next(pair for pair, rank in ranks.items() if rank == first))


def _merged(pieces: Sequence[str], pair: Merge) -> list[str]:
    result: list[str] = []
    at = 0
    while at < len(pieces):
        if at + 1 < len(pieces) and (pieces[at], pieces[at + 1]) == pair:
            result.append(pieces[at] + pieces[at + 1])
            at += 2
        else:
            result.append(pieces[at])
            at += 1
    return result


def _allowed(pair: Merge, values: Mapping[str, int], most_bytes: int) -> bool:
    """Whether the token is short enough, and is whole characters or lies within one: never a character and a half."""
    token = bytes(values[letter] for piece in pair for letter in piece.removesuffix(_END))
    if len(token) > most_bytes:
        return False
    try:
        token.decode()
    except UnicodeDecodeError:
        starts = [place for place, byte in enumerate(token) if byte & 0xC0 != 0x80]
        return len(token) < 4 and starts in ([], [0])
    return True
