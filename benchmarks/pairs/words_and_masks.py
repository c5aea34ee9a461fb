"""How much the captions differ, whether the text encoder sees their diagnosis, and what masks cost on disk.

Run: python benchmarks/pairs/words_and_masks.py [--quick]. Prints two tables, writes benchmarks/results/
pairs_words_and_masks.json. Captions need no picture; masks are compared as one stacked PNG and as one PNG a layer.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import time
import unicodedata
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

from PIL import Image

from ethicclip.generation import GenerateSettings, PhantomEngine
from ethicclip.generation.captions import diagnoses_of, grammar, write_captions
from ethicclip.generation.streams import GENERATED, Stream, stream
from ethicclip.pairs.masks import encode_masks

RESULTS = Path(__file__).resolve().parents[1] / "results"
LANGUAGES = ("en", "zh")
CONTEXT = 80
"""Tokens that `tiny` and `small` read of a caption, start and end mark included."""


def wordings(name: str, language: str) -> list[str]:
    """Every wording of a diagnosis, without the spaces that a tokenizer puts between Chinese characters."""
    found = []
    for text in grammar(language)["diagnoses"][name]:
        choice = re.search(r"\[([^\]]*)\]", text)
        options = choice.group(1).split("|") if choice else [""]
        found += [text.replace(choice.group(0), option) if choice else text for option in options]
    lens = [word for words in grammar(language)["lens"].values() for word in words]
    return [squeezed(text.replace("{lens}", word)) for text in found for word in (lens if "{lens}" in text else [""])]


def squeezed(text: str) -> str:
    """Lower case without spaces and of one width: the tokenizer makes full-width brackets plain ones."""
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", text).casefold())


def captions(count: int, tokenized: int) -> dict[str, Any]:
    """Distinct first captions of `count` findings; tokens and surviving diagnoses of `tokenized` of them."""
    from ethicclip.clip.vocabulary import CompactTokenizer, shipped_merges

    tokenizer = CompactTokenizer(shipped_merges("fundus-1"), CONTEXT)
    engine = PhantomEngine(GenerateSettings(count=count))
    result: dict[str, Any] = {}
    for place, language in enumerate(LANGUAGES):
        first, tokens, named = set(), [], []
        for index in range(count):
            eye, photograph = engine.case(index)
            words = stream(GENERATED, 0, index, Stream.CAPTION, place)
            text = write_captions(eye, photograph, language, words, count=1)[0]
            first.add(text)
            if index < tokenized:
                ids = tokenizer.encode(text)
                kept = squeezed(tokenizer.decode(ids[: CONTEXT - 2]))
                tokens.append(len(ids))
                named.append(all(any(word in kept for word in wordings(d, language)) for d in diagnoses_of(eye)))
        result[language] = {
            "findings": count,
            "distinct": len(first),
            "mean_tokens": sum(tokens) / len(tokens),
            "cut": sum(length > CONTEXT - 2 for length in tokens) / len(tokens),
            "all_diagnoses_within_context": sum(named) / len(named),
        }
    return result


def on_tape(size: int) -> int:
    """Bytes of a member in a tar: header and padded content."""
    return 512 + -(-size // 512) * 512


def masks(count: int) -> dict[str, dict[str, float]]:
    """Bytes a pair in a shard and milliseconds of processor time, by size of the picture."""
    table: dict[str, dict[str, float]] = {}
    for size in (224, 512):
        engine = PhantomEngine(GenerateSettings(count=count, size=size, masks=True))
        image = stacked = apart = 0
        spent = 0.0
        for index in range(count):
            pair = engine.pair(index)
            layers = pair.masks or {}
            started = time.process_time()
            stacked += on_tape(len(encode_masks(layers)))
            spent += time.process_time() - started
            image += on_tape(len(pair.image))
            for mask in layers.values():
                buffer = io.BytesIO()
                Image.fromarray(mask).save(buffer, "PNG")
                apart += on_tape(buffer.tell())
        table[str(size)] = {
            "image_bytes": image / count,
            "stacked_bytes": stacked / count,
            "one_file_a_layer_bytes": apart / count,
            "encoding_ms": 1000 * spent / count,
        }
    return table


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer findings and pictures")
    quick = parser.parse_args().quick
    words = captions(1500 if quick else 10_000, 500 if quick else 2000)
    print(f"{'language':>8} {'findings':>9} {'distinct':>9} {'tokens':>7} {'cut':>6} {'diagnoses within context':>25}")
    for language, row in words.items():
        print(
            f"{language:>8} {row['findings']:>9} {row['distinct']:>9} {row['mean_tokens']:>7.1f} {row['cut']:>6.3f} "
            f"{row['all_diagnoses_within_context']:>25.3f}"
        )
    drawn = masks(8 if quick else 40)
    print(f"{'px':>5} {'image B':>9} {'masks B, stacked':>17} {'one file a layer':>17} {'encoding ms':>12}")
    for size, row in drawn.items():
        print(
            f"{size:>5} {row['image_bytes']:>9.0f} {row['stacked_bytes']:>17.0f} "
            f"{row['one_file_a_layer_bytes']:>17.0f} {row['encoding_ms']:>12.2f}"
        )
    RESULTS.mkdir(exist_ok=True)
    facts = {"captions": words, "masks": drawn, "context": CONTEXT}
    (RESULTS / "pairs_words_and_masks.json").write_text(json.dumps(facts, indent=2) + "\n")


if __name__ == "__main__":
    main()
