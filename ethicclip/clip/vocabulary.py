"""Compact vocabularies: a byte-pair tokenizer for captions of this field, stored in the model's folder.

CLIP's own vocabulary has 49,408 tokens for English and cuts a Chinese character into two or three: a small model is
then mostly token embedding, and half of the Chinese captions lose their end. A vocabulary here has a few thousand
tokens for both languages; every byte is one of them, so that any text can be encoded. It is open_clip's
`SimpleTokenizer` with other merges. Plain open_clip reads the same tokenizer from the folder's `tokenizer.json` through
transformers (docs/decisions/0055-compact-vocabulary.md).
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import open_clip
import torch

from ethicclip.errors import BadInputError
from ethicclip.files import read_json

TOKENIZER_FILE = "tokenizer.json"
TOKENIZER_CONFIG_FILE = "tokenizer_config.json"

PREFIX = "ethicclip/"
"""What a config's `hf_tokenizer_name` begins with where the tokenizer is of this kind."""

# open_clip is untyped and re-exports without saying so.
_open_clip: Any = open_clip

_END = "</w>"

Merge = tuple[str, str]


class CompactTokenizer:
    """open_clip's tokenizer with other merges.

    Args:
        merges: In the order in which they are applied.
        context_length: Tokens of a text, start and end mark included; longer texts lose their end.
    """

    def __init__(self, merges: Sequence[Merge], context_length: int) -> None:
        self.merges = tuple(merges)
        self.context_length = context_length
        text = "\n".join(["#version: 0.2", *(" ".join(merge) for merge in self.merges)])
        self._inner: Any = _open_clip.SimpleTokenizer(io.BytesIO(gzip.compress(text.encode())))
        self.vocab_size = int(self._inner.vocab_size)

    def __call__(self, texts: list[str]) -> torch.Tensor:
        """Token ids, int64 (n, context_length), padded with zeros."""
        tokens: torch.Tensor = self._inner(texts, self.context_length)
        return tokens

    def encode(self, text: str) -> list[int]:
        """The ids of a text without marks and without a bound."""
        return list(self._inner.encode(text))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of ids, lower case."""
        return str(self._inner.decode(list(ids)))

    def files(self) -> dict[str, bytes]:
        """`tokenizer.json` and `tokenizer_config.json`, from which transformers makes the same tokenizer.

        Padding is the end mark there and zero here; the text tower reads nothing behind the first end mark.
        """
        start, end = self._inner.all_special_ids
        names = {number: token for token, number in self._inner.encoder.items()}
        marks = [
            {"id": number, "content": names[number], "special": True, "single_word": False, "lstrip": False}
            | {"rstrip": False, "normalized": False}
            for number in (start, end)
        ]
        single = [
            {"SpecialToken": {"id": names[start], "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": names[end], "type_id": 0}},
        ]
        described = {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": marks,
            "normalizer": {"type": "Lowercase"},
            "pre_tokenizer": {
                "type": "Sequence",
                "pretokenizers": [
                    {"type": "Split", "pattern": {"Regex": _PATTERN}, "behavior": "Removed", "invert": True},
                    {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
                ],
            },
            "post_processor": {
                "type": "TemplateProcessing",
                "single": single,
                "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}],
                "special_tokens": {
                    names[number]: {"id": names[number], "ids": [number], "tokens": [names[number]]}
                    for number in (start, end)
                },
            },
            "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": "",
                "end_of_word_suffix": _END,
                "fuse_unk": False,
                "byte_fallback": False,
                "ignore_merges": False,
                "vocab": {names[number]: number for number in sorted(names)},
                "merges": [list(merge) for merge in self.merges],
            },
        }
        configured = {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "bos_token": names[start],
            "eos_token": names[end],
            "pad_token": names[end],
            "model_max_length": self.context_length,
            "clean_up_tokenization_spaces": False,
        }
        return {TOKENIZER_FILE: _json(described), TOKENIZER_CONFIG_FILE: _json(configured)}


# As in open_clip, whose marks are matched by transformers itself; without regard to case, since texts are lowered.
_PATTERN = r"""'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


def is_compact(text_config: dict[str, Any]) -> bool:
    """Whether a `text_cfg` asks for a tokenizer of this kind."""
    return str(text_config.get("hf_tokenizer_name") or "").startswith(PREFIX)


def compact_tokenizer(text_config: dict[str, Any], folder: Path | None = None) -> CompactTokenizer:
    """The tokenizer of a `text_cfg`: from the model's folder where it lies there, else from the package.

    Raises:
        BadInputError: The folder's `tokenizer.json` is broken or of another size than the embedding; or there is none
            and the package has no vocabulary of this name.
    """
    name = str(text_config["hf_tokenizer_name"]).removeprefix(PREFIX)
    stored = None if folder is None else folder / TOKENIZER_FILE
    merges = _stored_merges(stored) if stored is not None and stored.is_file() else shipped_merges(name)
    tokenizer = CompactTokenizer(merges, int(text_config["context_length"]))
    if tokenizer.vocab_size != text_config["vocab_size"]:
        raise BadInputError(
            f"the vocabulary {name} has {tokenizer.vocab_size} tokens, the embedding {text_config['vocab_size']}",
            next_step=f"Restore {TOKENIZER_FILE} and open_clip_config.json of one and the same model.",
        )
    return tokenizer


def shipped_merges(name: str) -> list[Merge]:
    """The merges of a vocabulary of the package; `benchmarks/training/vocabulary.py` makes them.

    Raises:
        BadInputError: There is none of this name.
    """
    entry = resources.files("ethicclip.clip").joinpath("vocabularies", f"{name}.txt")
    if not entry.is_file():
        raise BadInputError(f"the package has no vocabulary {name!r}", next_step="Use the package that made the model.")
    return [_merge(line.split(" ")) for line in entry.read_text(encoding="utf-8").splitlines()]


def _stored_merges(path: Path) -> list[Merge]:
    stored = read_json(path)
    try:
        return [_merge(merge) for merge in stored["model"]["merges"]]
    except (TypeError, KeyError, ValueError) as error:
        raise BadInputError(f"{path} holds no merges: {error}", next_step="Restore the file or train again.") from None


def _merge(pieces: Sequence[str]) -> Merge:
    left, right = pieces
    return left, right


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode() + b"\n"
