"""Marks pictures as made by an algorithm, inside the file, where image tools look for it.

XMP packet with IPTC's digital source type ``algorithmicMedia``: media made by an algorithm without sampled training
data. The mark does not survive a tool that strips metadata; the manifest says so too.
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

MARKING = f"XMP Iptc4xmpExt:DigitalSourceType = {DIGITAL_SOURCE_TYPE} in every image"

_PACKET = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" '
    'xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmp:CreatorTool="EthicCLIP phantom" '
    f'Iptc4xmpExt:DigitalSourceType="{DIGITAL_SOURCE_TYPE}"/>'
    '</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
).encode()

_FORMATS = {"jpg": "JPEG", "webp": "WEBP"}


def encode_marked(pixels: Pixels, suffix: str, *, quality: int) -> bytes:
    """Encode an RGB picture as jpg, png or webp with the mark in it.

    Args:
        pixels: uint8 (height, width, 3).
        suffix: "jpg", "png" or "webp".
        quality: For jpg and webp, 1 to 100.
    """
    buffer = io.BytesIO()
    image = Image.fromarray(np.ascontiguousarray(pixels))
    if suffix == "png":
        # Pillow writes XMP into JPEG and WebP by itself; in PNG it is a text chunk of this name.
        chunks = PngInfo()
        chunks.add_itxt("XML:com.adobe.xmp", _PACKET.decode())
        image.save(buffer, format="PNG", pnginfo=chunks)
    else:
        image.save(buffer, format=_FORMATS[suffix], xmp=_PACKET, quality=quality)
    return buffer.getvalue()


def source_type(data: bytes) -> str | None:
    """The digital source type that an encoded image states in XMP, or None."""
    with Image.open(io.BytesIO(data)) as image:
        packet = image.info.get("xmp") or image.info.get("XML:com.adobe.xmp") or b""
    text = packet.decode("utf-8", "replace") if isinstance(packet, bytes) else str(packet)
    found = re.search(r'DigitalSourceType="([^"]+)"', text)
    return found.group(1) if found else None
