"""The compact vocabulary beside CLIP's own: tokens a caption, captions cut, weights, and training steps a second.

    python benchmarks/training/vocabulary.py [--quick] [--write]

`--write` learns the vocabulary anew and writes ethicclip/clip/vocabularies/fundus-1.txt: the first merges of CLIP's own
vocabulary, for any English, then those that captions of phantoms and the prompts of `ethicclip.terms` ask for. What is
measured are captions of other phantoms. Prints two tables and writes benchmarks/results/training-vocabulary.json.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import open_clip
import torch

from ethicclip import clip
from ethicclip.clip.merges import count_words, learn_merges
from ethicclip.clip.model import ClipModel, build, named_config, tokenizer_for
from ethicclip.clip.vocabulary import CompactTokenizer, shipped_merges
from ethicclip.generation import GenerateSettings, PhantomEngine
from ethicclip.generation.captions import write_captions
from ethicclip.generation.streams import GENERATED, Stream, stream
from ethicclip.training import TrainSettings
from ethicclip.training.bank import public_bank
from ethicclip.training.loading import Batch
from ethicclip.training.steps import Trainer

NAME = "fundus-1"
TARGET = Path(clip.__file__).parent / "vocabularies" / f"{NAME}.txt"
RESULTS = Path(__file__).parents[1] / "results"
TOKENS, BASE = 3072, 512
LANGUAGES = ("en", "zh")
LEARNED_ON, MEASURED_ON = 0, 1
"""Seeds of the phantoms."""

OLD_CONTEXT = 96
STEP = 32


def captions(seed: int, count: int) -> dict[str, list[str]]:
    """Two captions of each of `count` phantoms in each language; no picture is drawn."""
    engine = PhantomEngine(GenerateSettings(count=count, seed=seed))
    found: dict[str, list[str]] = {language: [] for language in LANGUAGES}
    for index in range(count):
        eye, photograph = engine.case(index)
        for place, language in enumerate(LANGUAGES):
            words = stream(GENERATED, seed, index, Stream.CAPTION, place)
            found[language] += write_captions(eye, photograph, language, words, count=2)
    return found


def learn(count: int) -> list[tuple[str, str]]:
    """The merges of the vocabulary."""
    found = captions(LEARNED_ON, count)
    # A name in a prompt is as good as in a hundred captions: prompts are what a user types.
    texts = [text for language in LANGUAGES for text in found[language]] + 100 * public_bank(LANGUAGES).texts
    general = list(open_clip.SimpleTokenizer().bpe_ranks)[:BASE]
    return learn_merges(count_words(texts), TOKENS - 512 - 2, base=general)


def lengths(encode: Any, texts: list[str], context: int) -> dict[str, float]:
    """Tokens with both marks: mean, largest, and the share of texts that the context cuts."""
    counts = np.array([len(encode(text)) + 2 for text in texts])
    return {
        "captions": len(counts),
        "mean_tokens": float(counts.mean()),
        "most_tokens": int(counts.max()),
        "cut": float((counts > context).mean()),
    }


def clips_own(name: str) -> ClipModel:
    """The config with CLIP's vocabulary and context instead of ours."""
    config = named_config(name)
    config["text_cfg"] |= {"vocab_size": 49408, "context_length": OLD_CONTEXT}
    config["text_cfg"].pop("hf_tokenizer_name", None)
    fresh = clip.create(name)
    model = build(config, name=name)
    return ClipModel(
        model=model, tokenizer=tokenizer_for(config), preprocess=fresh.preprocess, config=config, name=name
    )


def speed(models: dict[str, ClipModel], texts: list[str], rounds: int) -> dict[str, list[float]]:
    """Seconds of processor time a training step of each model, in turns on the same batches."""
    size = next(iter(models.values())).preprocess.size
    trainers = {
        name: Trainer(TrainSettings(model="tiny", device="cpu", dense_weight=0.0), model, 1000)
        for name, model in models.items()
    }
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for number in range(rounds + 1):
        pixels = np.random.default_rng(number).integers(0, 256, (STEP, size, size, 3), dtype=np.uint8)
        shown = [texts[(number * STEP + place) % len(texts)] for place in range(STEP)]
        batch = Batch(step=number, epoch=0, pixels=pixels, captions=shown, labels=[frozenset()] * STEP)
        for name, trainer in trainers.items():
            started = time.process_time()
            trainer.step(batch)
            if number:  # the first step allocates
                seconds[name].append(time.process_time() - started)
    return seconds


def main() -> None:
    """Learn if asked, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer captions and steps")
    parser.add_argument("--write", action="store_true", help="learn the vocabulary anew")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.write:
        TARGET.write_text("".join(f"{left} {right}\n" for left, right in learn(3000)), encoding="utf-8")
    texts = captions(MEASURED_ON, 300 if options.quick else 3000)
    config = named_config("tiny")
    context = config["text_cfg"]["context_length"]
    ours = CompactTokenizer(shipped_merges(NAME), context)
    theirs = open_clip.SimpleTokenizer()
    words = {
        language: {
            "clip": lengths(theirs.encode, texts[language], OLD_CONTEXT),
            NAME: lengths(ours.encode, texts[language], context),
        }
        for language in LANGUAGES
    }
    print(f"{'':10s} {'language':>8s} {'captions':>9s} {'tokens':>7s} {'most':>5s} {'cut':>6s}")
    for language, rows in words.items():
        for name, row in rows.items():
            print(
                f"{name:10s} {language:>8s} {row['captions']:9d} {row['mean_tokens']:7.1f} {row['most_tokens']:5d} "
                f"{row['cut']:6.3f}"
            )
    models = {"clip": clips_own("tiny"), NAME: clip.create("tiny")}
    seconds = speed(models, texts["en"] + texts["zh"], 3 if options.quick else 12)
    print(f"\n{'tiny with':10s} {'weights':>10s} {'ms a step of 32':>16s}")
    for name, model in models.items():
        print(f"{name:10s} {model.parameter_count():10,d} {1000 * float(np.median(seconds[name])):16.1f}")
    ratios = np.array(seconds["clip"]) / np.array(seconds[NAME])
    low, high = np.percentile(ratios, [2.5, 97.5])
    print(f"speed-up a step: median {np.median(ratios):.2f}, 95 % of steps {low:.2f} to {high:.2f}, n={len(ratios)}")
    RESULTS.mkdir(exist_ok=True)
    result = {
        "tokens": words,
        "weights": {name: model.parameter_count() for name, model in models.items()},
        "step_seconds": seconds,
    }
    (RESULTS / "training-vocabulary.json").write_text(json.dumps(result, indent=2, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
