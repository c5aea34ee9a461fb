"""The engine: pictures depend on (seed, index) alone, are marked, and come out at every size."""

from __future__ import annotations

import hashlib
import io
import pickle
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from PIL import Image

from ethicclip.generation import FindingsRecipe, GenerateSettings, PhantomEngine, resolution_note
from ethicclip.generation.findings import LesionKind
from ethicclip.generation.marking import DIGITAL_SOURCE_TYPE, source_type
from ethicclip.generation.rendering.acquisition import take_photograph
from ethicclip.generation.rendering.scene import render_scene
from ethicclip.generation.streams import GENERATED, SIMULATED, Stream, stream
from ethicclip.imaging import field_of_view, read_image
from ethicclip.terms import Condition


def test_the_same_index_gives_the_same_bytes_in_any_order() -> None:
    settings = GenerateSettings(count=9, size=128, seed=11)
    forward = [PhantomEngine(settings).pair(index) for index in (0, 5, 2)]
    engine = pickle.loads(pickle.dumps(PhantomEngine(settings)))
    backward = [engine.pair(index) for index in (2, 5, 0)][::-1]
    assert forward == backward
    other = PhantomEngine(GenerateSettings(count=9, size=128, seed=12)).pair(0)
    assert other.image != forward[0].image
    assert len({hashlib.sha256(pair.image).hexdigest() for pair in forward}) == 3


def test_global_randomness_and_threads_change_nothing() -> None:
    engine = PhantomEngine(GenerateSettings(count=1, size=128))
    first = engine.pair(0)
    np.random.seed(1)
    threads = cv2.getNumThreads()
    cv2.setNumThreads(4)
    try:
        assert engine.pair(0) == first
        assert cv2.getNumThreads() == 4
    finally:
        cv2.setNumThreads(threads)


@pytest.mark.parametrize("size", [128, 224, 512, 1024])
def test_every_size_renders_a_lit_field_in_a_dark_surround(size: int) -> None:
    findings = FindingsRecipe.build({"conditions": ["normal"], "quality": "good"})
    pixels = PhantomEngine(GenerateSettings(count=1, size=size, findings=findings)).image(1)
    assert pixels.shape == (size, size, 3)
    assert pixels.dtype == np.uint8
    field = field_of_view(pixels)
    assert field.found
    assert field.mask.mean() > 0.5
    means = pixels[field.mask].mean(axis=0)
    assert means[0] > means[1] > means[2]


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_every_format_carries_the_mark(suffix: str) -> None:
    pair = PhantomEngine(GenerateSettings.build({"count": 1, "size": 128, "format": suffix})).pair(0)
    assert pair.suffix == suffix
    assert source_type(pair.image) == DIGITAL_SOURCE_TYPE
    assert read_image(pair.image).shape == (128, 128, 3)
    # As any reader of XMP finds it: the packet in the place of its format, well-formed, with the term of IPTC.
    with Image.open(io.BytesIO(pair.image)) as image:
        packet = image.info["XML:com.adobe.xmp" if suffix == "png" else "xmp"]
    text = packet.decode() if isinstance(packet, bytes) else packet
    description = ElementTree.fromstring(text[text.index("<x:xmpmeta") : text.index("<?xpacket end")])[0][0]
    iptc = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
    assert description.attrib[iptc] == "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicMedia"


def test_a_picture_without_the_mark_is_told_apart() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32)).save(buffer, format="JPEG")
    assert source_type(buffer.getvalue()) is None


def test_one_scene_serves_several_photographs() -> None:
    engine = PhantomEngine(GenerateSettings(count=1, size=128))
    eye, photograph = engine.case(0)
    scene = render_scene(eye, photograph, 128, (GENERATED, 0, 0))
    before = scene.reflectance.copy()
    shots = [take_photograph(scene, eye, photograph, stream(1, shot)) for shot in range(2)]
    np.testing.assert_array_equal(scene.reflectance, before)
    assert (shots[0] != shots[1]).any()


@pytest.mark.parametrize("condition", [item for item in Condition if item is not Condition.DIABETIC_MACULAR_OEDEMA])
def test_every_condition_can_be_asked_for(condition: Condition) -> None:
    findings = FindingsRecipe(conditions=(condition,))
    pair = PhantomEngine(GenerateSettings(count=2, size=128, findings=findings)).pair(1)
    assert pair.record["labels"] == [condition.value]


@pytest.mark.parametrize("grade", range(5))
def test_every_grade_can_be_asked_for(grade: int) -> None:
    engine = PhantomEngine(GenerateSettings(count=12, findings=FindingsRecipe(dr_grade=grade)))
    for index in range(12):
        eye, _ = engine.case(index)
        from ethicclip.generation import grading

        assert grading.dr_grade(eye) == grade


def test_fixed_findings_hold() -> None:
    findings = FindingsRecipe.build(
        {"eye": "left", "age": [70, 75], "pigmentation": [0.1, 0.2], "camera": "gold", "field_deg": [35, 36]}
    )
    engine = PhantomEngine(GenerateSettings(count=6, findings=findings))
    for index in range(6):
        eye, photograph = engine.case(index)
        assert eye.laterality == "left"
        assert 70 <= eye.age <= 75
        assert 0.1 <= eye.anatomy.pigmentation <= 0.2
        assert photograph.camera == "gold"
        assert 35 <= photograph.field_deg <= 36


def test_streams_of_generated_and_simulated_eyes_are_apart() -> None:
    assert GENERATED != SIMULATED
    assert stream(GENERATED, 3, 0, Stream.CASE).random() != stream(SIMULATED, 3, 0, Stream.CASE).random()


def test_defects_do_not_tell_the_label() -> None:
    """The way of photographing is drawn without looking at disease: blur of normals and of others agree."""
    blur: dict[bool, list[float]] = {True: [], False: []}
    engine = PhantomEngine(GenerateSettings(count=700))
    for index in range(700):
        eye, photograph = engine.case(index)
        healthy = not eye.lesions and eye.media.density < 0.3
        blur[healthy].append(photograph.blur)
    assert abs(np.mean(blur[True]) - np.mean(blur[False])) < 0.9


def test_the_note_says_what_a_pixel_is() -> None:
    assert "56 um" in resolution_note(224)
    assert "1.8 px" in resolution_note(224)
    assert "25 um" in resolution_note(512)
    assert "not gradeable" in resolution_note(224)
    assert "not gradeable" not in resolution_note(1024)


def test_masks_mark_what_the_findings_state() -> None:
    findings = FindingsRecipe.build({"conditions": ["macular_hole"], "field_deg": [45, 45], "quality": "good"})
    engine = PhantomEngine(GenerateSettings(count=6, size=224, findings=findings))
    for index in range(6):
        masks = engine.masks(index)
        assert set(masks) >= {"disc", "cup", "artery", "vein", "macular_hole"}
        assert all(mask.shape == (224, 224) and mask.dtype == np.bool_ for mask in masks.values())
        # The cup lies in the disc, and everything in the lit field.
        assert not (masks["cup"] & ~masks["disc"]).any()
        assert not any((mask & ~masks["field"]).any() for mask in masks.values())
        lit = engine.image(index).max(axis=2) > 25
        assert (lit == masks["field"]).mean() > 0.97
        assert "drusen" not in masks or engine.case(index)[0].of(LesionKind.DRUSEN)


def test_no_drawn_age_reads_as_an_identifier() -> None:
    engine = PhantomEngine(GenerateSettings(count=3000, size=128))
    ages = [engine.case(index)[0].age for index in range(3000)]
    assert max(ages) == 89  # 90 and above are HIPAA identifiers, and an audit of words would stop at them
