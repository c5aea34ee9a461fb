"""One form for every picture, and a refusal by name for what is none."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ethicclip.errors import BadInputError
from ethicclip.imaging import field_of_view, list_images, read_image


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def ramp(height: int = 40, width: int = 60) -> np.ndarray:
    return np.linspace(0, 255, height * width).reshape(height, width).astype(np.uint8)


@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(ramp()),
        Image.fromarray(ramp().astype(np.uint16) * 257),
        Image.fromarray(ramp()).convert("RGB"),
        Image.fromarray(ramp()).convert("RGBA"),
        Image.fromarray(ramp()).convert("P"),
        Image.fromarray(ramp()).convert("LA"),
    ],
    ids=["grey", "16-bit", "rgb", "rgba", "palette", "grey-alpha"],
)
def test_every_mode_becomes_the_same_rgb(image: Image.Image) -> None:
    pixels = read_image(encoded(image, "PNG"))
    assert pixels.shape == (40, 60, 3)
    assert pixels.dtype == np.uint8
    assert np.abs(pixels.astype(int) - ramp()[..., None]).max() <= 6


def test_cmyk_is_read() -> None:
    grey = Image.fromarray(ramp()).convert("RGB").convert("CMYK")
    pixels = read_image(encoded(grey, "JPEG", quality=95))
    assert np.abs(pixels.astype(int) - ramp()[..., None]).mean() < 6


def test_exif_rotation_is_undone() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # "rotate 90 degrees clockwise to view"
    pixels = read_image(encoded(Image.fromarray(ramp()), "JPEG", exif=exif.tobytes(), quality=95))
    assert pixels.shape == (60, 40, 3)
    assert pixels[0, -1, 0] < 10


def test_max_side_shrinks_but_never_enlarges() -> None:
    data = encoded(Image.fromarray(ramp()), "PNG")
    assert read_image(data, max_side=30).shape == (20, 30, 3)
    assert read_image(data, max_side=300).shape == (40, 60, 3)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "not a readable image"),
        (b"<html>", "not a readable image"),
        (encoded(Image.fromarray(ramp(400, 400)), "PNG")[:600], "not a readable image"),
        (encoded(Image.fromarray(ramp(400, 400)), "JPEG")[:900], "not a readable image"),
        (encoded(Image.fromarray(ramp(4, 4)), "PNG"), "at least"),
        (encoded(Image.new("1", (20_000, 20_000)), "PNG"), "bomb|limit"),
    ],
    ids=["empty", "html", "cut-png", "cut-jpeg", "tiny", "bomb"],
)
def test_a_picture_that_cannot_be_used_is_named(data: bytes, said: str) -> None:
    with pytest.raises(BadInputError, match=said) as caught:
        read_image(data, name="eye-7")
    assert "eye-7" in str(caught.value)


def test_folders_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match="does not exist"):
        list_images(tmp_path / "gone")
    (tmp_path / ".hidden.png").write_bytes(b"")
    with pytest.raises(BadInputError, match="holds no image"):
        list_images(tmp_path)


def test_the_field_of_a_disc_on_black_is_found() -> None:
    y, x = np.mgrid[:200, :300]
    image = np.where(((x - 160) ** 2 + (y - 90) ** 2 <= 70**2)[..., None], 120, 3).astype(np.uint8).repeat(3, axis=2)
    field = field_of_view(image)
    assert field.found
    assert (field.centre_x, field.centre_y, field.radius) == pytest.approx((160, 90, 70), abs=2)


def test_a_picture_without_surround_is_all_field() -> None:
    field = field_of_view(np.full((50, 80, 3), 90, np.uint8))
    assert not field.found
    assert field.mask.all()
    assert not field_of_view(np.zeros((50, 80, 3), np.uint8)).found
