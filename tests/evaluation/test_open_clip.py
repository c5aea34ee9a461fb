"""A checkpoint of open_clip scored by us gives the probabilities of plain open_clip, and one of ours does so there."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import safetensors.torch
import torch

from ethicclip import clip
from ethicclip.cohorts import read_cohort
from ethicclip.evaluation import EvaluateSettings, evaluate
from ethicclip.imaging import read_image
from ethicclip.terms import Condition, name, name_prompts
from tests.evaluation.worlds import make_cohort, three_classes

CONFIG = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 8, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
CLASSES = (Condition.NORMAL, Condition.CATARACT, Condition.DIABETIC_RETINOPATHY)
_open_clip: Any = open_clip


def foreign(folder: Path) -> Path:
    """A checkpoint as open_clip's own programs leave it: OpenAI's layout, and nothing of ours."""
    torch.manual_seed(3)
    model = _open_clip.CLIP(**CONFIG)
    folder.mkdir()
    safetensors.torch.save_file(model.state_dict(), folder / "open_clip_model.safetensors")
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": CONFIG, "preprocess_cfg": {}}))
    return folder


def by_open_clip(folder: Path, cohort: Path, inputs: clip.ClipModel) -> np.ndarray:
    """Zero-shot probabilities by open_clip alone, on the same input tensors, (n, 3)."""
    model, _, _ = _open_clip.create_model_and_transforms(f"local-dir:{folder}")
    tokenizer = _open_clip.get_tokenizer(f"local-dir:{folder}")
    model.eval()
    count = len(name_prompts(CLASSES[0]))
    templates = [lambda words, place=place: spoken[words][place] for place in range(count)]
    spoken = {name(condition): name_prompts(condition) for condition in CLASSES}
    with torch.inference_mode():
        classifier = _open_clip.build_zero_shot_classifier(model, tokenizer, [name(c) for c in CLASSES], templates)
        pictures = torch.stack([inputs.preprocess(read_image(file)) for file in read_cohort(cohort).files])
        logits = model.logit_scale.exp() * model.encode_image(pictures, normalize=True) @ classifier
        return np.asarray(logits.softmax(dim=1))


@pytest.mark.parametrize("whose", ["open_clip", "ours"])
def test_both_programs_give_the_same_probabilities(whose: str, tmp_path: Path) -> None:
    cohort = make_cohort(tmp_path / "eyes", three_classes(2))
    if whose == "open_clip":
        folder = foreign(tmp_path / "model")
    else:
        folder = tmp_path / "model"
        clip.save(clip.create("nano", image_size=32), folder)
    model = clip.load(folder)
    settings = EvaluateSettings(
        classes=("normal", "cataract", "dr"), prompt_kind="name", bootstrap=100, figures=False, single_statistics=False
    )
    evaluate(settings, model, read_cohort(cohort), tmp_path / "out")
    with (tmp_path / "out" / "predictions.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    ours = np.array([[float(row[f"score_{condition.value}"]) for condition in CLASSES] for row in rows])
    theirs = by_open_clip(folder, cohort, model)
    assert np.allclose(ours, theirs, atol=2e-5)
    # The probabilities differ between pictures and classes, so that being equal says something.
    assert theirs.std(axis=0).max() > 1e-4 and np.ptp(theirs, axis=1).min() > 1e-3
