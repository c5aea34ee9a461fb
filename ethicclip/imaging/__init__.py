"""Ground floor for pixels: read any image safely, and find the eye in it."""

from ethicclip.imaging.field import FieldOfView, field_of_view
from ethicclip.imaging.reading import IMAGE_SUFFIXES, Pixels, list_images, read_image, refuse_unreadable

__all__ = [
    "IMAGE_SUFFIXES",
    "FieldOfView",
    "Pixels",
    "field_of_view",
    "list_images",
    "read_image",
    "refuse_unreadable",
]
