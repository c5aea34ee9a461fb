"""Peers that rank the same images against the same reference, the mirror asked too; higher is nearer a copy."""

from __future__ import annotations

import cv2
import imagehash
import numpy as np
from PIL import Image

from ethicclip.audits.description.learned import BATCH, load_descriptor
from ethicclip.audits.description.names import parse_descriptors
from ethicclip.cohorts import Cohort
from ethicclip.imaging import Pixels
from measuring.worlds import Planted

PEERS = ("imagehash (pHash)", "64-px correlation", "copy descriptor alone")


def perceptual_hash(image: Pixels) -> np.ndarray:
    """The 64 bits of imagehash's pHash."""
    return np.asarray(imagehash.phash(Image.fromarray(image)).hash).ravel()


def pixels(image: Pixels) -> np.ndarray:
    """A centred, normalised 64-pixel grey picture."""
    small = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), (64, 64), interpolation=cv2.INTER_AREA)
    centred = small.astype(np.float64).ravel() - small.mean()
    return centred / max(float(np.linalg.norm(centred)), 1e-9)


def peer_scores(images: Planted, reference: Cohort) -> dict[str, np.ndarray]:
    """Score of every image by every peer, float64 (images,); each image is made once."""
    copy = load_descriptor(parse_descriptors("copy")[0])
    real = [reference.image(i) for i in range(len(reference))]
    hashes, planes = np.array([perceptual_hash(one) for one in real]), np.array([pixels(one) for one in real])

    def embedded(prepared: list[np.ndarray]) -> np.ndarray:
        parts = [copy.embed(np.stack(prepared[i : i + BATCH]))[:, 0] for i in range(0, len(prepared), BATCH)]
        return np.concatenate(parts)

    known = embedded([copy.prepare(one) for one in real])
    scores: dict[str, list[float]] = {PEERS[0]: [], PEERS[1]: []}
    prepared = []
    for i in range(len(images)):
        one = images.image(i)
        both = (one, np.ascontiguousarray(one[:, ::-1]))
        scores[PEERS[0]].append(-min(int((hashes != perceptual_hash(x)).sum(axis=1).min()) for x in both))
        scores[PEERS[1]].append(max(float((planes @ pixels(x)).max()) for x in both))
        prepared.append(copy.prepare(one))
    # The descriptor is the same for a mirrored picture; it is centred as the audit centres it.
    centre = known.mean(axis=0)
    unit = [(x - centre) / np.linalg.norm(x - centre, axis=1, keepdims=True) for x in (embedded(prepared), known)]
    result = {name: np.array(values, dtype=float) for name, values in scores.items()}
    return {**result, PEERS[2]: (unit[0] @ unit[1].T).max(axis=1).astype(float)}
