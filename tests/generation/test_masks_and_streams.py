"""Ground truth beside pictures, and pairs that are drawn when they are read."""

from __future__ import annotations

import io
import json
import pickle
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ethicclip.errors import BadInputError, UsageError
from ethicclip.generation import GenerateSettings, PhantomEngine, PhantomStream, generate
from ethicclip.generation.readability import readability
from ethicclip.generation.truth import LAYERS
from ethicclip.pairs import PairSet
from ethicclip.pairs.masks import decode_masks, encode_masks
from ethicclip.pairs.shards import tar_bytes

SETTINGS = GenerateSettings(count=5, size=128, seed=6, shard_size=3, masks=True)


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("masked") / "set"
    generate(SETTINGS, out)
    return out


def test_masks_come_back_as_they_were_drawn(masked: Path) -> None:
    pairs, engine = PairSet.open(masked, verify=True), PhantomEngine(SETTINGS)
    for index in (0, 4):
        found, drawn = pairs.masks(index), engine.masks(index)
        assert list(found) == [name for name in LAYERS if name in drawn]
        for name, mask in found.items():
            assert mask.dtype == np.bool_
            np.testing.assert_array_equal(mask, drawn[name])
    assert set(pickle.loads(pickle.dumps(pairs)).masks(1)) >= {"field", "disc", "cup", "artery", "vein"}


def test_anyone_reads_them_from_the_tar_with_two_lines(masked: Path) -> None:
    with tarfile.open(masked / "shards" / "000000.tar") as archive:
        members = {name: archive.extractfile(name).read() for name in archive.getnames()}  # type: ignore[union-attr]
    record = json.loads(members["000000001.json"])
    layers = np.asarray(Image.open(io.BytesIO(members["000000001.masks.png"]))).reshape(-1, 128, 128)
    disc = layers[record["masks"]["layers"].index("disc")]
    np.testing.assert_array_equal(disc, PairSet.open(masked).masks(1)["disc"])
    foreign = PairSet.open(masked / "shards")
    np.testing.assert_array_equal(foreign.masks(1)["disc"], disc)


def test_masks_are_in_manifest_and_croissant_and_change_nothing_else(masked: Path, tmp_path: Path) -> None:
    manifest = json.loads((masked / "manifest.json").read_text())
    assert manifest["counts"]["masks"] == 5
    assert "KEY.masks.png" in manifest["masks"]
    croissant = json.loads((masked / "croissant.json").read_text())
    assert "masks_offset" in [field["name"] for field in croissant["recordSet"][0]["field"]]
    assert "one bit a pixel" in croissant["description"]
    plain = SETTINGS.model_copy(update={"masks": False})
    generate(plain, tmp_path / "plain")
    bare = PairSet.open(tmp_path / "plain")
    assert [bare.read(i).image for i in range(5)] == [PairSet.open(masked).read(i).image for i in range(5)]
    assert "masks" not in bare.manifest
    with pytest.raises(BadInputError, match="generate --masks"):
        bare.masks(0)
    generate(SETTINGS, tmp_path / "again", workers=2)
    for path in masked.rglob("*"):
        if path.is_file():
            assert path.read_bytes() == (tmp_path / "again" / path.relative_to(masked)).read_bytes()


def test_hostile_masks_are_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16)).save(buffer, "PNG")
    picture = buffer.getvalue()
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    cases = {
        "a": (b"junk", ["disc"]), "b": (bomb.getvalue(), ["disc"]), "c": (picture, ["a", "b", "c"]), "d": (picture, []),
        "e": (picture, ["a", "a"]), "f": (picture, "disc"),
    }  # fmt: skip
    members: dict[str, bytes] = {}
    for key, (data, layers) in cases.items():
        record = json.dumps({"masks": {"layers": layers}}).encode()
        members |= {f"{key}.png": picture, f"{key}.json": record, f"{key}.masks.png": data}
    (tmp_path / "x.tar").write_bytes(tar_bytes(members))
    pairs = PairSet.open(tmp_path)
    for index in range(len(cases)):
        with pytest.raises(BadInputError):
            pairs.masks(index)


def test_encoding_keeps_every_bit_at_odd_sizes() -> None:
    masks = {name: np.random.default_rng(seed).random((13, 21)) > 0.5 for seed, name in enumerate("abc")}
    back = decode_masks(encode_masks(masks), list(masks))
    assert all((back[name] == masks[name]).all() for name in masks)


def test_a_stream_is_the_set_that_would_have_been_written(masked: Path) -> None:
    stream = pickle.loads(pickle.dumps(PhantomStream(SETTINGS)))
    written = PairSet.open(masked)
    assert (len(stream), stream.origin, stream.licence) == (5, "synthetic", "CC0-1.0")
    for index in (3, 0):
        drawn, stored = stream.read(index), written.read(index)
        assert (drawn.key, drawn.image, drawn.caption) == (stored.key, stored.image, stored.caption)
        assert drawn.record["captions"] == stored.record["captions"]
    assert stream.image(2).shape == (128, 128, 3)
    with pytest.raises(IndexError):
        stream.read(5)
    other = PhantomStream(SETTINGS.model_copy(update={"seed": 7}))
    assert other.digest != stream.digest
    assert stream.digest == PhantomStream(SETTINGS.model_copy(update={"masks": False})).digest
    with pytest.raises(UsageError, match="no eye"):
        PhantomStream(GenerateSettings.build({"count": 1, "findings": {"conditions": ["normal"], "cup_ratio": 0.95}}))


def test_readability_follows_from_aim_and_quality() -> None:
    def flags(recipe: dict[str, object]) -> list[dict[str, bool]]:
        engine = PhantomEngine(GenerateSettings.build({"count": 8, "findings": {"conditions": ["normal"], **recipe}}))
        return [readability(*engine.case(index)) for index in range(8)]

    assert all(all(found.values()) for found in flags({"quality": "good", "centre": "between", "field_deg": 60}))
    narrow = flags({"quality": "good", "centre": "disc", "field_deg": 25})
    assert all(found["optic_disc"] and not found["macula"] for found in narrow)
    assert all(found["fundus"] and not found["retinal_region"] for found in flags({"quality": "unreadable"}))
