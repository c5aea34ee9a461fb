"""Names of what a ground-truth mask can mark, in the order in which sets and models keep them."""

from __future__ import annotations

STRUCTURES: tuple[str, ...] = (
    "disc",
    "cup",
    "artery",
    "vein",
    "microaneurysm",
    "dot_haemorrhage",
    "blot_haemorrhage",
    "flame_haemorrhage",
    "hard_exudate",
    "cotton_wool_spot",
    "irma",
    "new_vessels_disc",
    "new_vessels_elsewhere",
    "preretinal_haemorrhage",
    "vitreous_haemorrhage",
    "laser_scar",
    "disc_haemorrhage",
    "drusen",
    "pigment_clump",
    "geographic_atrophy",
    "subretinal_haemorrhage",
    "neovascular_membrane",
    "subretinal_fluid",
    "disciform_scar",
    "patchy_atrophy",
    "lacquer_crack",
    "macular_hole",
    "epiretinal_membrane",
    "macular_thickening",
)
"""Anatomy first, then lesions."""
