"""What a picture of some size can show: small signs vanish below the pixel, and a label does not bring them back."""

from __future__ import annotations

from ethicclip.generation.findings import UM_PER_DEGREE

_SIGNS = (
    ("small drusen and microaneurysms", 60.0),
    ("dot haemorrhages", 120.0),
    ("medium drusen", 90.0),
    ("hard exudates", 60.0),
    ("blot haemorrhages and large drusen", 200.0),
    ("cotton-wool spots", 400.0),
)


def um_per_px(size: int, field_deg: float = 45.0) -> float:
    """Retinal length of one pixel of a picture `size` pixels wide whose field fills it."""
    return field_deg * UM_PER_DEGREE / size


def resolution_note(size: int, field_deg: float = 45.0) -> str:
    """One paragraph for a manifest: the length of a pixel, and which signs are too small to be graded."""
    pixel = um_per_px(size, field_deg)
    below = [name for name, diameter in _SIGNS if diameter < 2 * pixel]
    text = (
        f"At {size} px and a {field_deg:g} degree field one pixel is {pixel:.0f} um of retina; "
        f"a microaneurysm (at most 100 um) spans at most {100 / pixel:.1f} px."
    )
    if below:
        text += f" Typically below two pixels, so not to be counted on: {', '.join(below)}."
    if pixel > 30:
        text += " Mild diabetic retinopathy (grade 1) is not gradeable at this size although its label is true."
    return text
