"""The run's model card: what it was trained on and under which licence, how to load it, what is not known."""

from __future__ import annotations

from typing import Any

_DATA_WORDS = {
    "synthetic": "synthetic pictures only",
    "real": "pictures of real patients",
    "mixed": "synthetic pictures and pictures of real patients",
}

_REAL = (
    "Weights, loss curve and checkpoints were computed from pictures of real patients: treat this folder as restricted."
)
_PRIVACY_WORDS = {
    "synthetic": "What the weights can reveal of real patients depends on how the pictures were made: see the leakage "
    "audit of each set.",
    "real": _REAL,
    "mixed": _REAL,
}


def model_card(run: dict[str, Any]) -> str:
    """The card in Markdown from the contents of run.json."""
    settings, data = run["settings"], run["data"]
    private = run["differential_privacy"] is not None
    objective = run["differential_privacy"]["mechanism"] if private else settings["objective"]
    size_of_step = f"{run['batch_size']} {run['differential_privacy']['unit'] if private else 'pair'}s"
    start = run.get("pretrained") or {}
    origins = sorted({source["origin"] for source in data} | set(start.get("origins") or ()))
    origin = origins[0] if len(origins) == 1 else "mixed"
    licences = sorted({source["licence"] for source in data} | set(start.get("licences") or ()))
    rows = "\n".join(
        f"| {number} | {source['pairs']}{_weighed(source)} | {source['origin']} | {source['licence']} "
        f"| `{source['digest'][:16]}` |"
        for number, source in enumerate(data, start=1)
    )
    streams = "".join(_streamed(number, source) for number, source in enumerate(data, start=1))
    size, local_mean = run["preprocess"]["size"], run["preprocess"]["local_mean"]
    treated = "cropped to the field of view, resized, local mean subtracted" if local_mean else "cropped and resized"
    languages = ", ".join(settings["languages"])
    return f"""---
license: {licences[0] if len(licences) == 1 else "other"}
library_name: open_clip
tags: [fundus, clip, zero-shot-image-classification]
---

# {run["model"]["name"]}: a fundus CLIP model

Trained with EthicCLIP {run["versions"]["ethicclip"]} on {_DATA_WORDS[origin]}.
{run["model"]["parameters"]:,} weights; input {size} x {size} pixels ({treated}); caption languages {languages};
objective `{objective}`; {run["steps"]:,} steps of {size_of_step}; seed {settings["seed"]}.

## Data

| set | pairs | origin | licence | digest |
|---|---|---|---|---|
{rows}

{streams}The licences of the data are carried over to the weights: {"; ".join(licences)}.
{_beginning(start)}{_choice(run)}
## Privacy

{_privacy(run["differential_privacy"], origin)}

## Use

```python
from pathlib import Path
from ethicclip import clip
model = clip.load(Path("RUN"))                       # this folder
images = model.encode_images([pixels])               # uint8 RGB, any size
texts = model.encode_texts(["A fundus photograph of glaucoma."])
```

Plain open_clip loads the same weights with `open_clip.create_model_and_transforms("local-dir:RUN")`. Its transform
lacks the preprocessing of `ethicclip_model.json`: feed it tensors from `ethicclip.clip.FundusPreprocess`.

## Limits

A research model. Scores on real eyes are not part of this card: measure them with `ethicclip evaluate`.
Not a medical device, not for diagnosis.
"""


def _weighed(source: dict[str, Any]) -> str:
    return f" (weight {source['weight']:g})" if "weight" in source else ""


def _beginning(start: dict[str, Any]) -> str:
    """Where the first weights came from, when they were not drawn."""
    if not start:
        return ""
    towers = " and ".join(start["towers"])
    known = (
        "The licences of its data are among those above."
        if start["licences"] is not None
        else "What it was trained on, and under which licence it may be used, is not known here: ask its makers."
    )
    return f"\nThe {towers} tower began with `{start['source']}` (sha256 `{start['sha256'][:16]}`). {known}\n"


def _choice(run: dict[str, Any]) -> str:
    """Which step's weights these are, when they are not the last one's."""
    weights = run.get("weights") or {}
    if weights.get("kept") == "best":
        aside = run["validation"]
        return (
            f"\nThe weights are those of step {weights['step']:,}: the lowest loss of {weights['validations']} "
            f"validations on {weights['pairs']} pairs kept aside (origin {aside['origin']}, digest "
            f"`{aside['digest'][:16]}`).\n"
        )
    return "\nThe weights are a moving average over the steps.\n" if weights.get("kept") == "average" else ""


def _streamed(number: int, source: dict[str, Any]) -> str:
    """What a set that was drawn while training was drawn from; empty for a set on disk."""
    described = source.get("description")
    if not described:
        return ""
    return (
        f"Set {number} was drawn while training, by {described['generator']} with settings of sha256 "
        f"`{described['settings_sha256'][:16]}` (in full in run.json); none of it was stored.\n"
    )


def _privacy(statement: dict[str, Any] | None, origin: str) -> str:
    """The section on privacy: no claim, or the statement with its scope."""
    if statement is None:
        return f"No differential privacy was used; no epsilon is claimed.\n{_PRIVACY_WORDS[origin]}"
    caveats = "\n".join(f"- {caveat}" for caveat in statement["caveats"])
    noise = statement["noise"]
    replaced = statement["epsilon_replace_one"]
    to_replace = "no finite bound" if replaced is None else f"{replaced:.3f}"
    return f"""epsilon {statement["epsilon"]:.3f} at delta {statement["delta"]:g} ({statement["adjacency"]});
{to_replace} to replace one. Whose: {statement["scope"]["whose"]}.

Mechanism `{statement["mechanism"]}`: {statement["mechanism_words"]}.
Sigma {noise["noise_multiplier"]:g}, clipping norm {noise["max_grad_norm"]:g}, sampling rate
{statement["sampling"]["sample_rate"]:.4g}, {statement["steps"]["accounted"]:,} steps. Everything else stands in
`privacy.json`. The folder `restricted/` is outside the guarantee: do not publish it.

{caveats}"""
