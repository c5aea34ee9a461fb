"""Marks pictures as made by an algorithm, inside the file, where image tools look for it.

XMP packet with IPTC's digital source type: ``algorithmicMedia``, made by an algorithm without sampled training data,
for the phantom; ``trainedAlgorithmicMedia``, made by a model of sampled data, for learned generators. The mark does
not survive a tool that strips metadata; the manifest says so too.
"""

from __future__ import annotations

import io
import re

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ethicclip.imaging import Pixels

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicMedia"
"""IPTC NewsCodes name of the source type; a name, nothing is fetched from it."""

TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
"""The same of a picture from a model that learnt from pictures."""

_CREATORS = {DIGITAL_SOURCE_TYPE: "EthicCLIP phantom", TRAINED: "EthicCLIP diffusion"}


def marking_of(source: str) -> str:
    """How a manifest says that every image carries a source type."""
    return f"XMP Iptc4xmpExt:DigitalSourceType = {source} in every image"


MARKING = marking_of(DIGITAL_SOURCE_TYPE)


def _packet(source: str) -> bytes:
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
        f'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreatorTool="{_CREATORS[source]}" '
        f'Iptc4xmpExt:DigitalSourceType="{source}"/>'
        '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    ).encode()


_FORMATS = {"jpg": "JPEG", "webp": "WEBP"}


def encode_marked(pixels: Pixels, suffix: str, *, quality: int, source: str = DIGITAL_SOURCE_TYPE) -> bytes:
    """Encode an RGB picture as jpg, png or webp with the mark in it.

    Args:
        pixels: uint8 (height, width, 3).
        suffix: "jpg", "png" or "webp".
        quality: For jpg and webp, 1 to 100.
        source: `DIGITAL_SOURCE_TYPE` or `TRAINED`.
    """
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if suffix == "png":
        # Pillow writes XMP into JPEG and WebP by itself; in PNG it is a text chunk of this name.
        chunks = PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", _packet(source).decode())
        image.save(buffer, format="PNG", pnginfo=chunks)
    else:
        image.save(buffer, format=_FORMATS[suffix], xmp=_packet(source), quality=quality)
    return buffer.getvalue()


def source_type(data: bytes) -> str | None:
    """The digital source type that an encoded image states in XMP, or None."""
    with Image.open(io.BytesIO(data)) as image:
        packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    text = packet.decode("utf-8", "replace") if isinstance(packet, bytes) else str(packet)
    found = re.search(r'DigitalSourceType="([^"]+)"', text)
    return found.group(1) if found else None
